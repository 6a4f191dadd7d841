package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/metrixml/metrix/checkpoint"
	"github.com/metrixml/metrix/internal/cli"
	"github.com/metrixml/metrix/retrieval"
)

// The names of the tensors in a file of embeddings.
const (
	embeddingsTensor = "embeddings" // N x d
	labelsTensor     = "labels"     // N whole numbers
)

// firstInexact is 2^24, the smallest whole number that another one (2^24 + 1) turns into as float32,
// which is what tensors are read to: labels must be below.
const firstInexact = 1 << 24

// unitTolerance is how far from 1 the length of a row may be, to pass as normalised in float32.
const unitTolerance = 1e-5

// clusterSeed draws the first centroids of NMI where no recipe gives a seed.
const clusterSeed = 1

// embeddingsReport is what metrix eval --embeddings prints.
type embeddingsReport struct {
	Embeddings string            `json:"embeddings"`
	Gallery    string            `json:"gallery,omitempty"`
	Rows       int               `json:"rows"`
	Classes    int               `json:"classes"`
	Dim        int               `json:"dim"`
	Normalised []string          `json:"normalised,omitempty"` // files whose rows were not unit
	Metrics    retrieval.Metrics `json:"metrics"`
	NMI        *float64          `json:"nmi,omitempty"`
	Cost       evalCost          `json:"cost"`
}

// evalCost is what an evaluation took.
type evalCost struct {
	ReadSeconds   float64 `json:"read_seconds"`
	SearchSeconds float64 `json:"search_seconds"`
	NMISeconds    float64 `json:"nmi_seconds,omitempty"`
	PeakMiB       float64 `json:"peak_mib,omitempty"` // of the whole process; 0 where the system does not tell
}

// measureEmbeddings evaluates embeddings that were stored, by whatever made them.
func (o *evalOptions) measureEmbeddings(ctx context.Context, cmd *cobra.Command) error {
	report := embeddingsReport{Embeddings: o.embeddings, Gallery: o.gallery}
	start := time.Now()
	queries, gallery, err := o.readSets(&report)
	if err != nil {
		return cli.Usage(err)
	}
	report.Rows, report.Classes, report.Dim = queries.Len(), countClasses(queries.Labels), queries.Dim
	report.Cost.ReadSeconds = time.Since(start).Seconds()

	start = time.Now()
	report.Metrics, err = retrieval.Measure(ctx, queries, gallery, retrieval.Options{Recall: o.recall, Threads: o.threads})
	if err != nil {
		return err
	}
	report.Cost.SearchSeconds = time.Since(start).Seconds()
	if o.nmi {
		start = time.Now()
		v, err := retrieval.NMI(ctx, queries, clusterSeed, retrieval.Options{Threads: o.threads})
		if err != nil {
			return err
		}
		report.NMI, report.Cost.NMISeconds = &v, time.Since(start).Seconds()
	}
	report.Cost.PeakMiB = peakMiB()
	if o.json {
		return printJSON(cmd.OutOrStdout(), report)
	}
	return printEmbeddings(cmd.OutOrStdout(), report)
}

// readSets reads the queries and what they are searched in: the gallery, or each other.
func (o *evalOptions) readSets(report *embeddingsReport) (queries, gallery retrieval.Rows, err error) {
	if sameFile(o.embeddings, o.gallery) {
		return queries, gallery, errors.New("--gallery is the file of --embeddings, so every query would find itself: leave out --gallery")
	}
	read := func(path string) (retrieval.Rows, error) {
		rows, scaled, err := readEmbeddings(path)
		if scaled {
			report.Normalised = append(report.Normalised, path)
		}
		return rows, err
	}
	if queries, err = read(o.embeddings); err != nil {
		return queries, gallery, err
	}
	if o.gallery == "" {
		queries.IDs = rowNumbers(queries.Len())
		return queries, queries, nil
	}
	gallery, err = read(o.gallery)
	if err == nil && queries.Dim != gallery.Dim {
		err = fmt.Errorf("%s holds rows of %d values and %s rows of %d: embed both with the same network",
			o.embeddings, queries.Dim, o.gallery, gallery.Dim)
	}
	return queries, gallery, err
}

func sameFile(a, b string) bool {
	x, err := os.Stat(a)
	if err != nil {
		return false
	}
	y, err := os.Stat(b)
	return err == nil && os.SameFile(x, y)
}

// checkEmbeddings refuses flags that say nothing about stored embeddings, and fills in the K's.
func (o *evalOptions) checkEmbeddings(cmd *cobra.Command) error {
	for _, name := range []string{"checkpoint", "data", "split", "layout", "engine", "geometry"} {
		if cmd.Flags().Changed(name) {
			return fmt.Errorf("--embeddings is measured as it is, so --%s has no meaning beside it: give one of them", name)
		}
	}
	if o.nmi && o.gallery != "" {
		return errors.New("--nmi clusters one set of rows: leave out --gallery, or --nmi")
	}
	if len(o.recall) == 0 {
		o.recall = []int{1, 10, 100, 1000}
	}
	if k := slices.Min(o.recall); k < 1 {
		return fmt.Errorf("--recall holds %d; each K must be at least 1", k)
	}
	return nil
}

// readEmbeddings reads the embeddings and labels of a safetensors file. Rows that are not of unit
// length are made so, and scaled is true.
func readEmbeddings(path string) (rows retrieval.Rows, scaled bool, err error) {
	tensors, err := checkpoint.ReadFile(path)
	if err != nil {
		return rows, false, err
	}
	fail := func(format string, args ...any) (retrieval.Rows, bool, error) {
		return retrieval.Rows{}, false, fmt.Errorf("%s: "+format, append([]any{path}, args...)...)
	}
	x, err := pickTensor(tensors, embeddingsTensor)
	if err != nil {
		return fail("%w", err)
	}
	labels, err := pickTensor(tensors, labelsTensor)
	if err != nil {
		return fail("%w", err)
	}
	switch {
	case len(x.Shape) != 2 || x.Shape[1] < 1:
		return fail("tensor %q has shape %v; it must be N x d, one row per image", embeddingsTensor, x.Shape)
	case x.Shape[0] < 1:
		return fail("tensor %q has no row", embeddingsTensor)
	case len(labels.Shape) != 1:
		return fail("tensor %q has shape %v; it must be N, one whole number per row of %q", labelsTensor, labels.Shape, embeddingsTensor)
	case labels.Shape[0] != x.Shape[0]:
		return fail("%d labels for %d rows of %q: give one per row", labels.Shape[0], x.Shape[0], embeddingsTensor)
	}
	rows = retrieval.Rows{X: x.Data, Dim: x.Shape[1]}
	if rows.Labels, err = wholeLabels(labels.Data); err != nil {
		return fail("%w", err)
	}
	if scaled, err = normaliseRows(rows); err != nil {
		return fail("%w", err)
	}
	return rows, scaled, nil
}

func pickTensor(tensors []checkpoint.Tensor, name string) (checkpoint.Tensor, error) {
	var there []string
	for _, t := range tensors {
		if t.Name == name {
			return t, nil
		}
		there = append(there, strconv.Quote(t.Name))
	}
	if len(there) == 0 {
		return checkpoint.Tensor{}, fmt.Errorf("there is no tensor %q, nor any other", name)
	}
	slices.Sort(there)
	more := ""
	if n := len(there) - 8; n > 0 {
		there, more = there[:8], fmt.Sprintf(" and %d more", n)
	}
	return checkpoint.Tensor{}, fmt.Errorf("there is no tensor %q among %s%s", name, strings.Join(there, ", "), more)
}

// wholeLabels returns the labels as the integers that they are, or refuses: no two classes become one.
func wholeLabels(x []float32) ([]int32, error) {
	out := make([]int32, len(x))
	for i, v := range x {
		switch {
		case v != float32(math.Trunc(float64(v))): // NaN too
			return nil, fmt.Errorf("label %d is %v; labels must be whole numbers", i, v)
		case v >= firstInexact || v <= -firstInexact:
			return nil, fmt.Errorf("label %d is about %.0f; from %d on different labels may read as one: number the classes from 0", i, v, firstInexact)
		}
		out[i] = int32(v)
	}
	return out, nil
}

// normaliseRows gives all rows unit length if one has not, and says so.
func normaliseRows(rows retrieval.Rows) (scaled bool, err error) {
	for i := range rows.Len() {
		length := rowLength(rows, i)
		switch {
		case math.IsNaN(length) || math.IsInf(length, 0):
			return false, fmt.Errorf("row %d of %q holds a value that is not finite: the network that made it has diverged", i, embeddingsTensor)
		case length == 0:
			return false, fmt.Errorf("row %d of %q is all zeros, so it has no direction: leave it out", i, embeddingsTensor)
		}
		scaled = scaled || math.Abs(length-1) > unitTolerance
	}
	if !scaled {
		return false, nil
	}
	for i := range rows.Len() {
		length := rowLength(rows, i)
		for k, v := range rows.X[i*rows.Dim : (i+1)*rows.Dim] {
			rows.X[i*rows.Dim+k] = float32(float64(v) / length)
		}
	}
	return true, nil
}

func rowLength(rows retrieval.Rows, i int) float64 {
	sum := 0.0
	for _, v := range rows.X[i*rows.Dim : (i+1)*rows.Dim] {
		sum += float64(float64(v) * float64(v))
	}
	return math.Sqrt(sum)
}

func rowNumbers(n int) []int64 {
	out := make([]int64, n)
	for i := range out {
		out[i] = int64(i)
	}
	return out
}

func countClasses(labels []int32) int {
	sorted := slices.Clone(labels)
	slices.Sort(sorted)
	return len(slices.Compact(sorted))
}

// peakMiB is the most memory this process ever held, read from Linux; elsewhere 0.
func peakMiB() float64 {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(status)) {
		if value, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kib, _ := strconv.ParseFloat(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(value), "kB")), 64)
			return kib / 1024
		}
	}
	return 0
}

func printEmbeddings(out io.Writer, e embeddingsReport) error {
	fmt.Fprintf(out, "%s\n%d rows of %d values, %d classes", e.Embeddings, e.Rows, e.Dim, e.Classes)
	if e.Gallery != "" {
		fmt.Fprintf(out, ", searched for in %s", e.Gallery)
	}
	fmt.Fprintln(out)
	for _, path := range e.Normalised {
		fmt.Fprintf(out, "the rows of %s were not of unit length and have been normalised\n", path)
	}
	if err := printTable(out, [][]string{metricHeader(e.Metrics), metricRow("", e.Metrics)}); err != nil {
		return err
	}
	if e.NMI != nil {
		fmt.Fprintf(out, "NMI %.2f%%\n", 100**e.NMI)
	}
	if e.Metrics.Skipped > 0 {
		fmt.Fprintf(out, "%d rows have no other of their class to find and were no queries\n", e.Metrics.Skipped)
	}
	fmt.Fprintf(out, "read in %.1f s, searched in %.1f s, at most %.0f MiB\n", e.Cost.ReadSeconds, e.Cost.SearchSeconds, e.Cost.PeakMiB)
	return nil
}
