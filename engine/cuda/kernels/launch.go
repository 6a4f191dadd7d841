package kernels

// Geometry is the grid of a launch and the block of its threads.
type Geometry struct{ Grid, Block [3]int }

// Slices is how many slices Columns cuts the pixels of an image into.
func (g Geometry) Slices() int { return g.Grid[1] }

const (
	threads    = 256
	mostBlocks = 4096
	mostSlices = 1024
	// perThread is how many pixels a thread of Columns goes over at least, where there are as many.
	perThread = 8
)

func ceil(n, by int) int { return (n + by - 1) / by }

// Each is for n elements: blocks that stride over them, about eight elements a thread.
func Each(n int64) Geometry {
	blocks := min(max((n+8*threads-1)/(8*threads), 1), mostBlocks)
	return Geometry{[3]int{int(blocks), 1, 1}, [3]int{threads, 1, 1}}
}

// Columns is for matrices of pixels x channels, images of them with area pixels each: threads side by
// side have neighbouring channels, 16 bytes of them (width elements of the type) where c is a multiple,
// and every block a slice of the pixels. The slices depend on area, c and width alone.
func Columns(area, c, width, images int) Geometry {
	vector := 1
	if c%width == 0 {
		vector = width
	}
	columns, x := ceil(c, vector), 1
	for x < min(columns, 32) {
		x *= 2
	}
	y := threads / x
	slices := min(max(ceil(area, y*perThread), 1), mostSlices)
	return Geometry{[3]int{ceil(columns, x), slices, images}, [3]int{x, y, 1}}
}

// Warps is for n rows, a warp each.
func Warps(n int) Geometry {
	return Geometry{[3]int{ceil(n, threads/32), 1, 1}, [3]int{32, threads / 32, 1}}
}

// Blocks is for n items, a block each.
func Blocks(n int) Geometry { return Geometry{[3]int{n, 1, 1}, [3]int{threads, 1, 1}} }

// Tiles is for changing the layout of n images of area pixels and c channels.
func Tiles(area, c, n int) Geometry {
	return Geometry{[3]int{ceil(area, 32), ceil(c, 32), n}, [3]int{32, 8, 1}}
}

// Channels is for the last step of a reduction to c channels.
func Channels(c int) Geometry { return Geometry{[3]int{ceil(c, 32), 1, 1}, [3]int{32, 8, 1}} }

// SquareBlocks is how many partial sums sum_squares makes, whatever the length.
const SquareBlocks = 512
