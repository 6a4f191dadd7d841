// Package slab plans memory ahead: buffers whose times of use are known share one slab, in which two lie
// in the same place only if they are never in use at the same time.
package slab

import "slices"

// Span is a buffer of Bytes that is in use from step First to step Last, both included.
type Span struct {
	Bytes       int64
	First, Last int
}

// Plan returns the offset of every span, a multiple of alignment, and the size of the slab. In the order
// of their first steps, each takes the lowest gap between those in use at its time that it fits into:
//
//	offset
//	  ^   |  b  |     c     |
//	  |   |  b  |     c     |
//	  |   | a |    d    |         d fits where a was
//	  +----------------------> step
//
// The cost is the square of the number of spans. Equal spans give equal plans.
func Plan(spans []Span, alignment int64) (at []int64, size int64) {
	order := make([]int, len(spans))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(i, j int) int { return spans[i].First - spans[j].First })
	at = make([]int64, len(spans))
	room := func(i int) int64 { return (spans[i].Bytes + alignment - 1) / alignment * alignment }
	var placed []int // by offset
	for _, i := range order {
		lowest, where := int64(0), 0
		for k, other := range placed {
			if spans[other].Last < spans[i].First || spans[other].First > spans[i].Last {
				continue
			}
			if lowest+room(i) <= at[other] {
				break
			}
			lowest, where = max(lowest, at[other]+room(other)), k+1
		}
		for where < len(placed) && at[placed[where]] < lowest {
			where++
		}
		at[i] = lowest
		placed = slices.Insert(placed, where, i)
		size = max(size, lowest+room(i))
	}
	return at, size
}
