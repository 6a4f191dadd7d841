package allreduce

import (
	"unsafe"

	"gonum.org/v1/gonum/blas/gonum"
)

// Payloads are little-endian float32. On a little-endian host their bytes are the floats: the ring
// adds in place in the buffer that came in and sends that buffer on, without a conversion. On a
// big-endian host hostOrder swaps the bytes of a payload when it comes in and before it goes out.

// littleEndian reports whether this host keeps the low byte first.
func littleEndian() bool {
	one := uint16(1)
	return *(*byte)(unsafe.Pointer(&one)) == 1
}

// hostOrder converts a payload between wire order and host order, in place, both ways.
func hostOrder(payload []byte) {
	if !littleEndian() {
		swapWords(payload)
	}
}

func swapWords(b []byte) {
	for ; len(b) >= 4; b = b[4:] {
		b[0], b[1], b[2], b[3] = b[3], b[2], b[1], b[0]
	}
}

// aligned reports whether b can be viewed as numbers of 4 or 8 bytes where it lies.
func aligned(b []byte) bool { return uintptr(unsafe.Pointer(unsafe.SliceData(b)))%8 == 0 }

// floats views b, aligned and in host order, as len(b)/4 floats.
func floats(b []byte) []float32 {
	if len(b) < 4 {
		return nil
	}
	return unsafe.Slice((*float32)(unsafe.Pointer(unsafe.SliceData(b))), len(b)/4)
}

// add adds src to dst, which has the same length: dst[i] += 1*src[i], which rounds like dst[i] +
// src[i]. Saxpy has vector instructions, at a quarter of the time of a loop in Go.
func add(dst, src []float32) {
	gonum.Implementation{}.Saxpy(len(dst), 1, src, 1, dst, 1)
}
