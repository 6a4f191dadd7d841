package gorgonia

import (
	"sync"
	"sync/atomic"
)

// parallel calls do(worker, item) for every item in [0, items), on at most threads goroutines that
// it waits for; worker is in [0, threads). Items must not depend on each other: which worker gets
// which item is not determined, so results must not depend on it either.
func parallel(threads, items int, do func(worker, item int)) {
	threads = min(threads, items)
	if threads <= 1 {
		for i := range items {
			do(0, i)
		}
		return
	}
	var next atomic.Int64
	var wg sync.WaitGroup
	work := func(worker int) {
		for i := int(next.Add(1)) - 1; i < items; i = int(next.Add(1)) - 1 {
			do(worker, i)
		}
	}
	for w := 1; w < threads; w++ {
		wg.Go(func() { work(w) })
	}
	work(0)
	wg.Wait()
}

// spans splits [0, n) into parts of equal length, give or take one, and calls do for each on the
// network's threads. The parts depend on n alone.
func spans(threads, n int, do func(lo, hi int)) {
	const span = 1 << 15
	parts := (n + span - 1) / span
	parallel(threads, parts, func(_, i int) { do(i*n/parts, (i+1)*n/parts) })
}
