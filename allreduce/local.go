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
// bytes travels below, which says where it lies. It is a sharer: the ring writes chunks where the peer
// reads them.
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

	mu     sync.Mutex
	users  int // between enter and leave
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
// costs at most 3/2 Window + 2 times ChunkBytes of memory for each peer on the machine. Where memory cannot be shared
// (other systems than Linux, ranks in different containers) everything goes over t.
func Local(t Transport, cfg Config) Transport {
	return &localTransport{
		Transport: t, cfg: cfg, least: leastShared,
		peers: make([]localPeer, cfg.World),
	}
}

// slotBytes is the room for one frame.
func (t *localTransport) slotBytes() int {
	return (min(headerBytes+t.cfg.ChunkBytes, t.MaxFrame()) + 63) &^ 63
}

// slots is how many frames can lie in a lane: a window that the peer has not consumed, and what this
// rank prepares to pass on.
func (t *localTransport) slots() int { return min(maxWindow, t.cfg.Window+t.cfg.Window/2+2) }

func (t *localTransport) enter() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return ErrClosed
	}
	t.users++
	return nil
}

func (t *localTransport) leave() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.users--; t.users == 0 && t.closed {
		t.free()
	}
}

// free gives all lanes back. Nobody uses them any more.
func (t *localTransport) free() {
	for i := range t.peers {
		t.peers[i].out.close()
		t.peers[i].in.close()
	}
}

func (t *localTransport) lend(to run.Rank, n int) []byte {
	p := &t.peers[to]
	if n < t.least || !p.accepted.Load() {
		return nil
	}
	slot, ok := p.out.claim(n)
	if !ok {
		return nil
	}
	return p.out.slot(slot)[:n:n]
}

func (t *localTransport) holds(peer run.Rank, frame []byte) bool {
	p := &t.peers[peer]
	p.mu.Lock()
	defer p.mu.Unlock()
	_, out := p.out.find(frame)
	_, in := p.in.find(frame)
	return out || in
}

func (t *localTransport) giveBack(from run.Rank, frame []byte) {
	p := &t.peers[from]
	p.mu.Lock()
	defer p.mu.Unlock()
	if slot, ok := p.in.find(frame); ok {
		p.in.free(slot)
	}
}

func (t *localTransport) Send(ctx context.Context, to run.Rank, frame []byte) error {
	if err := checkPeer(to, t.cfg.Rank, t.cfg.World); err != nil {
		return err
	}
	if err := t.enter(); err != nil {
		return err
	}
	defer t.leave()
	p := &t.peers[to]
	if isHello(frame) && !p.accepted.Load() {
		if err := t.offer(ctx, to); err != nil {
			return err
		}
	}
	if p.accepted.Load() {
		if slot, ok := p.out.find(frame); ok {
			frame = note{kind: noteChunk, a: uint64(slot), b: uint64(len(frame))}.encode()
		}
	}
	return t.Transport.Send(ctx, to, frame)
}

func (t *localTransport) Receive(ctx context.Context, from run.Rank) ([]byte, error) {
	if err := t.enter(); err != nil {
		return nil, err
	}
	defer t.leave()
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
	p.mu.Lock()
	if !p.tried {
		p.tried = true
		// What cannot be shared goes below: no error.
		p.out, _ = newLane(t.slots(), t.slotBytes())
	}
	l := p.out
	p.mu.Unlock()
	if l == nil {
		return nil
	}
	return t.Transport.Send(ctx, to, note{kind: noteOffer, token: l.token, a: l.place.encode(), b: uint64(l.slots), c: uint64(l.slotBytes)}.encode())
}

// answer opens the lane of an offer and says so. The peer that sent it has subscribed already, so
// that the answer reaches it.
func (t *localTransport) answer(ctx context.Context, p *localPeer, from run.Rank, n note) error {
	p.mu.Lock()
	if p.in == nil {
		p.in, _ = openLane(decodePlace(n.a), n.token, n.b, n.c)
	}
	ok := p.in != nil && p.in.token == n.token
	p.mu.Unlock()
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

// fetch returns a frame where it lies in the lane of a peer.
func (t *localTransport) fetch(p *localPeer, n note) ([]byte, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.in == nil || n.a >= uint64(p.in.slots) || n.b > uint64(p.in.slotBytes) {
		return nil, fmt.Errorf("it left a chunk of %d bytes in slot %d of memory that this rank has not opened", n.b, n.a)
	}
	return p.in.slot(int(n.a))[:n.b:n.b], nil
}

// Close ends the calls in progress. The memory goes with the last of them.
func (t *localTransport) Close() error {
	err := t.Transport.Close()
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.closed {
		if t.closed = true; t.users == 0 {
			t.free()
		}
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
