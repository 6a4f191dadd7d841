//go:build !amd64

package exact

func set(dst []int64, x []float32) (largest uint32) { return setPlain(dst, x) }

func add(acc []int64, x []float32) (largest uint32) { return addPlain(acc, x) }

func toFloat32(dst []float32, acc []int64) (largest uint32) { return toFloat32Plain(dst, acc) }
