package optim

import (
	"fmt"
	"sync"
)

// flat is what the optimizers share: state of `moments` values per parameter and one step count per
// group, in one block.
type flat struct {
	n, moments int
	groups     []Group
	threads    int
	block      []float32
}

func (f *flat) Block() []float32 { return f.block }

// moment is the i-th value of every parameter.
func (f *flat) moment(i int) []float32 { return f.block[i*f.n : (i+1)*f.n : (i+1)*f.n] }

// steps counts the updates of each group. A float32 counts exactly to 2^24; from there the count
// stands still, where bias corrections have long been 1.
func (f *flat) steps() []float32 { return f.block[f.moments*f.n:] }

// begin checks a Step, counts it, and returns the groups it is about as indices [lo, hi).
func (f *flat) begin(params, grads []float32, active Range) (lo, hi int, err error) {
	if len(params) != f.n || len(grads) != f.n {
		return 0, 0, fmt.Errorf("optim: step with %d parameters and %d gradients; both must be %d", len(params), len(grads), f.n)
	}
	lo, hi, err = Active(f.groups, active)
	for i := lo; i < hi; i++ {
		f.steps()[i]++
	}
	return lo, hi, err
}

// smallest range that is worth a goroutine
const grain = 1 << 14

// each calls update for every group of [lo, hi), in pieces that together cover it once, from up to
// f.threads goroutines, and waits for all of them. Updates are elementwise, so where the pieces end
// changes nothing.
func (f *flat) each(lo, hi int, update func(group, from, to int)) {
	if lo >= hi {
		return
	}
	first, last := f.groups[lo].Lo, f.groups[hi-1].Hi
	piece := func(from, to int) {
		for i := lo; i < hi; i++ {
			if a, b := max(from, f.groups[i].Lo), min(to, f.groups[i].Hi); a < b {
				update(i, a, b)
			}
		}
	}
	threads := min(f.threads, (last-first+grain-1)/grain)
	if threads <= 1 {
		piece(first, last)
		return
	}
	var wg sync.WaitGroup
	for t := range threads {
		from := first + (last-first)*t/threads
		to := first + (last-first)*(t+1)/threads
		wg.Go(func() { piece(from, to) })
	}
	wg.Wait()
}
