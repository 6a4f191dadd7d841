package allreduce

import "unsafe"

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

// aligned reports whether b can be viewed as floats where it lies.
func aligned(b []byte) bool {
	return uintptr(unsafe.Pointer(unsafe.SliceData(b)))%unsafe.Alignof(float32(0)) == 0
}

// floats views b, aligned and in host order, as len(b)/4 floats.
func floats(b []byte) []float32 {
	if len(b) < 4 {
		return nil
	}
	return unsafe.Slice((*float32)(unsafe.Pointer(unsafe.SliceData(b))), len(b)/4)
}

// add adds src to dst, which has the same length. Eight sums an iteration keep the loop bound by
// memory rather than by its own bookkeeping.
func add(dst, src []float32) {
	src = src[:len(dst)]
	for len(dst) >= 8 {
		d, s := (*[8]float32)(dst), (*[8]float32)(src)
		d[0] += s[0]
		d[1] += s[1]
		d[2] += s[2]
		d[3] += s[3]
		d[4] += s[4]
		d[5] += s[5]
		d[6] += s[6]
		d[7] += s[7]
		dst, src = dst[8:], src[8:]
	}
	for i, v := range src {
		dst[i] += v
	}
}
