//go:build gpu

package cuda

import (
	"fmt"

	"github.com/metrixml/metrix/engine"
	"github.com/metrixml/metrix/model"
	"gorgonia.org/cu"
)

// network is an opened network: its programs and the memory that they share.
type network struct {
	device  *device
	model   *model.Network
	mem     engine.Memory
	threads int
	graphs  bool

	layout   *layout
	fixed    [spaces]piece // parameters and so on
	tables   []uintptr     // by pack, on the card
	memory   *pool         // of the card: tapes and the slab
	pinned   *pool         // of the host: what tapes give out
	work     piece         // cuDNN's workspace
	up       *uploads
	feed     *feed
	out      *gradients
	sums     []float32 // pinned: statistics of one forward
	dIn      piece     // pinned: the gradient by the input
	watch    *watch
	programs map[key]*program
	recent   []key          // the least recently used first
	prepared map[*half]bool // whose convolutions have algorithms
	captured *captures
	updates  *updates // nil until Optimize
	closed   bool
}

// maxPrograms bounds the programs kept: a run needs two stages in two modes with a few numbers of
// rows each.
const maxPrograms = 24

const (
	deviceUnit = 2 << 20
	hostUnit   = 1 << 16
)

// open makes a network. The device has been entered.
func open(d *device, m *model.Network, mem engine.Memory, opt engine.Options, own Options) (_ *network, err error) {
	n := &network{
		device: d, model: m, mem: mem, threads: opt.Threads, graphs: own.Graphs, layout: newLayout(m, own.Precision),
		memory: newPool(deviceUnit, d.alloc, d.free), pinned: newPool(hostUnit, d.allocHost, d.freeHost),
		programs: map[key]*program{}, prepared: map[*half]bool{}, captured: newCaptures(d),
	}
	defer func() {
		if err != nil {
			_ = n.free() // the first error is told
		}
	}()
	for _, s := range []model.Stage{model.Trunk, model.Head} {
		for _, mode := range []engine.Mode{engine.Frozen, engine.Eval} { // so that every convolution is known
			if _, err := newGraph(n.layout, s, mode); err != nil {
				return nil, err
			}
		}
	}
	if err := n.claim(); err != nil {
		return nil, err
	}
	n.watch = newWatch(m)
	return n, nil
}

// claim takes the memory that lasts as long as the network.
func (n *network) claim() (err error) {
	params, buffers := 4*int64(n.model.NumParams()), 4*int64(n.model.NumBuffers())
	for s, bytes := range map[space]int64{
		ofParams: params, ofGrads: params, ofBuffers: buffers, ofSums: buffers, ofWeights: n.layout.place(),
	} {
		if n.fixed[s], err = n.memory.get(max(bytes, 1)); err != nil {
			return err
		}
	}
	if n.up, err = newUploads(n, n.device.main); err != nil {
		return err
	}
	if n.feed, err = newFeed(n); err != nil {
		return err
	}
	if n.out, err = newGradients(n); err != nil {
		return err
	}
	sums, err := n.pinned.get(max(buffers, 1))
	if err != nil {
		return err
	}
	n.sums = floats(sums.address, n.model.NumBuffers())
	return n.sendTables()
}

// sendTables puts the tables of the packs on the card.
func (n *network) sendTables() error {
	for _, p := range n.layout.packs {
		t, err := n.memory.get(8 * int64(len(p.table)))
		if err != nil {
			return err
		}
		n.tables = append(n.tables, t.address)
		if err := n.up.send(t.address, bytesOf(p.table)); err != nil {
			return err
		}
	}
	return nil
}

// program returns the program of a key.
func (n *network) program(k key) (*program, error) {
	for i, other := range n.recent {
		if other == k {
			n.recent = append(append(n.recent[:i:i], n.recent[i+1:]...), k)
			return n.programs[k], nil
		}
	}
	p, err := newProgram(n.layout, k)
	if err != nil {
		return nil, err
	}
	n.programs[k] = p
	if n.recent = append(n.recent, k); len(n.recent) > maxPrograms {
		return p, n.evict()
	}
	return p, nil
}

// evict drops the least recently used program.
func (n *network) evict() error {
	old := n.programs[n.recent[0]]
	delete(n.programs, n.recent[0])
	n.recent = n.recent[1:]
	own := map[*half]bool{old.forward: true, old.backward[0]: true, old.backward[1]: true}
	for h := range own {
		delete(n.prepared, h)
	}
	return n.captured.forget(func(k captureKey) bool { return own[k.half] })
}

// Forward implements engine.Net.
func (n *network) Forward(stage model.Stage, mode engine.Mode, x []float32, rows int) (engine.Tape, error) {
	switch {
	case n.closed:
		return nil, fmt.Errorf("cuda: forward of the %v: the network is closed", stage)
	case stage != model.Trunk && stage != model.Head, mode > engine.Eval:
		return nil, fmt.Errorf("cuda: forward of %v in mode %d: there is no such stage or mode", stage, mode)
	case rows < 1 || len(x) != rows*n.model.StageInput(stage).Size():
		return nil, fmt.Errorf("cuda: forward of the %v: %d rows of %d floats do not make %d floats",
			stage, rows, n.model.StageInput(stage).Size(), len(x))
	}
	if err := n.device.enter(); err != nil {
		return nil, err
	}
	defer n.device.leave()
	tapes, err := n.forward([]key{{stage: stage, mode: mode, n: rows}}, input{rows: bytesOf(x)}, false)
	if err != nil {
		return nil, fmt.Errorf("cuda: forward of the %v, %d rows: %w", stage, rows, err)
	}
	return tapes[0], nil
}

// forward runs stages one after the other, each on what the one before gives. The last gives its output
// out, with maps the others too.
func (n *network) forward(keys []key, x input, maps bool) (tapes []*tape, err error) {
	defer func() {
		if err != nil {
			for _, t := range tapes {
				t.release()
			}
		}
	}()
	var last *run
	for i, k := range keys {
		t, r, err := n.ready(k, maps || i == len(keys)-1)
		if err != nil {
			return tapes, err
		}
		tapes = append(tapes, t)
		defer r.end()
		if err := r.begin(last, x); err != nil {
			return tapes, err
		}
		if err := r.segment(0, len(r.half.commands)); err != nil {
			return tapes, err
		}
		if t.out != nil {
			if err := r.download(t.out); err != nil {
				return tapes, err
			}
		}
		last = r
	}
	return tapes, n.addSums(keys)
}

// ready makes the program, the tape and the run of a forward, and brings parameters up to date.
func (n *network) ready(k key, out bool) (*tape, *run, error) {
	p, err := n.program(k)
	if err != nil {
		return nil, nil, err
	}
	if err := n.refresh(k.stage); err != nil {
		return nil, nil, err
	}
	if k.mode == engine.Eval {
		if err := n.fold(k.stage); err != nil {
			return nil, nil, err
		}
	}
	t, err := n.newTape(p, out)
	if err != nil {
		return nil, nil, err
	}
	r, err := n.run(p, p.forward, t.memory)
	if err != nil {
		t.release()
		return nil, nil, err
	}
	return t, r, nil
}

// Backward implements engine.Net.
func (n *network) Backward(t engine.Tape, dOut []float32, opt engine.Backward) ([]float32, error) {
	own, err := n.own(t)
	if err != nil {
		return nil, err
	}
	stage := own.program.stage
	if want := n.outputs(own.program); len(dOut) != want {
		return nil, fmt.Errorf("cuda: backward of the %v: the gradient has %d floats, the output %d", stage, len(dOut), want)
	}
	dIn, err := n.consume([]*tape{own}, dOut, opt)
	if err != nil {
		return nil, fmt.Errorf("cuda: backward of the %v: %w", stage, err)
	}
	return dIn, nil
}

// own checks that a tape can go backward here.
func (n *network) own(t engine.Tape) (*tape, error) {
	own, ok := t.(*tape)
	switch {
	case !ok || own.program == nil || own.net != n:
		return nil, fmt.Errorf("cuda: backward: the tape is not of this network, or already consumed")
	case n.closed:
		return nil, fmt.Errorf("cuda: backward of the %v: the network is closed", own.program.stage)
	case own.program.mode == engine.Eval:
		return nil, fmt.Errorf("cuda: backward of the %v: a tape of an Eval forward cannot go backward: use Frozen", own.program.stage)
	}
	return own, nil
}

// outputs is the number of floats that a program gives out.
func (n *network) outputs(p *program) int { return p.n * n.model.StageOutput(p.stage).Size() }

// consume goes backward through tapes, the last stage first, and releases them.
func (n *network) consume(tapes []*tape, dOut []float32, opt engine.Backward) ([]float32, error) {
	if err := n.device.enter(); err != nil {
		return nil, err
	}
	defer n.device.leave()
	for _, t := range tapes {
		defer t.release()
	}
	if opt.SkipParams && !opt.Input {
		return nil, nil
	}
	return n.backward(tapes, dOut, opt)
}

func (n *network) backward(tapes []*tape, dOut []float32, opt engine.Backward) (dIn []float32, err error) {
	n.out.begin(opt)
	var last *run
	for i, t := range tapes {
		if t.version != n.watch.version[t.program.stage] { // other parameters have been there meanwhile
			if err := n.refresh(t.program.stage); err != nil {
				return nil, err
			}
		}
		r, err := n.run(t.program, t.program.back(opt.Input || i < len(tapes)-1), t.memory)
		if err != nil {
			return nil, err
		}
		defer r.end()
		r.skip = opt.SkipParams
		if err := r.begin(last, input{rows: bytesOf(dOut)}); err != nil {
			return nil, err
		}
		if err := r.backward(); err != nil {
			return nil, err
		}
		last = r
	}
	if opt.Input {
		if dIn, err = n.inputGradient(last); err != nil {
			return nil, err
		}
	}
	if err := n.out.finish(); err != nil {
		return nil, err
	}
	return dIn, n.device.check(n.device.main.Synchronize(), "backward")
}

// inputGradient starts bringing the gradient by the input home.
func (n *network) inputGradient(r *run) ([]float32, error) {
	count := r.program.n * n.model.StageInput(r.program.stage).Size()
	if n.dIn.bytes < 4*int64(count) {
		n.pinned.put(n.dIn)
		var err error
		if n.dIn, err = n.pinned.get(4 * int64(count)); err != nil {
			n.dIn = piece{}
			return nil, err
		}
	}
	dIn := floats(n.dIn.address, count)
	return dIn, r.download(dIn)
}

// Close implements engine.Net.
func (n *network) Close() error {
	if n.closed {
		return nil
	}
	n.closed = true
	if err := n.device.enter(); err != nil {
		if FailureOf(err) == Lost {
			return nil // a lost card's memory is gone with it
		}
		return err
	}
	defer n.device.leave()
	if err := n.device.check(cu.Synchronize(), "closing a network"); err != nil && FailureOf(err) != Lost {
		return err
	}
	return n.free()
}

// free gives everything back.
func (n *network) free() (first error) {
	keep := func(err error) {
		if first == nil && err != nil && FailureOf(err) != Lost {
			first = err
		}
	}
	keep(n.captured.close())
	keep(n.up.close())
	keep(n.feed.close())
	keep(n.updates.close())
	keep(n.out.close())
	keep(n.memory.close())
	keep(n.pinned.close())
	n.programs, n.recent, n.sums = nil, nil, nil
	return first
}

// tape is one forward's memory.
type tape struct {
	net     *network
	program *program
	memory  piece
	host    piece
	out     []float32
	version int // of the parameters that the forward used
}

// newTape takes a tape's memory, on the host too if its output is given out.
func (n *network) newTape(p *program, out bool) (*tape, error) {
	t := &tape{net: n, program: p, version: n.watch.version[p.stage]}
	var err error
	if p.tape > 0 {
		if t.memory, err = n.memory.get(p.tape); err != nil {
			return nil, err
		}
	}
	if !out {
		return t, nil
	}
	count := n.outputs(p)
	if t.host, err = n.pinned.get(4 * int64(count)); err != nil {
		t.release()
		return nil, err
	}
	t.out = floats(t.host.address, count)
	return t, nil
}

// Out implements engine.Tape.
func (t *tape) Out() []float32 { return t.out }

// Release implements engine.Tape.
func (t *tape) Release() {
	if t.program == nil {
		return
	}
	t.net.device.mu.Lock()
	defer t.net.device.mu.Unlock()
	t.release()
}

func (t *tape) release() {
	if !t.net.closed { // otherwise its memory is gone already
		t.net.memory.put(t.memory)
		t.net.pinned.put(t.host)
	}
	*t = tape{}
}
