package kernels

// Normalisation is what the kernel crop applies to bytes that were scaled to [0, 1].
type Normalisation struct{ Mean, Scale [3]float32 }

// Window is a pooling of N x H x W x C to N x OH x OW x C.
type Window struct{ N, H, W, C, OH, OW, Kernel, Stride, Pad int32 }

// AdamGroup holds the constants of a group of parameters, as package optim computes them.
type AdamGroup struct {
	Shrink, Decay         float32 // p *= shrink; g += decay x p
	Keep1, New1           float32 // b1, 1 - b1
	Keep2, New2           float32 // b2, 1 - b2
	Rate, Correction, Eps float32 // lr / (1 - b1^t), sqrt(1 - b2^t)
}

// SGDGroup holds the constants of a group of parameters.
type SGDGroup struct{ Rate, Decay float32 }

// What a side of a loss form applies to slope (s - shift), and to the sum.
const (
	RhoLine, RhoHinge, RhoExponential        = 0, 1, 2
	SigmaIdentity, SigmaLogOnePlus, SigmaLog = 0, 1, 2
)

// LossSide is the positives or the negatives of a form: sigma(SUM rho(slope (s - shift))).
type LossSide struct {
	Rho, Sigma   int32
	Slope, Shift float32
	Scale        float32
}

// LossForm is a form of package metrix that is a sum over pairs, in numbers instead of functions.
type LossForm struct {
	Positive, Negative LossSide
	Hinge              int32 // 1: the outermost function is max(x, 0)
	All                int32 // 1: the negative sum runs over positives too
	Mine               int32 // 1: clean pairs are chosen by the multi-similarity miner
	Epsilon            float32
}

// What is mixed.
const (
	MixNothing          = 0
	MixPositiveNegative = 1
	MixAnchorNegative   = 2
)

// LossMix is what one step mixes.
type LossMix struct {
	Kind   int32
	Weight float32
	Lambda float32
}

// LossAnchor is one anchor of a launch.
type LossAnchor struct {
	Row     int32 // its row of similarities, and in the matrix of anchors
	Self    int32 // its own position among the candidates, or -1
	Lo, Hi  int32 // positions of its class
	Counted int32 // 0: only counted for a mean over non-zero terms
	ID      int32 // with mixed rows: what First is compared with; -1 for proxies
	R0, R1  int32 // with mixed rows: those of its class
	Slot    int32 // with mixed rows: where their similarities lie
}

// LossRow is the range of anchors of a candidate's class.
type LossRow struct{ A0, A1 int32 }

// LossTerm holds the sums of an anchor: clean positive, clean negative, mixed positive, mixed negative.
type LossTerm struct {
	Value, Log [4]float32
	Bound      [2]float32
	Count      [4]int32
}

// LossSlope is the derivative of the loss by the four sums.
type LossSlope struct{ By [4]float32 }

// LossReduction says what the parts are multiplied with.
type LossReduction struct {
	Share   float64    // 1 / anchors of the global batch
	Factor  [4]float64 // of the four parts, 1 for a mean over anchors
	NonZero int32      // 1: the factors make a mean over the terms above zero instead
	_       int32
}
