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

// Updater is a Net that updates parameters where it computes with them: neither they nor the optimizer's
// state travel while a run goes on.
//
// From Optimize on the parameters are the Net's. It reads Memory.Params in Send and writes them in Fetch,
// and nowhere else, so Changed is about Buffers alone. A Send comes before the first forward.
type Updater interface {
	Keeper
	// Optimize says how parameters are updated, and sets the state to zero.
	Optimize(rule Rule) error
	// Reduced takes the gradients, summed over the whole batch, by the parameters from lo on, for the
	// next Update. x may change afterwards. Of all methods it alone may be called while a Backward is in
	// progress, by one other goroutine, and it does not wait for it.
	Reduced(lo int, x []float32) error
	// Update moves the groups [first, last) of the rule by one step with learning rate lr, as package
	// optim does. Reduced has been given all of their gradients since the last Update.
	Update(lr float64, first, last int) error
	// Fetch brings parameters [lo, hi) to Memory.Params and, if state is not nil, all of the state there.
	Fetch(lo, hi int, state *State) error
	// Send takes parameters [lo, hi) from Memory.Params and, if state is not nil, all of the state.
	Send(lo, hi int, state *State) error
}

// Rule is an optimizer of package optim.
type Rule struct {
	Name     string     // "adamw", "adam" or "sgd"
	Momentum float64    // of sgd, in [0, 1)
	Betas    [2]float64 // of adam and adamw, in [0, 1)
	Eps      float64    // of adam and adamw, > 0
	Groups   []Group    // ascending; they cover all parameters
}

// Group is the range [Lo, Hi) of the parameters.
type Group struct {
	Lo, Hi      int
	LRScale     float64 // the group's learning rate is LRScale x that of the step
	WeightDecay float64
}

// State is views of an optimizer's state.
type State struct {
	Moments [][]float32 // mean and square of adam and adamw, momentum of sgd: a value for each parameter
	Steps   []float32   // updates of each group
}

// Settler is a Net whose sums become the gradients of its next update where they are: for a worker alone, to
// whose sums nobody adds.
type Settler interface {
	Accumulator
	Updater
	// Settle is Collect and Reduced in one, without the host: it turns the sums [lo, hi) into gradients, as
	// exact.Float32 does, clamps them to [-clip, clip] if clip is above 0, and sets the sums to zero. The
	// error is exact.ErrRange if a summand of any sum was too large.
	Settle(lo, hi int, clip float64) error
}

// Images are rows as bytes, to be cut, mirrored and normalised where the network computes.
type Images struct {
	// Pixels are images of Height x Width pixels, three bytes each, row by row: R, G, B.
	Pixels        []byte
	Height, Width int
	// Crops say for each image where the network's input lies in it.
	Crops []Crop
	// A value v enters the network as (v x (1/255) - Mean) x (1/Deviation) of its channel, in float32 and
	// rounded after every operation: the bits that package dataset gives to floats.
	Mean, Deviation [3]float32
}

// Crop is the upper left corner of a network's input in an image, in pixels; mirrored left to right after
// the cut if Mirrored is set.
type Crop struct {
	Top, Left int
	Mirrored  bool
}

// Cropper is a Net that takes images as bytes: a quarter of what floats take on the way to the device, and
// less work for the host. Those of the next step can come while it computes with those of this one.
type Cropper interface {
	Joiner
	// Pin lends memory of the host, until unpin, that the device reads by itself: for Images.Pixels.
	Pin(bytes int) (pixels []byte, unpin func(), err error)
	// Take begins to bring images to one of Places on the device, and does not wait for them. The network's
	// input has three channels. One other goroutine may call it while other methods are in progress.
	Take(images Images) (Taken, error)
}

// Places is how many Taken a Cropper has at a time. Another Take is refused until one is released.
const Places = 2

// Taken are images on a device or on their way there.
type Taken interface {
	// Forward is ForwardBoth over images [lo, hi). With maps the trunk's tape gives feature maps out.
	Forward(mode Mode, lo, hi int, maps bool) (trunk, head Tape, err error)
	// Release gives the place back. Until then the pixels must stay as they are. It may be called from
	// anywhere, like Take; once more is harmless.
	Release()
}
