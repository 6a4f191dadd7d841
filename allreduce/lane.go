package allreduce

import (
	"sync/atomic"
	"unsafe"
)

// token tells one lane from all others.
type token [16]byte

// place is where a process of this machine finds a lane.
type place struct{ pid, fd uint32 }

func (p place) encode() uint64       { return uint64(p.pid)<<32 | uint64(p.fd) }
func decodePlace(v uint64) (p place) { return place{uint32(v >> 32), uint32(v)} }

// lane is memory shared by two processes, in which one leaves frames for the other: the token, a word
// for each slot that says whether it is taken, each in a cache line of its own, then the slots.
type lane struct {
	token            token
	place            place // of the process that made it
	slots, slotBytes int
	memory           []byte
	release          func() error
}

const laneLine = 64

// laneHead is the length of what comes before the slots.
func laneHead(slots int) int { return (laneLine*(slots+1) + 4095) &^ 4095 }

func laneBytes(slots, slotBytes int) int { return laneHead(slots) + slots*slotBytes }

func (l *lane) taken(slot int) *atomic.Uint32 {
	return (*atomic.Uint32)(unsafe.Pointer(&l.memory[laneLine*(slot+1)]))
}

// claim finds a slot for a frame of n bytes and takes it: the first that is free, so that few are used
// and those stay in the cache.
func (l *lane) claim(n int) (slot int, ok bool) {
	if n > l.slotBytes {
		return 0, false
	}
	for slot = range l.slots {
		if l.taken(slot).CompareAndSwap(0, 1) {
			return slot, true
		}
	}
	return 0, false
}

func (l *lane) free(slot int) { l.taken(slot).Store(0) }

func (l *lane) slot(i int) []byte {
	lo := laneHead(l.slots) + i*l.slotBytes
	return l.memory[lo : lo+l.slotBytes]
}

// find returns the slot whose memory b begins, if it is one of this lane. A nil lane has none.
func (l *lane) find(b []byte) (slot int, ok bool) {
	if l == nil || len(b) == 0 {
		return 0, false
	}
	at := uintptr(unsafe.Pointer(unsafe.SliceData(b))) - uintptr(unsafe.Pointer(unsafe.SliceData(l.memory)))
	if at -= uintptr(laneHead(l.slots)); at >= uintptr(l.slots*l.slotBytes) { // below wraps around
		return 0, false
	}
	return int(at) / l.slotBytes, true
}

// close gives the memory back. A nil lane is closed already.
func (l *lane) close() {
	if l != nil {
		_ = l.release() // nothing could be done about it
	}
}
