package cuda

import "github.com/metrixml/metrix/model"

// layout says where the copies of convolution weights lie that cuDNN computes with: in the type of the
// activations, KRSC, input channels padded like the input.
type layout struct {
	model     *model.Network
	precision Precision
	weights   map[model.Ref]*weights
	packs     []*pack
	folds     []*fold
	folded    int64 // bytes of the copies of folds
}

// weights is the copy of one convolution's weight.
type weights struct {
	ref                  model.Ref
	bf16                 bool
	k, c, kernel, padded int
	pack                 *pack
	at                   int64 // in elements, from the beginning of the pack
	params               int64 // in floats, from the beginning of the parameters
	name                 string
}

func (w *weights) taps() int { return w.kernel * w.kernel }

func (w *weights) elements() int64 { return int64(w.k) * int64(w.taps()) * int64(w.padded) }

// pack is the copies of one stage and type, made by one launch.
type pack struct {
	stage    model.Stage
	bf16     bool
	elements int64
	table    []int64 // rows of the kernel weights
	at       int64   // in bytes, from the beginning of ofWeights
}

func newLayout(m *model.Network, p Precision) *layout {
	return &layout{model: m, precision: p, weights: map[model.Ref]*weights{}}
}

// weightsOf returns the copy of a convolution that reads x.
func (l *layout) weightsOf(c *model.Conv, x *value) *weights {
	if w := l.weights[c.W]; w != nil {
		return w
	}
	param := l.model.Params[c.W]
	w := &weights{
		ref: c.W, bf16: x.bf16, k: c.Out, c: c.In, kernel: c.Kernel, padded: x.channels,
		params: int64(param.Offset), name: c.Name, pack: l.pack(param.Stage, x.bf16),
	}
	w.pack.add(w)
	l.weights[c.W] = w
	return w
}

func (l *layout) pack(s model.Stage, bf16 bool) *pack {
	for _, p := range l.packs {
		if p.stage == s && p.bf16 == bf16 {
			return p
		}
	}
	p := &pack{stage: s, bf16: bf16}
	l.packs = append(l.packs, p)
	return p
}

// add appends a copy, and a row of padding where the next would not be aligned.
func (p *pack) add(w *weights) {
	w.at = p.elements
	p.row(w.params, w.k, w.c, w.taps(), w.padded)
	size := elementSize(p.bf16)
	if gap := (aligned(p.elements*size) - p.elements*size) / size; gap > 0 {
		p.row(0, 1, 0, 1, int(gap)) // no channel is read: zeros
	}
}

func (p *pack) row(src int64, k, c, taps, padded int) {
	p.table = append(p.table, p.elements, src, int64(k), int64(c), int64(taps), int64(padded))
	p.elements += int64(k) * int64(taps) * int64(padded)
}

// place puts the packs one behind the other and returns the bytes they take. Every convolution must be
// known by then.
func (l *layout) place() (bytes int64) {
	for _, p := range l.packs {
		p.at = bytes
		bytes += aligned(p.elements * elementSize(p.bf16))
	}
	return bytes
}

// placeOf is where a copy lies.
func (w *weights) placeOf() place {
	return place{space: ofWeights, at: w.pack.at + w.at*elementSize(w.bf16)}
}
