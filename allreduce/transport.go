package allreduce

import (
	"context"
	"errors"

	"github.com/metrixml/metrix/run"
)

// ErrClosed is returned by a Transport that has been closed.
var ErrClosed = errors.New("the transport is closed")

// Transport moves frames between the ranks of one generation. What it delivers for one pair of
// ranks it delivers in the order of sending, but it may lose frames: to a rank that is not there
// yet or not there any more, or with its connection. The ring notices by sequence numbers.
//
// Send and Receive may be called by several goroutines at once.
type Transport interface {
	// Send passes one frame of at most MaxFrame bytes to a rank. The transport owns the bytes from
	// now on: the caller must not read or change them, nor after an error. Send may block while the
	// way is full, until ctx ends. A nil error does not mean that the frame has arrived.
	Send(ctx context.Context, to run.Rank, frame []byte) error

	// Receive returns the next frame from a rank; its bytes belong to the caller (but see sharer). It blocks until
	// there is one, ctx ends (then the error is context.Cause(ctx)), or the transport fails or is
	// closed. An ended ctx loses no frame. After a failure that may have lost frames (connection
	// lost, overflow), every later call returns an error.
	Receive(ctx context.Context, from run.Rank) ([]byte, error)

	// MaxFrame is the largest frame in bytes that Send takes.
	MaxFrame() int

	// Close makes the calls in progress and all later ones return ErrClosed. It may be called
	// several times.
	Close() error
}

// sharer is a Transport that has memory in common with some peers, where frames are written and read in
// place. Its memory stays while someone is in between enter and leave, whoever closes it.
type sharer interface {
	Transport
	// enter keeps the memory until leave; after Close it is ErrClosed.
	enter() error
	leave()
	// lend returns n bytes of the memory shared with a peer, for a frame that will be sent to it; nil if
	// there is no room or no such memory.
	lend(to run.Rank, n int) []byte
	// holds reports whether a frame lies in memory shared with a peer: lent for it, or received from it.
	holds(peer run.Rank, frame []byte) bool
	// giveBack ends the use of a frame that was received from a peer, if it lies in shared memory.
	giveBack(from run.Rank, frame []byte)
}

// peerQueue is how many frames of one peer a transport holds. Credits bound what a well-behaved
// peer has under way: a window of chunks, a window of credits, a few hellos.
const peerQueue = 2*maxWindow + 64
