// Package draw is the one source of randomness of a run. Every random decision is a function of
// (seed, purpose, counters) alone: never of a stream that a process has been reading, so neither
// the number of workers nor a restart can change it. The algorithms are fixed here rather than
// taken from math/rand so that a recipe gives the same run with every version of Go.
package draw

import (
	"math"
	"math/bits"
)

// Purpose separates the decisions of a run from each other. Values are part of what a seed means:
// never renumber them.
type Purpose uint64

// The decisions that are drawn.
const (
	ShardDeal  Purpose = iota + 1 // classes to shards; counters: epoch
	ClassOrder                    // order of a shard's classes; counters: epoch, pass, shard
	ImageOrder                    // order of a class's images; counters: epoch, class, round
	Augment                       // crop, flip, colour of one image; counters: epoch, image, use
	Lambda                        // mixing weight; counters: step[, pair]
	PairType                      // kind of mixed pairs; counters: step
	Init                          // initial parameters; counters: parameter number
	ProxyInit                     // initial proxies; counters: class
	Synth                         // generated images; counters: class[, image]
	Cluster                       // k-means starts of NMI
	Test                          // tests
	MixLevel                      // level at which a step mixes; counters: step
	LabelSplit                    // labels that are kept: of which classes; of which images, counters: class
	Unlabelled                    // order of the unlabelled images; counters: round
	Geometry                      // partners of rows in measures with mixed rows; counters: row, 0 of training or 1 of test
)

// Rand is a small deterministic generator (xoshiro256**). The zero value is not usable: call Of.
// It is not safe for concurrent use; make one per decision, which costs nanoseconds.
type Rand struct{ s [4]uint64 }

// Of returns the generator of one decision.
func Of(seed uint64, p Purpose, counters ...uint64) *Rand {
	h := mix(seed ^ 0x9e3779b97f4a7c15)
	h = mix(h ^ uint64(p)*0xd1342543de82ef95)
	for i, c := range counters {
		h = mix(h ^ mix(c+uint64(i+1)*0x9e3779b97f4a7c15))
	}
	r := &Rand{}
	for i := range r.s {
		h += 0x9e3779b97f4a7c15
		r.s[i] = mix(h)
	}
	return r
}

// mix is the finaliser of splitmix64, a bijection on 64 bits.
func mix(z uint64) uint64 {
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// Uint64 returns 64 uniform bits.
func (r *Rand) Uint64() uint64 {
	s := &r.s
	out := bits.RotateLeft64(s[1]*5, 7) * 9
	t := s[1] << 17
	s[2] ^= s[0]
	s[3] ^= s[1]
	s[1] ^= s[2]
	s[0] ^= s[3]
	s[2] ^= t
	s[3] = bits.RotateLeft64(s[3], 45)
	return out
}

// Float64 returns a uniform value in [0, 1).
func (r *Rand) Float64() float64 { return float64(r.Uint64()>>11) / (1 << 53) }

// Range returns a uniform value in [lo, hi).
func (r *Rand) Range(lo, hi float64) float64 { return lo + (hi-lo)*r.Float64() }

// IntN returns a uniform integer in [0, n). It panics if n <= 0.
func (r *Rand) IntN(n int) int {
	if n <= 0 {
		panic("draw: IntN needs n > 0")
	}
	hi, lo := bits.Mul64(r.Uint64(), uint64(n))
	if lo < uint64(n) {
		for threshold := -uint64(n) % uint64(n); lo < threshold; {
			hi, lo = bits.Mul64(r.Uint64(), uint64(n))
		}
	}
	return int(hi)
}

// Perm returns a uniform permutation of [0, n).
func (r *Rand) Perm(n int) []int {
	p := make([]int, n)
	for i := range p {
		j := r.IntN(i + 1)
		p[i], p[j] = p[j], i
	}
	return p
}

// Norm returns a standard normal value (Box-Muller, the cosine half).
func (r *Rand) Norm() float64 {
	u := 1 - r.Float64() // (0, 1]
	return math.Sqrt(-2*math.Log(u)) * math.Cos(2*math.Pi*r.Float64())
}

// Beta returns a value of the Beta(a, b) distribution, a, b > 0.
func (r *Rand) Beta(a, b float64) float64 {
	x, y := r.gamma(a), r.gamma(b)
	if x+y == 0 { // both underflowed: tiny shapes put the mass on the ends
		if r.Float64() < a/(a+b) {
			return 1
		}
		return 0
	}
	return x / (x + y)
}

// gamma draws from Gamma(shape, 1) by the method of Marsaglia and Tsang (2000).
func (r *Rand) gamma(shape float64) float64 {
	if shape < 1 {
		u := 1 - r.Float64()
		return r.gamma(shape+1) * math.Pow(u, 1/shape)
	}
	d := shape - 1.0/3
	c := 1 / math.Sqrt(9*d)
	for {
		x := r.Norm()
		v := 1 + c*x
		if v <= 0 {
			continue
		}
		v = v * v * v
		u := 1 - r.Float64()
		if math.Log(u) < 0.5*x*x+d-d*v+d*math.Log(v) {
			return d * v
		}
	}
}
