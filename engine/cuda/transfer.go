//go:build gpu

package cuda

import (
	"hash/maphash"
	"sync"
	"unsafe"

	"gorgonia.org/cu"

	"github.com/metrixml/metrix/engine/cuda/kernels"
	"github.com/metrixml/metrix/model"
)

// bytesOf is a slice's memory.
func bytesOf[T float32 | int64 | int32](x []T) []byte {
	var t T
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(x))), len(x)*int(unsafe.Sizeof(t)))
}

// parallel cuts [0, n) into pieces of at least least and runs do on them at the same time.
func parallel(threads, n, least int, do func(lo, hi int)) {
	pieces := min(threads, max(n/least, 1))
	var wg sync.WaitGroup
	for i := 1; i < pieces; i++ {
		wg.Go(func() { do(n*i/pieces, n*(i+1)/pieces) })
	}
	do(0, n/pieces)
	wg.Wait()
}

// uploads carries the host's memory to the card on a stream, through two pinned pieces in turn: while the
// card reads one, the other is filled.
type uploads struct {
	net    *network
	stream cu.Stream
	halves [2]piece
	read   [2]cu.Event // the card has read the half
	busy   [2]bool
	next   int
}

const uploadBytes = 4 << 20

func newUploads(n *network, s cu.Stream) (*uploads, error) {
	u := &uploads{net: n, stream: s}
	for i := range u.halves {
		var err error
		if u.halves[i], err = n.pinned.get(uploadBytes); err != nil {
			return u, err
		}
		if u.read[i], err = cu.MakeEvent(cu.DisableTiming); err != nil {
			return u, n.device.check(err, "making an event")
		}
	}
	return u, nil
}

// send copies x to an address of the card, in the order of the stream. x may change afterwards.
func (u *uploads) send(to uintptr, x []byte) error {
	d := u.net.device
	for len(x) > 0 {
		part, i := x[:min(len(x), uploadBytes)], u.next
		if u.busy[i] {
			if err := d.check(u.read[i].Synchronize(), "waiting for the card to read"); err != nil {
				return err
			}
		}
		half := unsafe.Slice((*byte)(pointer(u.halves[i].address)), len(part))
		parallel(u.net.threads, len(part), 1<<20, func(lo, hi int) { copy(half[lo:hi], part[lo:hi]) })
		if err := d.check(cu.MemcpyHtoDAsync(cu.DevicePtr(to), unsafe.Pointer(&half[0]), int64(len(part)), u.stream), "sending to the card"); err != nil {
			return err
		}
		if err := d.check(u.read[i].Record(u.stream), "recording an event"); err != nil {
			return err
		}
		u.busy[i] = true
		to, x, u.next = to+uintptr(len(part)), x[len(part):], 1-i
	}
	return nil
}

func (u *uploads) close() error {
	if u == nil {
		return nil
	}
	return u.net.device.destroy(u.read[:])
}

// destroy gives events back.
func (d *device) destroy(events []cu.Event) (first error) {
	for i := range events {
		if events[i] == (cu.Event{}) {
			continue
		}
		if err := d.check(cu.DestroyEvent(&events[i]), "giving an event back"); err != nil && first == nil {
			first = err
		}
	}
	return first
}

// watch finds out which parameters and statistics the caller has changed since the last call, by a hash
// of every chunk: reading them costs less than sending them.
type watch struct {
	seed     maphash.Seed
	chunks   []chunk
	version  [2]int  // by stage: how many different parameters have been there
	told     bool    // the caller says when something changes
	changed  [2]bool // by stage: it has said so
	unfolded [2]bool // by stage: parameters or statistics have changed since batch norms were folded
}

// chunk is floats [lo, hi) of a block.
type chunk struct {
	space  space
	stage  model.Stage
	lo, hi int
	hash   uint64
	sent   bool
	stale  bool
}

const chunkFloats = 1 << 18

func newWatch(m *model.Network) *watch {
	w := &watch{seed: maphash.MakeSeed(), unfolded: [2]bool{true, true}}
	for _, s := range []model.Stage{model.Trunk, model.Head} {
		lo, hi := m.StageRange(s)
		for ; lo < hi; lo += chunkFloats {
			w.chunks = append(w.chunks, chunk{space: ofParams, stage: s, lo: lo, hi: min(lo+chunkFloats, hi)})
		}
	}
	for _, p := range m.Buffers {
		last := len(w.chunks) - 1
		if last >= 0 && w.chunks[last].space == ofBuffers && w.chunks[last].stage == p.Stage && w.chunks[last].hi == p.Offset {
			w.chunks[last].hi += p.Size
			continue
		}
		w.chunks = append(w.chunks, chunk{space: ofBuffers, stage: p.Stage, lo: p.Offset, hi: p.Offset + p.Size})
	}
	return w
}

// refresh brings the card's copies of a stage's parameters and statistics up to date.
func (n *network) refresh(s model.Stage) error {
	if n.watch.told && !n.watch.changed[s] {
		return nil
	}
	n.look(s)
	weights := false
	for i := range n.watch.chunks {
		c := &n.watch.chunks[i]
		if c.stage != s || !c.stale {
			continue
		}
		x := n.block(c)
		if err := n.up.send(n.fixed[c.space].address+4*uintptr(c.lo), bytesOf(x)); err != nil {
			return err
		}
		weights = weights || c.space == ofParams
		n.watch.unfolded[s] = true
	}
	if weights {
		if err := n.convert(s); err != nil {
			return err
		}
	}
	for i := range n.watch.chunks { // all are there: a failure above sends them again
		if c := &n.watch.chunks[i]; c.stage == s {
			c.sent, c.stale = true, false
		}
	}
	n.watch.changed[s] = false
	if weights {
		n.watch.version[s]++
	}
	return nil
}

// Changed implements engine.Keeper.
func (n *network) Changed() {
	n.watch.told, n.watch.changed = true, [2]bool{true, true}
}

func (n *network) block(c *chunk) []float32 {
	if c.space == ofBuffers {
		return n.mem.Buffers[c.lo:c.hi]
	}
	return n.mem.Params[c.lo:c.hi]
}

// look hashes the chunks of a stage.
func (n *network) look(s model.Stage) {
	w := n.watch
	parallel(n.threads, len(w.chunks), 4, func(lo, hi int) {
		for i := lo; i < hi; i++ {
			c := &w.chunks[i]
			if c.stage != s {
				continue
			}
			hash := maphash.Bytes(w.seed, bytesOf(n.block(c)))
			c.stale = c.stale || !c.sent || hash != c.hash
			c.hash = hash
		}
	})
}

// convert makes cuDNN's copies of a stage's weights.
func (n *network) convert(s model.Stage) error {
	for i, p := range n.layout.packs {
		if p.stage != s {
			continue
		}
		kernel := "weights_f32"
		if p.bf16 {
			kernel = "weights_bf16"
		}
		b := &builder{}
		b.call(kernel, kernels.Each(p.elements), place{space: ofWeights, at: p.at}, place{space: ofParams}, place{space: onSlab},
			int32(len(p.table)/6), p.elements)
		r := &run{net: n}
		r.base[ofWeights], r.base[ofParams], r.base[onSlab] = n.fixed[ofWeights].address, n.fixed[ofParams].address, n.tables[i]
		if err := r.launch(b.commands[0].launch); err != nil {
			return err
		}
	}
	return nil
}

// fold brings the convolutions of a stage that Eval mode computes with up to date.
func (n *network) fold(s model.Stage) (err error) {
	if !n.watch.unfolded[s] || n.layout.folded == 0 {
		return nil
	}
	if n.fixed[ofFolded].address == 0 {
		if n.fixed[ofFolded], err = n.memory.get(n.layout.folded); err != nil {
			return err
		}
	}
	commands := n.layout.foldCommands(s)
	r := &run{net: n, half: &half{commands: commands}}
	for s, x := range n.fixed {
		r.base[s] = x.address
	}
	if err := r.do(0, len(commands)); err != nil {
		return err
	}
	n.watch.unfolded[s] = false
	return nil
}
