package onednn

import (
	"fmt"
	"slices"
	"unsafe"

	"github.com/metrixml/metrix/internal/slab"
)

// region is memory outside Go's heap, aligned to pages.
type region struct {
	base  unsafe.Pointer
	bytes int64
}

func (r region) address() uintptr { return uintptr(r.base) }

// arena lends regions and keeps those that come back. A region is lent to anybody whom it is large
// enough for, so after a few steps the same regions go round, whatever the numbers of rows.
type arena struct {
	lib  *library
	idle []region // by size
}

// get returns a region of at least that many bytes, with any content.
func (a *arena) get(bytes int64) (region, error) {
	i, _ := slices.BinarySearchFunc(a.idle, bytes, func(r region, n int64) int { return int(min(max(r.bytes-n, -1), 1)) })
	if i < len(a.idle) {
		r := a.idle[i]
		a.idle = slices.Delete(a.idle, i, i+1)
		return r, nil
	}
	if i > 0 { // the largest is too small: one that serves both takes its place
		last := len(a.idle) - 1
		a.lib.release(a.idle[last])
		a.idle = a.idle[:last]
	}
	const page = 2 << 20 // a huge page
	bytes = max((bytes+page-1)/page*page, page)
	base := a.lib.alloc(bytes)
	if base == nil {
		return region{}, fmt.Errorf("the system has no %d MiB for activations: use fewer rows in one call", bytes>>20)
	}
	return region{base, bytes}, nil
}

func (a *arena) put(r region) {
	if r.base == nil {
		return
	}
	i, _ := slices.BinarySearchFunc(a.idle, r.bytes, func(r region, n int64) int { return int(min(max(r.bytes-n, -1), 1)) })
	a.idle = slices.Insert(a.idle, i, r)
}

// release gives a region back to the system.
func (l *library) release(r region) {
	if r.base != nil {
		l.free(r.base, r.bytes)
	}
}

func (a *arena) close() {
	for _, r := range a.idle {
		a.lib.release(r)
	}
	a.idle = nil
}

// buffer is a piece of a tape or of the slab, for all rows of a call, or of a worker's own memory for
// the span that it has in hand.
type buffer struct {
	row         int64 // bytes from row to row
	bytes       int64
	at          int64 // from the beginning of the tape or slab
	onTape      bool
	local       bool // used within one section: each worker has its own, for one span
	shared      bool // holds the gradient of several values: not to be written again
	pinned      int  // not to be written again up to this section
	first, last int  // sections that use it; for the slab
}

const alignment = 64

func aligned(bytes int64) int64 { return (bytes + alignment - 1) / alignment * alignment }

// plan gives every buffer of a slab a place and returns the slab's size.
func plan(buffers []*buffer) int64 {
	spans := make([]slab.Span, len(buffers))
	for i, b := range buffers {
		spans[i] = slab.Span{Bytes: b.bytes, First: b.first, Last: b.last}
	}
	at, size := slab.Plan(spans, alignment)
	for i, b := range buffers {
		b.at = at[i]
	}
	return size
}
