package allreduce

import (
	"context"
	"encoding/binary"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/metrixml/metrix/run"
)

// localTransport carries chunks to ranks on the same machine through shared memory, and everything
// else through the transport below it, in one order: for a chunk that lies in memory a note of 48
// bytes travels below, which says where it lies.
//
// A rank offers each peer a lane of its own with its hellos: an anonymous file in memory, named by
// process and descriptor. A peer that can open it, and finds in it the token of the offer, is on the
// same machine and answers; chunks go as before until it does, and for good if it cannot. The file
// has no name, so nothing stays behind whatever dies.
type localTransport struct {
	Transport
	cfg   Config
	least int // frames shorter than this go below
	peers []localPeer
	spare chan []byte

	mu     sync.RWMutex // held for reading while lanes are in use
	closed bool
}

// localPeer is what this rank shares with another.
type localPeer struct {
	mu       sync.Mutex
	out, in  *lane       // written by this rank, and by the peer
	tried    bool        // out was made, or could not be
	accepted atomic.Bool // the peer has opened out
}

// leastShared is the shortest frame in bytes for which a note pays.
const leastShared = 8 << 10

// Local returns a transport that carries chunks between ranks on the same machine through shared
// memory, and all else over t, which must be that of the same cfg and belongs to it from now on. It
// costs (Window+1) x ChunkBytes of memory for each peer on the machine. Where memory cannot be shared
// (other systems than Linux, ranks in different containers) everything goes over t.
func Local(t Transport, cfg Config) Transport {
	return &localTransport{
		Transport: t, cfg: cfg, least: leastShared,
		peers: make([]localPeer, cfg.World),
		spare: make(chan []byte, 2*cfg.Window),
	}
}

// slotBytes is the room for one frame.
func (t *localTransport) slotBytes() int {
	return (min(headerBytes+t.cfg.ChunkBytes, t.MaxFrame()) + 63) &^ 63
}

func (t *localTransport) Send(ctx context.Context, to run.Rank, frame []byte) error {
	if err := checkPeer(to, t.cfg.Rank, t.cfg.World); err != nil {
		return err
	}
	p := &t.peers[to]
	if isHello(frame) && !p.accepted.Load() {
		if err := t.offer(ctx, to); err != nil {
			return err
		}
	}
	if len(frame) < t.least || !p.accepted.Load() {
		return t.Transport.Send(ctx, to, frame)
	}
	n, ok, err := t.deposit(p, frame)
	if err != nil {
		return err
	}
	if !ok { // the peer has not taken out what is there
		return t.Transport.Send(ctx, to, frame)
	}
	t.keep(frame)
	return t.Transport.Send(ctx, to, n.encode())
}

// deposit copies a frame into a free slot of the peer's lane, if there is one.
func (t *localTransport) deposit(p *localPeer, frame []byte) (note, bool, error) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	if t.closed {
		return note{}, false, ErrClosed
	}
	slot, ok := p.out.claim(len(frame))
	if !ok {
		return note{}, false, nil
	}
	copy(p.out.slot(slot), frame)
	return note{kind: noteChunk, a: uint64(slot), b: uint64(len(frame))}, true, nil
}

func (t *localTransport) Receive(ctx context.Context, from run.Rank) ([]byte, error) {
	for {
		frame, err := t.Transport.Receive(ctx, from)
		if err != nil {
			return nil, err
		}
		n, ok := decodeNote(frame)
		if !ok {
			return frame, nil
		}
		switch p := &t.peers[from]; n.kind {
		case noteOffer:
			err = t.answer(ctx, p, from, n)
		case noteAnswer:
			t.answered(p, n)
		case noteChunk:
			frame, err = t.fetch(p, n)
			if err != nil {
				return nil, fmt.Errorf("rank %d: %w", from, err)
			}
			return frame, nil
		}
		if err != nil {
			return nil, err
		}
	}
}

// offer tells a peer where it finds this rank's lane to it. Hellos are repeated, and offers with them.
func (t *localTransport) offer(ctx context.Context, to run.Rank) error {
	p := &t.peers[to]
	t.mu.RLock()
	closed := t.closed
	p.mu.Lock()
	if !p.tried && !closed {
		p.tried = true
		// What cannot be shared goes below: no error.
		p.out, _ = newLane(t.cfg.Window, t.slotBytes())
	}
	l := p.out
	p.mu.Unlock()
	t.mu.RUnlock()
	if l == nil {
		return nil
	}
	return t.Transport.Send(ctx, to, note{kind: noteOffer, token: l.token, a: l.place.encode(), b: uint64(l.slots), c: uint64(l.slotBytes)}.encode())
}

// answer opens the lane of an offer and says so. The peer that sent it has subscribed already, so
// that the answer reaches it.
func (t *localTransport) answer(ctx context.Context, p *localPeer, from run.Rank, n note) error {
	t.mu.RLock()
	p.mu.Lock()
	if p.in == nil && !t.closed {
		p.in, _ = openLane(decodePlace(n.a), n.token, n.b, n.c)
	}
	ok := p.in != nil && p.in.token == n.token
	p.mu.Unlock()
	t.mu.RUnlock()
	if !ok {
		return nil
	}
	return t.Transport.Send(ctx, from, note{kind: noteAnswer, token: n.token}.encode())
}

func (t *localTransport) answered(p *localPeer, n note) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.out != nil && p.out.token == n.token {
		p.accepted.Store(true)
	}
}

// fetch takes a frame out of the lane of a peer and frees its slot.
func (t *localTransport) fetch(p *localPeer, n note) ([]byte, error) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	if t.closed {
		return nil, ErrClosed
	}
	if p.in == nil || n.a >= uint64(p.in.slots) || n.b > uint64(p.in.slotBytes) {
		return nil, fmt.Errorf("it left a chunk of %d bytes in slot %d of memory that this rank has not opened", n.b, n.a)
	}
	frame := t.buffer(int(n.b))
	copy(frame, p.in.slot(int(n.a)))
	p.in.free(int(n.a))
	return frame, nil
}

// keep holds a buffer that was sent for one of the next frames to come.
func (t *localTransport) keep(frame []byte) {
	if cap(frame) < headerBytes+t.cfg.ChunkBytes {
		return
	}
	select {
	case t.spare <- frame[:cap(frame)]:
	default:
	}
}

func (t *localTransport) buffer(n int) []byte {
	if n > headerBytes+t.cfg.ChunkBytes/2 {
		select {
		case b := <-t.spare:
			return b[:n]
		default:
		}
	}
	return make([]byte, n, max(n, min(t.slotBytes(), 2*n)))
}

func (t *localTransport) Close() error {
	err := t.Transport.Close() // ends the calls in progress
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return err
	}
	t.closed = true
	for i := range t.peers {
		t.peers[i].out.close()
		t.peers[i].in.close()
	}
	return err
}

// note is what travels below instead of a frame.
type note struct {
	kind    noteKind
	token   token
	a, b, c uint64
}

type noteKind byte

const (
	noteOffer  noteKind = 1 + iota // the lane at place a has b slots of c bytes
	noteAnswer                     // the lane with this token is open
	noteChunk                      // a frame of b bytes lies in slot a
)

const (
	noteMagic = 0x4e4c584d // "MXLN"
	noteBytes = 48
)

func (n note) encode() []byte {
	le := binary.LittleEndian
	b := make([]byte, noteBytes)
	le.PutUint32(b, noteMagic)
	b[4] = byte(n.kind)
	copy(b[8:24], n.token[:])
	le.PutUint64(b[24:], n.a)
	le.PutUint64(b[32:], n.b)
	le.PutUint64(b[40:], n.c)
	return b
}

// decodeNote tells a note from a ring's frame, which is longer and begins otherwise.
func decodeNote(b []byte) (note, bool) {
	le := binary.LittleEndian
	if len(b) != noteBytes || le.Uint32(b) != noteMagic {
		return note{}, false
	}
	n := note{kind: noteKind(b[4]), a: le.Uint64(b[24:]), b: le.Uint64(b[32:]), c: le.Uint64(b[40:])}
	copy(n.token[:], b[8:24])
	return n, true
}

// isHello reports whether a ring's frame is of kindHello.
func isHello(frame []byte) bool { return len(frame) > 5 && kind(frame[5]) == kindHello }
