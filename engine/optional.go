package engine

// The interfaces of this file are optional: a Net that computes on a device of its own, where moving
// rows and gradients through the host costs as much as computing them, has them; a caller asks by a type
// assertion and does without where they are missing. With and without them the results have the same
// bits.

// Keeper is a Net that keeps copies of Params and Buffers and, not knowing when the caller writes to
// them, looks for changes at every forward.
type Keeper interface {
	Net
	// Changed says that Params or Buffers may have changed. From the first call on the Net trusts the
	// caller to say so and looks for changes no more by itself.
	Changed()
}

// Joiner is a Net that runs both stages as one, so that feature maps stay where they are computed.
type Joiner interface {
	Net
	// ForwardBoth is Forward of the trunk over n rows of x, and of the head over what comes out. The
	// trunk's tape gives nothing out: its Out is nil.
	ForwardBoth(mode Mode, x []float32, n int) (trunk, head Tape, err error)
	// BackwardBoth is Backward of both stages, the head first: dOut is the gradient by the head's
	// output, dIn that by the images. It consumes both tapes, which need not be of one ForwardBoth but
	// of the same number of rows. Ready gets the head's ranges, then the trunk's.
	BackwardBoth(trunk, head Tape, dOut []float32, opt Backward) (dIn []float32, err error)
}

// Accumulator is a Net that sums gradients exactly (package internal/exact) where it computes them: what
// comes to the host is one block of integers a step instead of a block of floats a shard.
//
// A step of s shards on this worker, of n in the whole batch, is
//
//	Accumulate(acc, n)
//	Backward ... ; Summand(0, all)      for each of the first s - 1 shards
//	Backward with Ready                 for the last, whose ranges are complete sums
//	Collect(lo, hi)                     for what no Ready has reported
//	Accumulate(nil, 0)
type Accumulator interface {
	Net
	// Accumulate makes the backwards that follow leave Memory.Grads alone and sum on the device, from
	// zero. acc, with model.Network.NumParams elements in units of exact.Unit, is where sums are added
	// to; n is the number of summands that they are part of. A nil acc ends it.
	Accumulate(acc []int64, n int) error
	// Summand says that the gradients [lo, hi) since the last Summand are a whole summand: rounded once,
	// as by exact.Add, and added to the sums. A Backward with Ready does this for its own ranges.
	Summand(lo, hi int) error
	// Collect adds the sums [lo, hi) to acc and sets them to zero. A Backward with Ready does this
	// before it reports a range. The error is exact.ErrRange if a summand was too large, here or in the
	// Backward; all sums are of no more use then.
	Collect(lo, hi int) error
}

// Images are rows as bytes, to be cut, mirrored and normalised where the network computes.
type Images struct {
	// Pixels are images of Height x Width pixels, three bytes each, row by row: R, G, B.
	Pixels        []byte
	Height, Width int
	// Crops say for each image where the network's input lies in it.
	Crops []Crop
	// A value v enters the network as (v/255 - Mean) / Deviation of its channel.
	Mean, Deviation [3]float32
}

// Crop is the upper left corner of a network's input in an image, in pixels; mirrored left to right
// after the cut if Mirrored is set.
type Crop struct {
	Top, Left int
	Mirrored  bool
}

// Cropper is a Net that takes images as bytes: a quarter of what floats take on the way to the device,
// and no work for the host.
type Cropper interface {
	Joiner
	// ForwardImages is ForwardBoth over images. The network's input has three channels.
	ForwardImages(mode Mode, images Images) (trunk, head Tape, err error)
}
