package allreduce

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// frameOf is a payload in memory as frames have it.
func frameOf(x []int64) []byte {
	payload := make([]byte, headerBytes+8*len(x))[headerBytes:]
	copy(integers(floats(payload)), x)
	return payload
}

// Every width from 1 to 8 bytes is used for what just needs it, of both signs, in chunks of any length.
func TestPackedIntegersComeBack(t *testing.T) {
	for width := 1; width <= 8; width++ {
		for _, n := range []int{1, 2, 3, 9, 100} {
			x := make([]int64, n)
			for i := range x {
				x[i] = int64(i) - 5
			}
			most := int64(1)<<(8*width-1) - 1 // wraps to MaxInt64 for the last
			for _, v := range []int64{most, -most - 1} {
				x[n/2] = v
				packed := packIntegers(frameOf(x))
				require.Len(t, packed, width*n, "%d integers with %d", n, v)
				got := make([]int64, n)
				require.NoError(t, unpackIntegers(got, packed))
				require.Equal(t, x, got, "%d integers with %d", n, v)
			}
		}
	}
	require.Empty(t, packIntegers(nil))
	require.NoError(t, unpackIntegers(nil, nil))
}

// What is packed does not depend on the byte order of the host: the lowest bytes, little-endian.
func TestPackedIntegersOnTheWire(t *testing.T) {
	require.Equal(t, []byte{1, 0, 0xfe, 0xff, 0x00, 0x80, 0xff, 0x7f}, packIntegers(frameOf([]int64{1, -2, -0x8000, 0x7fff})))
}

func TestPackedIntegersOfAnotherLengthAreRefused(t *testing.T) {
	for n, bytes := range map[int][]int{0: {1}, 3: {0, 2, 4, 27}} {
		for _, b := range bytes {
			err := unpackIntegers(make([]int64, n), make([]byte, b))
			require.EqualError(t, err, fmt.Sprintf("chunk of %d bytes came where %d integers were due", b, n))
		}
	}
}

// Sums that grow on their way around take more bytes on later hops, and come out whole.
func TestIntegersGrowOnTheirWay(t *testing.T) {
	all := rings(t, 4, openMemory)
	x := make([][]int64, 4)
	for rank := range x {
		x[rank] = slices.Repeat([]int64{math.MaxInt8}, 400)
	}
	parts := []int{100, 100, 100, 100}
	requireNone(t, together(all, func(_ int, r *Ring) error { return r.Barrier(t.Context(), 1, "begin") }))
	before := all[0].Stats()
	requireNone(t, together(all, func(rank int, r *Ring) error {
		return r.ReduceScatterInt64(t.Context(), 1, "rows", x[rank], parts)
	}))
	for rank := range x {
		require.Equal(t, slices.Repeat([]int64{4 * math.MaxInt8}, 100), x[rank][100*rank:][:100])
	}
	after := all[0].Stats()
	frames := after.FramesSent - before.FramesSent
	require.EqualValues(t, 100+200+200, after.BytesSent-before.BytesSent-headerBytes*frames)
}
