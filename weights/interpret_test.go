package weights

import (
	"math"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// array is a value of the interpreter, row-major, in double precision.
type array struct {
	dims []int
	x    []float64
}

func newArray(dims ...int) array {
	n := 1
	for _, d := range dims {
		n *= d
	}
	return array{dims, make([]float64, n)}
}

// interpret runs an ONNX graph node by node, as the standard defines the operations: slowly, and
// independently of any engine here. It is for small networks.
func interpret(t testing.TB, d decoded, images array) array {
	t.Helper()
	values := map[string]array{d.inputs[0].name: images}
	for name, x := range d.tensors {
		a := newArray(x.dims...)
		for i, v := range x.floats {
			a.x[i] = float64(v)
		}
		values[name] = a
	}
	for _, n := range d.nodes {
		var in []array
		for _, name := range n.inputs {
			require.Contains(t, values, name, "%s comes before its input", n.name)
			in = append(in, values[name])
		}
		require.Len(t, n.outputs, 1)
		require.NotContains(t, values, n.outputs[0])
		values[n.outputs[0]] = operate(t, d, n, in)
	}
	require.Contains(t, values, d.output[0].name)
	return values[d.output[0].name]
}

func operate(t testing.TB, d decoded, n decodedNode, in []array) array {
	x := in[0]
	switch n.op {
	case "Conv":
		return convolve(n, in)
	case "MaxPool":
		return pool(n, x)
	case "BatchNormalization":
		return perChannel(x, func(_ []float64, c int) (float64, float64) {
			scale := in[1].x[c] / math.Sqrt(in[4].x[c]+float64(n.floats["epsilon"]))
			return scale, in[2].x[c] - in[3].x[c]*scale
		})
	case "InstanceNormalization":
		return perChannel(x, func(plane []float64, c int) (float64, float64) {
			mean, variance := moments(plane)
			scale := in[1].x[c] / math.Sqrt(variance+float64(n.floats["epsilon"]))
			return scale, in[2].x[c] - mean*scale
		})
	case "Relu":
		return array{x.dims, apply(x.x, func(v float64) float64 { return max(v, 0) })}
	case "Add", "Mul":
		return broadcast(n.op, x, in[1])
	case "GlobalAveragePool", "GlobalMaxPool":
		return global(n.op, x)
	case "Reshape":
		return reshape(x, d.tensors[n.inputs[1]].ints)
	case "Flatten":
		require.Equal(t, []int{1}, n.ints["axis"])
		return reshape(x, []int{0, -1})
	case "Gemm":
		require.Equal(t, []int{1}, n.ints["transB"])
		return gemm(in)
	case "LpNormalization":
		require.Equal(t, []int{1, 2}, append(slices.Clone(n.ints["axis"]), n.ints["p"]...))
		return normalize(x)
	}
	require.Fail(t, "an operation that is not known here", n.op)
	return array{}
}

func apply(x []float64, f func(float64) float64) []float64 {
	out := make([]float64, len(x))
	for i, v := range x {
		out[i] = f(v)
	}
	return out
}

func moments(x []float64) (mean, variance float64) {
	for _, v := range x {
		mean += v / float64(len(x))
	}
	for _, v := range x {
		variance += (v - mean) * (v - mean) / float64(len(x))
	}
	return mean, variance
}

// perChannel scales and shifts each plane by what f says.
func perChannel(x array, f func(plane []float64, c int) (scale, shift float64)) array {
	y := newArray(x.dims...)
	channels := x.dims[1]
	area := len(x.x) / (x.dims[0] * channels)
	for i := range x.dims[0] * channels {
		plane := x.x[i*area : (i+1)*area]
		scale, shift := f(plane, i%channels)
		copy(y.x[i*area:], apply(plane, func(v float64) float64 { return v*scale + shift }))
	}
	return y
}

// slide calls f with every output position, and for each with the input positions of its window.
func slide(n decodedNode, x, y array, f func(row, oy, ox int, each func(do func(ky, kx, at int)))) {
	stride, pad, kernel := n.ints["strides"], n.ints["pads"], n.ints["kernel_shape"]
	height, width := x.dims[2], x.dims[3]
	for row := range x.dims[0] {
		for oy := range y.dims[2] {
			for ox := range y.dims[3] {
				f(row, oy, ox, func(do func(ky, kx, at int)) {
					for ky := range kernel[0] {
						for kx := range kernel[1] {
							iy, ix := oy*stride[0]+ky-pad[0], ox*stride[1]+kx-pad[1]
							if iy >= 0 && iy < height && ix >= 0 && ix < width {
								do(ky, kx, iy*width+ix)
							}
						}
					}
				})
			}
		}
	}
}

func windowed(n decodedNode, x array, channels int) array {
	size := func(axis int) int {
		return (x.dims[2+axis]+n.ints["pads"][axis]+n.ints["pads"][axis+2]-n.ints["kernel_shape"][axis])/n.ints["strides"][axis] + 1
	}
	return newArray(x.dims[0], channels, size(0), size(1))
}

func convolve(n decodedNode, in []array) array {
	x, w := in[0], in[1]
	outs, ins := w.dims[0], w.dims[1]
	y := windowed(n, x, outs)
	area, kernel := x.dims[2]*x.dims[3], w.dims[2]*w.dims[3]
	slide(n, x, y, func(row, oy, ox int, each func(func(ky, kx, at int))) {
		for o := range outs {
			var sum float64
			if len(in) > 2 {
				sum = in[2].x[o]
			}
			each(func(ky, kx, at int) {
				for c := range ins {
					sum += x.x[(row*ins+c)*area+at] * w.x[(o*ins+c)*kernel+ky*w.dims[3]+kx]
				}
			})
			y.x[((row*outs+o)*y.dims[2]+oy)*y.dims[3]+ox] = sum
		}
	})
	return y
}

func pool(n decodedNode, x array) array {
	y := windowed(n, x, x.dims[1])
	area := x.dims[2] * x.dims[3]
	slide(n, x, y, func(row, oy, ox int, each func(func(ky, kx, at int))) {
		for c := range x.dims[1] {
			best := math.Inf(-1)
			each(func(_, _, at int) { best = max(best, x.x[(row*x.dims[1]+c)*area+at]) })
			y.x[((row*x.dims[1]+c)*y.dims[2]+oy)*y.dims[3]+ox] = best
		}
	})
	return y
}

// broadcast adds or multiplies; b is of a's shape, or C x 1 x 1.
func broadcast(op string, a, b array) array {
	y := newArray(a.dims...)
	for i, v := range a.x {
		j := i
		if len(b.x) < len(a.x) {
			j = i / (a.dims[2] * a.dims[3]) % len(b.x)
		}
		if op == "Add" {
			y.x[i] = v + b.x[j]
		} else {
			y.x[i] = v * b.x[j]
		}
	}
	return y
}

func global(op string, x array) array {
	y := newArray(x.dims[0], x.dims[1], 1, 1)
	area := x.dims[2] * x.dims[3]
	for i := range y.x {
		plane := x.x[i*area : (i+1)*area]
		y.x[i], _ = moments(plane)
		if op == "GlobalMaxPool" {
			y.x[i] = slices.Max(plane)
		}
	}
	return y
}

// reshape knows 0, the input's extent, and -1, what is left.
func reshape(x array, shape []int) array {
	dims, known := slices.Clone(shape), 1
	for i, d := range dims {
		if d == 0 {
			dims[i] = x.dims[i]
		}
		if d != -1 {
			known *= dims[i]
		}
	}
	if i := slices.Index(dims, -1); i >= 0 {
		dims[i] = len(x.x) / known
	}
	return array{dims, x.x}
}

func gemm(in []array) array {
	x, w := in[0], in[1]
	y := newArray(x.dims[0], w.dims[0])
	for r := range x.dims[0] {
		for o := range w.dims[0] {
			var sum float64
			if len(in) > 2 {
				sum = in[2].x[o]
			}
			for i := range w.dims[1] {
				sum += x.x[r*w.dims[1]+i] * w.x[o*w.dims[1]+i]
			}
			y.x[r*w.dims[0]+o] = sum
		}
	}
	return y
}

func normalize(x array) array {
	y, n := newArray(x.dims...), x.dims[1]
	for r := range x.dims[0] {
		var sum float64
		for _, v := range x.x[r*n : (r+1)*n] {
			sum += v * v
		}
		for i := range n {
			y.x[r*n+i] = x.x[r*n+i] / math.Sqrt(sum)
		}
	}
	return y
}
