package dataset

import (
	"image"
	"math"
	"slices"
	"sync"
)

// weightBits is the precision of a filter's weights: they are whole numbers that sum to 1<<weightBits.
const weightBits = 13

const (
	weightOne = 1 << weightBits
	// roundLanes is one half in every lane.
	roundLanes = (weightOne / 2) | (weightOne/2)<<laneBits | (weightOne/2)<<(2*laneBits)
)

// resampler resizes images with the antialiased bilinear filter: a tent whose half width is one
// source pixel when enlarging and `scale` source pixels when shrinking by scale, so that every source
// pixel counts. It is separable and rounds to 8 bits after each direction, like Pillow:
//
//	source row --spread--> words --x weights--> ring of the last rows --y weights--> line
//
// A word holds the three samples of a pixel (see laneBits), so a tap costs one multiplication for
// all of them, and the ring holds only as many rows as the filter is high, which stay in the first
// cache. All sums are of whole numbers: the result has the same bits on every machine. Rounding the
// weights to 13 bits moves a result by less than one step of 8 bits from Pillow's.
//
// Cost: (source rows x width + width x height) x taps multiplications, taps being 2 when enlarging
// and about 2 x scale when shrinking. Buffers grow to the largest use and are kept.
type resampler struct {
	src   pixels
	x, y  taps
	width int      // of the result
	row   []uint64 // the source row in work, spread
	ring  []uint64 // y.n rows of width words, row s at s mod y.n
	next  int      // first source row that is not in the ring yet
	line  []uint64 // the result row in work
}

// resamplers are kept between images. They hold scratch memory and nothing that could change a result.
var resamplers = sync.Pool{New: func() any { return new(resampler) }}

// release gives r back. It keeps no image alive.
func (r *resampler) release() {
	r.src = pixels{}
	resamplers.Put(r)
}

// start prepares to resize area of src to full, of which only window is made. window should lie in
// full; what lies outside repeats the border.
func (r *resampler) start(src pixels, area image.Rectangle, full image.Point, window image.Rectangle) {
	r.src = src
	r.src.pix = src.pix[area.Min.Y*src.stride+area.Min.X*src.step:]
	r.src.w, r.src.h = area.Dx(), area.Dy()
	r.x.set(r.src.w, full.X, window.Min.X, window.Max.X)
	r.y.set(r.src.h, full.Y, window.Min.Y, window.Max.Y)
	r.width = window.Dx()
	r.row = grow(r.row, r.src.w)
	r.ring = grow(r.ring, r.y.n*r.width)
	r.line = grow(r.line, r.width)
	r.next = 0
}

// at returns row y of the window, in ascending order of y. The row is overwritten by the next call.
func (r *resampler) at(y int) []uint64 {
	first, n := int(r.y.first[y]), r.y.n
	for r.next = max(r.next, first); r.next < first+n; r.next++ {
		slot := r.next % n * r.width
		r.shrinkRow(r.ring[slot:slot+r.width], r.next)
	}
	line := r.line
	for i := range line {
		line[i] = roundLanes
	}
	w := r.y.w[y*n : y*n+n]
	k := 0
	for ; k+2 <= n; k += 2 {
		addTwo(line, r.ringRow(first+k), r.ringRow(first+k+1), w[k], w[k+1])
	}
	if k < n {
		addOne(line, r.ringRow(first+k), w[k])
	}
	for i, v := range line {
		line[i] = v >> weightBits & laneMask
	}
	return line
}

func (r *resampler) ringRow(s int) []uint64 {
	at := s % r.y.n * r.width
	return r.ring[at : at+r.width]
}

// addTwo adds a*wa + b*wb to dst.
func addTwo(dst, a, b []uint64, wa, wb uint64) {
	a, b = a[:len(dst)], b[:len(dst)]
	for i := range dst {
		dst[i] += a[i]*wa + b[i]*wb
	}
}

// addOne adds a*w to dst.
func addOne(dst, a []uint64, w uint64) {
	a = a[:len(dst)]
	for i := range dst {
		dst[i] += a[i] * w
	}
}

// shrinkRow filters source row s along x.
func (r *resampler) shrinkRow(dst []uint64, s int) {
	first, w := r.x.first[:len(dst)], r.x.w
	r.src.spread(r.row, s, int(first[0]), int(first[len(first)-1])+r.x.n)
	row := r.row
	switch n := r.x.n; n {
	case 2: // enlarging
		for i := range dst {
			p, w := row[first[i]:][:2], w[2*i:][:2]
			dst[i] = (roundLanes + p[0]*w[0] + p[1]*w[1]) >> weightBits & laneMask
		}
	case 3:
		for i := range dst {
			p, w := row[first[i]:][:3], w[3*i:][:3]
			dst[i] = (roundLanes + p[0]*w[0] + p[1]*w[1] + p[2]*w[2]) >> weightBits & laneMask
		}
	case 4: // shrinking to half
		for i := range dst {
			p, w := row[first[i]:][:4], w[4*i:][:4]
			dst[i] = (roundLanes + p[0]*w[0] + p[1]*w[1] + p[2]*w[2] + p[3]*w[3]) >> weightBits & laneMask
		}
	default:
		for i := range dst {
			w := w[n*i:][:n]
			p := row[first[i]:][:len(w)]
			sum := uint64(roundLanes)
			for k, weight := range w {
				sum += p[k] * weight
			}
			dst[i] = sum >> weightBits & laneMask
		}
	}
}

// taps are the weights of one direction: result i is the sum over k < n of w[i*n+k] times source
// first[i]+k. first never descends, first[i]+n is at most the source's size.
type taps struct {
	n     int
	first []int32
	w     []uint64
	exact []float64
}

// set computes the weights of results [lo, hi) when size source pixels become full. Every product
// is rounded by itself (the conversions forbid fused operations): weights are alike on all machines.
func (t *taps) set(size, full, lo, hi int) {
	scale := float64(size) / float64(max(full, 1))
	support := max(scale, 1)
	t.n = min(int(math.Ceil(float64(2*support)))+1, size)
	t.first = grow(t.first, hi-lo)
	t.exact = grow(t.exact, t.n)
	widest := 1
	for i := range t.first {
		from, to := reach(size, lo+i, scale, support)
		widest = max(widest, to-from)
	}
	t.n = widest
	t.w = grow(t.w, (hi-lo)*t.n)
	for i := range t.first {
		centre := float64((float64(lo+i) + 0.5) * scale)
		from, to := reach(size, lo+i, scale, support)
		from = min(from, size-t.n)
		t.first[i] = int32(from)
		t.weigh(t.w[i*t.n:(i+1)*t.n], from, to, centre, 1/support)
	}
}

// reach returns the source pixels [from, to) under the tent of result i, at least one.
func reach(size, i int, scale, support float64) (from, to int) {
	centre := float64((float64(i) + 0.5) * scale)
	from = min(max(int(centre-support+0.5), 0), size-1)
	to = min(max(int(centre+support+0.5), from+1), size)
	return from, to
}

// weigh writes the weights of source pixels from, from+1, … for a tent at centre; those from `to` on
// are zero. Sums of weights are rounded rather than the weights, so that they end in exactly 1.
func (t *taps) weigh(dst []uint64, from, to int, centre, narrow float64) {
	sum := 0.0
	exact := t.exact[:len(dst)]
	for k := range exact {
		distance := math.Abs(float64((float64(from+k) - centre + 0.5) * narrow))
		exact[k] = 0
		if from+k < to {
			exact[k] = max(1-distance, 0)
		}
		sum += exact[k]
	}
	if sum == 0 { // outside the image: repeat the border
		clear(dst)
		dst[to-from-1] = weightOne
		return
	}
	part, before := 0.0, 0
	for k, e := range exact {
		part += e
		upTo := int(float64(part/sum)*weightOne + 0.5)
		dst[k] = uint64(upTo - before)
		before = upTo
	}
}

// grow returns a slice of n elements, s itself where it is large enough. Contents are undefined.
func grow[T any](s []T, n int) []T {
	if cap(s) < n {
		return make([]T, n)
	}
	return slices.Grow(s[:0], n)[:n]
}
