package weights

import (
	"fmt"
	"slices"
	"strings"

	"github.com/metrixml/metrix/checkpoint"
	"github.com/metrixml/metrix/model"
)

// Report says what Apply did beside filling the network.
type Report struct {
	// Loaded is the number of tensors that were put into the network.
	Loaded int
	// Ignored are the tensors that the network has no use for, such as another classifier.
	Ignored []string
	// Counters is the number of further tensors left out that only count batches
	// ("bn1.num_batches_tracked").
	Counters int
	// Kept are the tensors of the embedding layer that keep their random start, because the file has
	// none or one for another number of dimensions.
	Kept []string
}

// String says it in a line.
func (r Report) String() string {
	text := fmt.Sprintf("%d tensors", r.Loaded)
	if len(r.Kept) > 0 {
		text += "; " + strings.Join(r.Kept, ", ") + " not there or of another shape, at the random start"
	}
	if len(r.Ignored) > 0 {
		text += "; ignored " + abridged(r.Ignored)
	}
	if r.Counters > 0 {
		text += fmt.Sprintf("; counters of batches ignored: %d", r.Counters)
	}
	return text
}

// Apply puts tensors into the flat blocks of a network by name. Every parameter and statistic must be
// there with its shape, except that the embedding layer may be missing as a whole, or have another
// number of dimensions, and then keeps its start. Tensors that the network lacks
// are ignored if they belong to none of its layers (torchvision's classifier "fc", our "proxies")
// or only count batches; otherwise they mean that the file is of another architecture. On an error,
// which lists every name that does not fit, nothing has been changed.
//
// It panics if a block is shorter than the network needs.
func Apply(network *model.Network, params, buffers []float32, tensors []checkpoint.Tensor) (Report, error) {
	a := applier{byName: map[string]checkpoint.Tensor{}}
	for _, t := range tensors {
		a.byName[unwrap(t.Name)] = t
	}
	keeps := a.keepsEmbedding(network)
	for _, p := range network.Params {
		if keeps && root(p.Name) == embedding {
			a.report.Kept = append(a.report.Kept, p.Name)
			delete(a.byName, p.Name)
			continue
		}
		a.want(p, params)
	}
	for _, b := range network.Buffers {
		a.want(b, buffers)
	}
	a.leftOver(network)
	if err := a.problem(network); err != nil {
		return Report{}, err
	}
	for _, c := range a.copies {
		copy(c.dst, c.src)
	}
	a.report.Loaded = len(a.copies)
	return a.report, nil
}

// applier collects what fits and what does not.
type applier struct {
	byName                    map[string]checkpoint.Tensor
	copies                    []struct{ dst, src []float32 }
	missing, misshapen, extra []string
	report                    Report
}

// embedding is the name of the layer that gives a network its number of dimensions.
const embedding = "embedding"

// keepsEmbedding says whether the tensors have nothing of the embedding layer, or all of it with
// the same inputs for another number of dimensions.
func (a *applier) keepsEmbedding(network *model.Network) bool {
	there, dims := 0, map[int]bool{}
	for _, p := range network.Params {
		if root(p.Name) != embedding {
			continue
		}
		t, ok := a.byName[p.Name]
		if !ok {
			continue
		}
		if there++; len(t.Shape) != len(p.Shape) || !slices.Equal(t.Shape[1:], p.Shape[1:]) {
			return false
		}
		dims[t.Shape[0]] = true
	}
	return there == 0 || there == 2 && len(dims) == 1 && !dims[network.Dim]
}

func (a *applier) want(p model.Param, block []float32) {
	t, ok := a.byName[p.Name]
	delete(a.byName, p.Name)
	switch {
	case !ok:
		a.missing = append(a.missing, p.Name)
	case !slices.Equal(t.Shape, p.Shape) || len(t.Data) != p.Size:
		a.misshapen = append(a.misshapen, fmt.Sprintf("%s is %v instead of %v", p.Name, t.Shape, p.Shape))
	default:
		a.copies = append(a.copies, struct{ dst, src []float32 }{p.Slice(block), t.Data})
	}
}

// leftOver sorts the tensors that the network did not ask for.
func (a *applier) leftOver(network *model.Network) {
	layers := map[string]bool{}
	for _, p := range network.Params {
		layers[root(p.Name)] = true
	}
	for name := range a.byName {
		switch {
		case strings.HasSuffix(name, ".num_batches_tracked"):
			a.report.Counters++
		case layers[root(name)]:
			a.extra = append(a.extra, name)
		default:
			a.report.Ignored = append(a.report.Ignored, name)
		}
	}
	slices.Sort(a.extra)
	slices.Sort(a.report.Ignored)
}

// root is the first part of a name: "layer3" of "layer3.0.conv1.weight".
func root(name string) string {
	first, _, _ := strings.Cut(name, ".")
	return first
}

// problem is a sentence with every name that does not fit.
func (a *applier) problem(network *model.Network) error {
	var faults []string
	if len(a.missing) > 0 {
		faults = append(faults, "missing: "+strings.Join(a.missing, ", "))
	}
	if len(a.misshapen) > 0 {
		faults = append(faults, "of another shape: "+strings.Join(a.misshapen, ", "))
	}
	if len(a.extra) > 0 {
		faults = append(faults, "not in the network: "+strings.Join(a.extra, ", "))
	}
	if len(faults) == 0 {
		return nil
	}
	hint := "check model.arch, model.width and model.dim"
	if slices.ContainsFunc(a.extra, func(n string) bool { return strings.HasSuffix(n, ".running_mean") }) && network.NumBuffers() == 0 {
		hint = "the weights are of a network with batch norm: set model.norm to batch"
	}
	return fmt.Errorf("weights: they do not fit the network %s (%s): %s", network.Name, hint, strings.Join(faults, "; "))
}

// abridged lists the first few names.
func abridged(names []string) string {
	const most = 4
	if len(names) <= most {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
}
