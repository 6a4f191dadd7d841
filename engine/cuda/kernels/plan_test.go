package kernels_test

import (
	"os"
	"regexp"
	"slices"
	"strconv"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"

	"github.com/metrixml/metrix/engine/cuda/kernels"
	"github.com/metrixml/metrix/internal/draw"
	"github.com/metrixml/metrix/metrix"
)

// The structs of types.go are as large as those that the compiled kernels take by value.
func TestStructsAreAsLargeAsTheKernelsTakeThem(t *testing.T) {
	ptx, err := os.ReadFile("kernels.ptx")
	require.NoError(t, err)
	size := map[string]int{
		"Normalisation": int(unsafe.Sizeof(kernels.Normalisation{})), "Window": int(unsafe.Sizeof(kernels.Window{})),
		"LossForm": int(unsafe.Sizeof(kernels.LossForm{})), "LossMix": int(unsafe.Sizeof(kernels.LossMix{})),
		"LossReduction": int(unsafe.Sizeof(kernels.LossReduction{})),
	}
	found := map[string]bool{}
	for name, params := range kernels.Signatures() {
		for i, p := range params {
			if size[p.Type] == 0 {
				continue
			}
			m := regexp.MustCompile(`\.b8 ` + name + `_param_` + strconv.Itoa(i) + `\[(\d+)\]`).FindSubmatch(ptx)
			require.NotNil(t, m, "parameter %s of %s", p.Name, name)
			require.Equal(t, strconv.Itoa(size[p.Type]), string(m[1]), "%s, parameter of %s", p.Type, name)
			found[p.Type] = true
		}
	}
	require.Len(t, found, len(size))
}

// Many similarities are equal here: the lower place in the batch decides.
func TestHardestNegativesBreakTiesByTheBatch(t *testing.T) {
	c := open(t)
	const columns, k = 300, 7
	h := coarse(1, 3*columns)
	order := make([]int32, columns)
	for i, at := range draw.Of(2, draw.Test).Perm(columns) {
		order[i] = int32(at)
	}
	anchors := []kernels.LossAnchor{{Row: 0, Self: 4, Lo: 3, Hi: 9}, {Row: 1, Self: -1, Lo: 0, Hi: 0}, {Row: 2, Self: -1, Lo: 0, Hi: columns - 5}}
	keep := room[byte](c, len(anchors)*columns)
	c.launch("loss_hardest", kernels.Blocks(len(anchors)), keep, upload(c, h), upload(c, anchors), upload(c, order), int32(columns), int32(k))
	got := download[byte](c, keep)
	for a, anchor := range anchors {
		var negatives []int
		for j := range columns {
			if j < int(anchor.Lo) || j >= int(anchor.Hi) {
				negatives = append(negatives, j)
			}
		}
		slices.SortFunc(negatives, func(i, j int) int {
			if x, y := h[a*columns+i], h[a*columns+j]; x != y {
				if x > y {
					return -1
				}
				return 1
			}
			return int(order[i] - order[j])
		})
		want := make([]byte, columns)
		for _, j := range negatives[:min(k, len(negatives))] {
			want[j] = 1
		}
		require.Equal(t, want, got[a*columns:(a+1)*columns], "anchor %d", a)
	}
}

// A batch of several tiles, with whole classes of 4 as samplers make them; its bits do not depend on the
// order in which blocks and threads run.
func TestLossOfALargerBatch(t *testing.T) {
	const classes, per, dim = 150, 4, 24
	b := metrix.Batch{Dim: dim}
	centers := noise(1, classes*dim)
	b.Embeddings = noise(2, classes*per*dim)
	for i := range classes * per {
		b.Labels = append(b.Labels, int32(i/per))
		for k := range dim {
			b.Embeddings[i*dim+k] += 2 * centers[i/per*dim+k]
		}
	}
	metrix.Normalize(b.Embeddings, b.Embeddings, dim)
	b.Proxies = noise(3, classes*dim)
	mix := metrix.Mix{Weight: 0.4, Lambda: 0.37}
	for _, k := range []lossCase{lossCases[0], lossCases[10]} {
		t.Run(k.name, func(t *testing.T) {
			compareLoss(t, k, b, mix, 0, metrix.NumAnchors(k.form(t), b))
			v, grad := share(t, open(t), k, b, mix, 8, 60)
			t.Setenv("METRIX_EMULATOR_ORDER", "reverse")
			reversed, same := share(t, open(t), k, b, mix, 8, 60)
			require.Equal(t, v, reversed)
			require.Equal(t, grad, same)
		})
	}
}

// What cannot be laid out is refused, and forms that are no sums are told apart.
func TestPlanRefusesWhatIsNoRange(t *testing.T) {
	labels := []int32{1, 2, 1}
	for _, r := range [][2]int{{-1, 2}, {2, 1}, {0, 4}} {
		_, err := kernels.PlanLoss(labels, labels, true, r[0], r[1], false)
		require.ErrorContains(t, err, "cannot be laid out")
	}
	_, err := kernels.PlanLoss(labels, labels[:2], true, 0, 3, false)
	require.Error(t, err)
	_, ok := kernels.LossFormOf("triplet", nil)
	require.False(t, ok)
}

func TestColumnsCoverEveryPixelOnce(t *testing.T) {
	for _, k := range []struct{ area, c, width int }{{1, 1, 4}, {49, 2048, 8}, {7, 3, 8}, {6_000_000, 64, 8}, {100, 264, 4}} {
		g := kernels.Columns(k.area, k.c, k.width, 3)
		vector := 1
		if k.c%k.width == 0 {
			vector = k.width
		}
		require.Equal(t, 256, g.Block[0]*g.Block[1], "%v", k)
		require.GreaterOrEqual(t, g.Grid[0]*g.Block[0]*vector, k.c, "%v", k)
		require.Less(t, (g.Grid[0]-1)*g.Block[0]*vector, k.c, "%v", k)
		require.LessOrEqual(t, g.Slices(), 1024, "%v", k)
		require.Equal(t, 3, g.Grid[2])
	}
}
