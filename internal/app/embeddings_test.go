package app

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/metrixml/metrix/checkpoint"
	"github.com/metrixml/metrix/internal/cli"
)

// writeEmbeddings stores tensors as one file and returns its path.
func writeEmbeddings(t *testing.T, tensors ...checkpoint.Tensor) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "set.safetensors")
	f, err := os.Create(path)
	require.NoError(t, err)
	require.NoError(t, checkpoint.WriteTensors(f, tensors))
	require.NoError(t, f.Close())
	return path
}

func embeddingsOf(dim int, x ...float32) checkpoint.Tensor {
	return checkpoint.Tensor{Name: embeddingsTensor, Shape: []int{len(x) / dim, dim}, Data: x}
}

func labelsOf(labels ...float32) checkpoint.Tensor {
	return checkpoint.Tensor{Name: labelsTensor, Shape: []int{len(labels)}, Data: labels}
}

func evaluateEmbeddings(t *testing.T, args ...string) embeddingsReport {
	t.Helper()
	text, _, _, err := execute(NewMetrix(), append([]string{"eval", "--json", "--embeddings"}, args...)...)
	require.NoError(t, err)
	var e embeddingsReport
	require.NoError(t, json.Unmarshal([]byte(text), &e))
	return e
}

// By hand, on the circle: 0 and 10 degrees are of class 7, 4 and 90 of class -2, 180 is alone. From 0
// the order is 4, 10 (first match second); from 10: 4, 0; from 4: 0, 10, 90; from 90: 10, 4.
func TestEvalEmbeddingsByHand(t *testing.T) {
	var x, long []float32
	for i, degrees := range []float64{0, 10, 4, 90, 180} {
		sin, cos := math.Sincos(degrees * math.Pi / 180)
		x = append(x, float32(cos), float32(sin))
		long = append(long, float32(cos)*float32(i+2), float32(sin)*float32(i+2))
	}
	labels := labelsOf(7, 7, -2, -2, 5)
	unit := writeEmbeddings(t, embeddingsOf(2, x...), labels)
	e := evaluateEmbeddings(t, unit, "--recall", "3,1,2", "--nmi", "--threads", "2")
	require.Empty(t, e.Normalised)
	require.Equal(t, []int{5, 3, 2}, []int{e.Rows, e.Classes, e.Dim})
	require.Equal(t, []int{4, 1}, []int{e.Metrics.Queries, e.Metrics.Skipped})
	for i, want := range []float64{0, 0.75, 1} {
		require.Equal(t, i+1, e.Metrics.Recall[i].K)
		require.Equal(t, want, e.Metrics.Recall[i].Value)
	}
	require.NotNil(t, e.NMI)
	require.Positive(t, e.Cost.SearchSeconds)

	scaled := writeEmbeddings(t, embeddingsOf(2, long...), labels)
	s := evaluateEmbeddings(t, scaled, "--recall", "1,2,3")
	require.Equal(t, []string{scaled}, s.Normalised)
	require.Equal(t, e.Metrics, s.Metrics)
	text, _, _, err := execute(NewMetrix(), "eval", "--embeddings", scaled)
	require.NoError(t, err)
	require.Contains(t, text, "have been normalised")
	require.Contains(t, text, "R@1000")
	require.Contains(t, text, "1 rows have no other of their class")
}

// Queries and gallery are two sets, as in In-Shop: a query does not meet the other queries.
func TestEvalEmbeddingsInAGallery(t *testing.T) {
	queries := writeEmbeddings(t, embeddingsOf(2, 1, 0, 1, 0, 0, 1), labelsOf(1, 1, 3))
	gallery := writeEmbeddings(t, embeddingsOf(2, 0.8, 0.6, 1, 0, -1, 0), labelsOf(1, 2, 1))
	e := evaluateEmbeddings(t, queries, "--gallery", gallery, "--recall", "1,2")
	require.Equal(t, []int{2, 1}, []int{e.Metrics.Queries, e.Metrics.Skipped})
	require.Equal(t, 0.0, e.Metrics.Recall[0].Value)
	require.Equal(t, 1.0, e.Metrics.Recall[1].Value)
	require.Equal(t, gallery, e.Gallery)
}

// The labels 2^24 and 2^24 + 1 are one in float32; as integers in a file they are refused, not merged.
func TestEvalEmbeddingsReadsIntegersExactly(t *testing.T) {
	write := func(labels ...int64) string {
		header := fmt.Sprintf(`{"embeddings":{"dtype":"F32","shape":[2,1],"data_offsets":[0,8]},`+
			`"labels":{"dtype":"I64","shape":[%d],"data_offsets":[8,%d]}}`, len(labels), 8+8*len(labels))
		b := binary.LittleEndian.AppendUint64(nil, uint64(len(header)))
		b = append(b, header...)
		for range 2 {
			b = binary.LittleEndian.AppendUint32(b, math.Float32bits(1))
		}
		for _, l := range labels {
			b = binary.LittleEndian.AppendUint64(b, uint64(l))
		}
		path := filepath.Join(t.TempDir(), "set.safetensors")
		require.NoError(t, os.WriteFile(path, b, 0o644))
		return path
	}
	rows, scaled, err := readEmbeddings(write(16777215, -16777215))
	require.NoError(t, err)
	require.False(t, scaled)
	require.Equal(t, []int32{16777215, -16777215}, rows.Labels)
	_, _, err = readEmbeddings(write(5, 16777217))
	require.ErrorContains(t, err, "label 1 is about 16777216")
	require.ErrorContains(t, err, "number the classes from 0")
}

func TestEvalEmbeddingsRefusesWithASentence(t *testing.T) {
	x := embeddingsOf(1, 1, 1)
	nan := float32(math.NaN())
	good := writeEmbeddings(t, x, labelsOf(0, 0))
	wide := writeEmbeddings(t, embeddingsOf(2, 1, 0), labelsOf(0))
	text := filepath.Join(t.TempDir(), "notes.txt")
	require.NoError(t, os.WriteFile(text, []byte("embeddings follow by mail"), 0o644))
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{}, "give --checkpoint and --data, or --embeddings"},
		{[]string{"--checkpoint", "x"}, "give --checkpoint and --data, or --embeddings"},
		{[]string{"--gallery", good}, "give that too"},
		{[]string{"--embeddings", good, "--data", "x"}, "--data has no meaning"},
		{[]string{"--embeddings", good, "--geometry"}, "--geometry has no meaning"},
		{[]string{"--embeddings", good, "--gallery", wide, "--nmi"}, "clusters one set"},
		{[]string{"--embeddings", good, "--gallery", good}, "would find itself"},
		{[]string{"--embeddings", good, "--gallery", wide}, "rows of 1 values and"},
		{[]string{"--embeddings", good, "--recall", "0"}, "each K must be at least 1"},
		{[]string{"--embeddings", "nowhere"}, "nowhere is missing"},
		{[]string{"--embeddings", text}, "not a usable safetensors file"},
		{[]string{"--embeddings", writeEmbeddings(t)}, `no tensor "embeddings", nor any other`},
		{[]string{"--embeddings", writeEmbeddings(t, x)}, `no tensor "labels" among "embeddings"`},
		{[]string{"--embeddings", writeEmbeddings(t, x, labelsOf(1, 2, 3))}, "3 labels for 2 rows"},
		{[]string{"--embeddings", writeEmbeddings(t, x, labelsOf(1, 1.5))}, "label 1 is 1.5; labels must be whole numbers"},
		{[]string{"--embeddings", writeEmbeddings(t, x, labelsOf(nan, 1))}, "label 0 is NaN"},
		{[]string{"--embeddings", writeEmbeddings(t, embeddingsOf(1, 1, 0), labelsOf(1, 1))}, "row 1 of \"embeddings\" is all zeros"},
		{[]string{"--embeddings", writeEmbeddings(t, embeddingsOf(1, nan, 1), labelsOf(1, 1))}, "row 0 of \"embeddings\" holds a value that is not finite"},
		{[]string{"--embeddings", writeEmbeddings(t, embeddingsOf(1), labelsOf())}, "has no row"},
		{[]string{"--embeddings", writeEmbeddings(t, checkpoint.Tensor{Name: embeddingsTensor, Shape: []int{2}, Data: x.Data}, labelsOf(1, 1))}, "it must be N x d"},
	} {
		_, _, code, err := execute(NewMetrix(), append([]string{"eval"}, c.args...)...)
		require.ErrorContains(t, err, c.want)
		require.Equal(t, cli.ExitUsage, code, "%v", err)
		require.Less(t, len(cli.Sentence(err)), 400)
	}
}
