package allreduce

import (
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/metrixml/metrix/internal/draw"
)

// nearestBFloat16 is the plain reference: of the two neighbours of a finite v the nearer one, or
// the even one, in float64.
func nearestBFloat16(v float32) float32 {
	low := math.Float32bits(v) &^ 0xffff // towards zero
	lo, hi := math.Float32frombits(low), math.Float32frombits(low+0x10000)
	up := math.Abs(float64(hi))
	if math.IsInf(up, 0) {
		up = 0x1p128 // where the next number would be
	}
	below, above := math.Abs(float64(v))-math.Abs(float64(lo)), up-math.Abs(float64(v))
	if below < above || below == above && low&0x10000 == 0 {
		return lo
	}
	return hi
}

func TestRoundBFloat16(t *testing.T) {
	r := draw.Of(4, draw.Test)
	for range 200_000 {
		v := math.Float32frombits(uint32(r.Uint64()))
		if math.IsNaN(float64(v)) || math.IsInf(float64(v), 0) {
			continue
		}
		x := []float32{v}
		RoundBFloat16(x)
		if want := nearestBFloat16(v); math.Float32bits(want) != math.Float32bits(x[0]) {
			require.Equal(t, want, x[0], "%x", math.Float32bits(v))
		}
	}
}

// The numbers at the edges: ties, zeros, the largest, what is none.
func TestRoundBFloat16AtTheEdges(t *testing.T) {
	for _, tc := range []struct{ in, out uint32 }{
		{0, 0}, {0x80000000, 0x80000000}, // zeros keep their sign
		{0x3f808000, 0x3f800000}, {0x3f818000, 0x3f820000}, // ties go to even
		{0x3f808001, 0x3f810000}, {0x3f807fff, 0x3f800000},
		{0x3fff8000, 0x40000000},                           // carries into the exponent
		{0x00000001, 0x00000000}, {0x00008001, 0x00010000}, // below the smallest normal number
		{0x7f7f7fff, 0x7f7f0000}, {0x7f7fffff, 0x7f800000}, {0xff7f8000, 0xff800000},
		{0x7f800000, 0x7f800000}, {0xff800000, 0xff800000}, // infinities
		{0x7f800001, 0x7fc00000}, {0xffffffff, 0xffff0000}, // NaN stays NaN
	} {
		x := []float32{math.Float32frombits(tc.in)}
		RoundBFloat16(x)
		assert.Equal(t, tc.out, math.Float32bits(x[0]), "%08x", tc.in)
	}
}

// What comes out of a frame is what RoundBFloat16 says, once and again.
func TestWires(t *testing.T) {
	for _, w := range []Wire{Float32, BFloat16} {
		for n := range 20 {
			x, got := input(1, n), make([]float32, n)
			payload := make([]byte, w.size()*n)
			w.pack(payload, x)
			w.unpack(got, payload)
			if w == BFloat16 {
				RoundBFloat16(x)
			}
			require.Equal(t, x, got, "%v", w)
			RoundBFloat16(x)
			again := append([]float32{}, x...)
			RoundBFloat16(again)
			require.Equal(t, x, again)
		}
	}
	payload := make([]byte, 4)
	BFloat16.pack(payload, []float32{1, -2})
	require.Equal(t, []byte{0x80, 0x3f, 0x00, 0xc0}, payload, "little-endian")
	require.Equal(t, "float32 bfloat16 wire 7", Float32.String()+" "+BFloat16.String()+" "+Wire(7).String())
}
