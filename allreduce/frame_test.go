package allreduce

import (
	"encoding/binary"
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func dataFrame(payload ...float32) []byte {
	frame := make([]byte, headerBytes)
	for _, v := range payload {
		frame = binary.LittleEndian.AppendUint32(frame, math.Float32bits(v))
	}
	encode(frame, header{
		Kind: kindData, Op: opAllReduce, Run: hashRun("test"), Generation: 7, Step: 12,
		Collective: 99, Sequence: 3, Sender: 1, Sum: checksum(frame[headerBytes:]),
	})
	return frame
}

// The bytes of a frame are the protocol between builds: they must not change unnoticed.
func TestFrameBytes(t *testing.T) {
	want := []byte{
		'M', 'X', 'R', 'F', 3, 2, 1, 0, // magic, version, kind, operation, flags
		0x25, 0x2b, 0x7c, 0x19, 0xef, 0xe6, 0xe6, 0xf9, // run
		7, 0, 0, 0, 0, 0, 0, 0,
		12, 0, 0, 0, 0, 0, 0, 0,
		99, 0, 0, 0, 0, 0, 0, 0,
		3, 0, 0, 0, 0, 0, 0, 0,
		1, 0, 0, 0, 8, 0, 0, 0, // sender, payload length
		0, 0, 0, 0, 0, 0, 0, 0, // checksums
		0, 0, 0x80, 0x3f, 0, 0, 0, 0xc0, // 1, -2
	}
	got := dataFrame(1, -2)
	copy(want[56:64], got[56:64])
	assert.Equal(t, want, got)
	assert.Equal(t, uint64(0xf9e6e6ef197c2b25), hashRun("test"), "FNV-1a of test")
	assert.Equal(t, uint32(0xe3069283), checksum([]byte("123456789")), "the check value of CRC-32C")

	h, payload, err := decode(got)
	require.NoError(t, err)
	assert.Equal(t, header{
		Kind: kindData, Op: opAllReduce, Run: hashRun("test"), Generation: 7, Step: 12,
		Collective: 99, Sequence: 3, Sender: 1, Sum: checksum(got[headerBytes:]),
	}, h)
	assert.Equal(t, []float32{1, -2}, floats(payload))
}

// Any single flipped bit of a frame is noticed.
func TestEveryFlippedBitIsNoticed(t *testing.T) {
	frame := dataFrame(1, -2, 3)
	for bit := range 8 * len(frame) {
		frame[bit/8] ^= 1 << (bit % 8)
		_, _, err := decode(frame)
		require.Error(t, err, "bit %d", bit)
		frame[bit/8] ^= 1 << (bit % 8)
	}
}

func TestOperationsHaveNames(t *testing.T) {
	for o := opAllReduce; o <= opExchange; o++ {
		assert.NotContains(t, o.String(), "operation")
	}
	assert.Equal(t, "operation 77", op(77).String())
}

func TestAdd(t *testing.T) {
	for n := range 40 {
		dst, src := input(1, n), input(2, n)
		want := input(1, n)
		for i := range want {
			want[i] += src[i]
		}
		add(dst, src)
		require.Equal(t, want, dst, "%d floats", n)
	}
}

func TestSwapWords(t *testing.T) {
	b := []byte{1, 2, 3, 4, 5, 6, 7, 8}
	swapWords(b)
	assert.Equal(t, []byte{4, 3, 2, 1, 8, 7, 6, 5}, b)
}

// FuzzFrame: whatever arrives, decode gives a header or an error, a decoded frame encodes to the
// same bytes, and a ring admits or refuses it. Half of the inputs get correct checksums, so that
// they come past them.
func FuzzFrame(f *testing.F) {
	f.Add([]byte{}, false)
	f.Add([]byte("MXRF"), false)
	f.Add(dataFrame(), false)
	f.Add(dataFrame(1, 2, 3), false)
	f.Add(dataFrame(1, 2, 3)[:70], true)
	f.Add(hello{World: 2, ChunkFloats: 64, Window: 8, Heard: true}.append(dataFrame()), true)
	cfg := testConfig(0, 2)
	ring, err := New(cfg, Memory(2)[0])
	require.NoError(f, err)
	f.Fuzz(func(t *testing.T, frame []byte, repair bool) {
		if repair && len(frame) >= headerBytes {
			binary.LittleEndian.PutUint32(frame[56:], checksum(frame[headerBytes:]))
			binary.LittleEndian.PutUint32(frame[60:], checksum(frame[:60]))
		}
		m, stale, admitErr := ring.admit(ring.prev, frame)
		h, payload, err := decode(frame)
		if err != nil {
			require.Error(t, admitErr)
			return
		}
		again := append(make([]byte, headerBytes), payload...)
		encode(again, h)
		require.Equal(t, frame, again)
		if admitErr != nil || stale {
			return
		}
		require.Equal(t, h, m.header)
		if _, err := decodeHello(payload); err == nil {
			require.Len(t, payload, helloBytes)
		}
	})
}
