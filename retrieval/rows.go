package retrieval

import (
	"errors"
	"fmt"
	"math"
	"runtime"

	"github.com/metrixml/metrix/run"
)

// Rows is a set of embeddings.
type Rows struct {
	// X holds the embeddings, row-major. Cosine needs unit rows: it takes the inner product as it is.
	X []float32
	// Dim is the length of a row, >= 1.
	Dim int
	// Labels holds the class of each row. Search does without.
	Labels []int32
	// IDs names the image of each row. A gallery row is left out for queries of the same ID. nil
	// means that the set shares no image with the other.
	IDs []int64
}

// Len returns the number of rows.
func (r Rows) Len() int {
	if r.Dim < 1 {
		return 0
	}
	return len(r.X) / r.Dim
}

// row returns embedding i.
func (r Rows) row(i int) []float32 { return r.X[i*r.Dim : (i+1)*r.Dim] }

// Distance is what "near" means.
type Distance uint8

const (
	// Cosine orders by inner product: the cosine of unit rows.
	Cosine Distance = iota
	// Euclidean orders by squared Euclidean distance, summed from the differences. For unit rows the
	// order is that of Cosine except where rounding decides; it is some 15 times slower.
	Euclidean
)

// Options say how to search. The zero value is ready: cosine, all cores.
type Options struct {
	// Recall lists the K's that Measure reports, each >= 1. Evaluate does not need it: it finds exact
	// ranks.
	Recall []int
	// Threads is the number of goroutines, 0 for one per core.
	Threads int
	// Distance is Cosine unless said otherwise.
	Distance Distance
	// Product, if set, replaces the inner products of Cosine: dst (m x n) = a (m x k) times the
	// transpose of b (n x k), all row-major. It is called by several goroutines at once. Results then
	// depend on blocks and ranges as far as its rounding does.
	Product func(dst, a, b []float32, m, n, k int)

	queryBlock, galleryBlock int    // rows; 0 means the defaults. For tests.
	kernel                   kernel // inner product; nil means the fastest. For tests.
}

// Range returns the queries [lo, hi) of one of world workers: contiguous, in the order of ranks,
// together all n, none empty before another has two. A rank outside the world gets none.
func Range(n int, rank run.Rank, world int) (lo, hi int) {
	if n < 0 || world < 1 || rank < 0 || int(rank) >= world {
		return 0, 0
	}
	whole, extra := n/world, n%world
	lo = int(rank)*whole + min(int(rank), extra)
	hi = lo + whole
	if int(rank) < extra {
		hi++
	}
	return lo, hi
}

// prepare checks the input of a search and fills in the options.
func prepare(queries, gallery Rows, lo, hi int, opt Options) (Options, error) {
	if err := queries.check("query"); err != nil {
		return opt, err
	}
	if err := gallery.check("gallery"); err != nil {
		return opt, err
	}
	if queries.Dim != gallery.Dim {
		return opt, fmt.Errorf("retrieval: query rows have %d elements and gallery rows %d: "+
			"embed both with the same network", queries.Dim, gallery.Dim)
	}
	if lo < 0 || hi < lo || hi > queries.Len() {
		return opt, fmt.Errorf("retrieval: queries [%d, %d) asked for, but there are %d", lo, hi, queries.Len())
	}
	if sameRows(queries.X, gallery.X) && (queries.IDs == nil || gallery.IDs == nil) {
		return opt, errors.New("retrieval: the queries are the gallery but have no IDs, so every query would " +
			"find itself: set IDs")
	}
	if err := queries.checkFinite("query", lo, hi); err != nil {
		return opt, err
	}
	if err := gallery.checkFinite("gallery", 0, gallery.Len()); err != nil {
		return opt, err
	}
	return opt.fill(hi - lo)
}

// fill replaces zeros by defaults. Blocks are such that the panels of the queries, the rows and the
// scores of a block fit a core's second-level cache for embeddings of 512.
func (o Options) fill(queries int) (Options, error) {
	if o.Distance > Euclidean {
		return o, fmt.Errorf("retrieval: distance %d is unknown: use Cosine or Euclidean", o.Distance)
	}
	if o.Threads < 1 {
		o.Threads = runtime.GOMAXPROCS(0)
	}
	if o.queryBlock == 0 {
		share := (queries + o.Threads - 1) / o.Threads
		o.queryBlock = min(128, max(lanes, (share+lanes-1)/lanes*lanes))
	}
	if o.galleryBlock == 0 {
		o.galleryBlock = 192
	}
	if o.kernel == nil {
		o.kernel = dotKernel()
	}
	if o.Distance == Euclidean {
		o.kernel, o.Product = negativeDistance, nil
	}
	return o, nil
}

func (r Rows) check(name string) error {
	switch {
	case r.Dim < 1:
		return fmt.Errorf("retrieval: %s rows of %d elements: the dimension must be at least 1", name, r.Dim)
	case len(r.X)%r.Dim != 0:
		return fmt.Errorf("retrieval: %d %s values are not whole rows of %d", len(r.X), name, r.Dim)
	case r.Len() > math.MaxInt32:
		return fmt.Errorf("retrieval: %d %s rows are above the limit of 2^31-1", r.Len(), name)
	case r.IDs != nil && len(r.IDs) != r.Len():
		return fmt.Errorf("retrieval: %d %s rows have %d IDs: give one per row, or none", r.Len(), name, len(r.IDs))
	}
	return nil
}

func (r Rows) checkLabels(name string) error {
	if len(r.Labels) != r.Len() {
		return fmt.Errorf("retrieval: %d %s rows have %d labels: give one per row", r.Len(), name, len(r.Labels))
	}
	return nil
}

// checkFinite names the first of the rows [lo, hi) that holds NaN or an infinity.
func (r Rows) checkFinite(name string, lo, hi int) error {
	for i := lo; i < hi; i++ {
		for k, v := range r.row(i) {
			if v-v != 0 {
				return fmt.Errorf("retrieval: %s row %d holds %v at element %d: "+
					"the network that made it has diverged", name, i, v, k)
			}
		}
	}
	return nil
}

func sameRows(a, b []float32) bool { return len(a) > 0 && len(a) == len(b) && &a[0] == &b[0] }
