package allreduce

import (
	"encoding/binary"
	"fmt"
	"math"
)

// Wire is how an exchange writes floats into frames.
type Wire uint8

const (
	Float32  Wire = iota // 4 bytes, exact
	BFloat16             // 2 bytes: sign, exponent and 7 bits of the fraction, rounded to nearest even
)

func (w Wire) String() string {
	switch w {
	case Float32:
		return "float32"
	case BFloat16:
		return "bfloat16"
	}
	return fmt.Sprintf("wire %d", uint8(w))
}

// size is the number of bytes of one float.
func (w Wire) size() int {
	if w == BFloat16 {
		return 2
	}
	return 4
}

// pack writes x into a payload of len(x)*size() bytes, little-endian on every host.
func (w Wire) pack(payload []byte, x []float32) {
	if w == BFloat16 {
		payload = payload[:2*len(x)]
		for i, v := range x {
			binary.LittleEndian.PutUint16(payload[2*i:], bfloat16(v))
		}
		return
	}
	copy(floats(payload), x)
	hostOrder(payload)
}

// unpack is the inverse of pack. It may change the payload.
func (w Wire) unpack(dst []float32, payload []byte) {
	if w == BFloat16 {
		unpackBFloat16(dst, payload)
		return
	}
	hostOrder(payload)
	copy(dst, floats(payload))
}

// unpackBFloat16 reads four numbers at a time, in half of the time of one at a time.
func unpackBFloat16(dst []float32, payload []byte) {
	for len(dst) >= 4 && len(payload) >= 8 {
		w := binary.LittleEndian.Uint64(payload)
		dst[0], dst[1] = widen(uint16(w)), widen(uint16(w>>16))
		dst[2], dst[3] = widen(uint16(w>>32)), widen(uint16(w>>48))
		dst, payload = dst[4:], payload[8:]
	}
	for i := range dst {
		dst[i] = widen(binary.LittleEndian.Uint16(payload[2*i:]))
	}
}

// RoundBFloat16 replaces every x[i] by the nearest number that bfloat16 can hold, the even one of
// two: what an exchange with that Wire delivers. Numbers that round beyond the largest one, about
// 3.39e38, become infinite; a NaN stays one.
func RoundBFloat16(x []float32) {
	for i, v := range x {
		x[i] = widen(bfloat16(v))
	}
}

// bfloat16 returns the upper half of v, rounded to nearest even.
func bfloat16(v float32) uint16 {
	b := math.Float32bits(v)
	if b&0x7fffffff > 0x7f800000 {
		return uint16(b>>16) | 0x40 // a NaN whose fraction must not be cut or carried away
	}
	return uint16((b + 0x7fff + b>>16&1) >> 16)
}

// widen returns the float whose upper half is h.
func widen(h uint16) float32 { return math.Float32frombits(uint32(h) << 16) }
