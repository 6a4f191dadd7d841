package allreduce

import (
	"encoding/binary"
	"fmt"
	"math/bits"
)

// Sums of gradients are small for 64 bits: in units of 2^-44 those of a network fit 40. So a chunk of
// integers travels with as many bytes for each as its largest magnitude needs beside a sign, the lowest
// bytes, little-endian on every host. The receiver knows how many integers are due, and so the width.

// packIntegers packs the integers of a payload in their place and returns what is to be sent of it.
func packIntegers(payload []byte) []byte {
	x := integers(floats(payload))
	var largest uint64 // all bits that any magnitude has
	for _, v := range x {
		largest |= uint64(v ^ v>>63)
	}
	width := bits.Len64(largest)/8 + 1
	for i, v := range x { // whole words: the next one overwrites what is too much
		binary.LittleEndian.PutUint64(payload[width*i:], uint64(v))
	}
	return payload[:width*len(x)]
}

// unpackIntegers is the inverse, of len(dst) integers.
func unpackIntegers(dst []int64, packed []byte) error {
	n := len(dst)
	if n == 0 && len(packed) == 0 {
		return nil
	}
	if n == 0 || len(packed)%n != 0 || len(packed) == 0 || len(packed) > 8*n {
		return fmt.Errorf("chunk of %d bytes came where %d integers were due", len(packed), n)
	}
	width := len(packed) / n
	unused := 64 - 8*width
	whole := max(0, (len(packed)-8)/width) // words within packed
	for i := range dst[:whole] {
		dst[i] = int64(binary.LittleEndian.Uint64(packed[width*i:])<<unused) >> unused
	}
	var word [8]byte
	for i := whole; i < n; i++ {
		copy(word[:], packed[width*i:][:width])
		dst[i] = int64(binary.LittleEndian.Uint64(word[:])<<unused) >> unused
	}
	return nil
}
