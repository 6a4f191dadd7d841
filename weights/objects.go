package weights

import (
	"fmt"
	"strings"

	"github.com/nlpodyssey/gopickle/types"
)

// ownModule is the module that the gate gives ordered dicts.
const ownModule = "metrix"

// findClass maps the classes and functions that tensors are pickled with to their meaning here, and
// everything else to a placeholder.
func findClass(module, name string) (any, error) {
	switch module + "." + name {
	case ownModule + ".OrderedDict":
		return call(newDict), nil
	case "torch._utils._rebuild_tensor", "torch._utils._rebuild_tensor_v2":
		return call(rebuildTensor), nil
	case "torch._utils._rebuild_parameter", "torch._utils._rebuild_parameter_with_state",
		"torch.nn.parameter.Parameter", "torch.autograd.variable.Variable", "torch.Size":
		return call(first), nil
	}
	if module == "torch" || module == "torch.cuda" {
		if k, ok := kinds[name]; ok {
			return k, nil
		}
	}
	return &opaque{module + "." + name}, nil
}

// call is a function of Python that has a meaning here.
type call func(args []any) (any, error)

// Call implements types.Callable.
func (c call) Call(args ...any) (any, error) { return c(args) }

// PyNew implements types.PyNewable.
func (c call) PyNew(args ...any) (any, error) { return c(args) }

// first is a wrapper around its first argument: a parameter around its tensor.
func first(args []any) (any, error) {
	if len(args) == 0 {
		return nil, fmt.Errorf("a parameter or size of nothing")
	}
	return args[0], nil
}

// dict is an ordered dict; its attributes, such as the versions of a state dict, are left out.
type dict struct{ types.Dict }

// PySetState implements types.PyStateSettable.
func (*dict) PySetState(any) error { return nil }

// newDict makes a dict, of a list of pairs if there is one.
func newDict(args []any) (any, error) {
	d := &dict{}
	if len(args) == 0 {
		return d, nil
	}
	pairs, ok := items(args[0])
	if !ok {
		return nil, fmt.Errorf("an ordered dict is made of %T, not of a list of pairs", args[0])
	}
	for _, p := range pairs {
		pair, _ := items(p)
		if len(pair) != 2 {
			return nil, fmt.Errorf("an ordered dict is made of a list whose elements are not pairs")
		}
		d.Set(pair[0], pair[1])
	}
	return d, nil
}

// items are the elements of a list or tuple.
func items(v any) ([]any, bool) {
	switch v := v.(type) {
	case *types.List:
		return *v, true
	case *types.Tuple:
		return *v, true
	}
	return nil, false
}

// entries are the pairs of a dict.
func entries(v any) ([]types.DictEntry, bool) {
	switch v := v.(type) {
	case *dict:
		return v.Dict, true
	case *types.Dict:
		return *v, true
	case *types.OrderedDict: // of protocol 4, whose names the gate does not see
		var out []types.DictEntry
		for e := v.List.Front(); e != nil; e = e.Next() {
			entry := e.Value.(*types.OrderedDictEntry)
			out = append(out, types.DictEntry{Key: entry.Key, Value: entry.Value})
		}
		return out, true
	}
	return nil, false
}

// opaque stands for a class or function that is not known here, for its instances and its results.
type opaque struct{ name string }

// Call implements types.Callable.
func (o *opaque) Call(...any) (any, error) { return o, nil }

// PyNew implements types.PyNewable.
func (o *opaque) PyNew(...any) (any, error) { return o, nil }

// PySetState implements types.PyStateSettable.
func (o *opaque) PySetState(any) error { return nil }

// Append implements types.ListAppender.
func (o *opaque) Append(any) {}

// Set implements types.DictSetter.
func (o *opaque) Set(any, any) {}

// Add implements types.SetAdder.
func (o *opaque) Add(any) {}

// wrappers are prefixes that torch.nn.DataParallel and torch.compile put before every name.
var wrappers = []string{"module.", "_orig_mod."}

func unwrap(name string) string {
	for again := true; again; {
		again = false
		for _, w := range wrappers {
			if rest, ok := strings.CutPrefix(name, w); ok {
				name, again = rest, true
			}
		}
	}
	return name
}

// nested are the keys under which training scripts keep the state dict in a checkpoint.
var nested = []string{"state_dict", "model_state_dict", "model", "net", "network"}

// named is an entry of a state dict.
type named struct {
	name string
	*tensor
}

// stateDict finds the tensors in what a file holds.
func stateDict(root any) ([]named, error) {
	pairs, ok := entries(root)
	if !ok {
		if o, ok := root.(*opaque); ok {
			return nil, fmt.Errorf("the file holds a whole Python object (%.100s), not a state dict: save model.state_dict() instead", o.name)
		}
		return nil, fmt.Errorf("the file holds no state dict: save model.state_dict()")
	}
	if tensors := tensorsOf(pairs); len(tensors) > 0 {
		return tensors, nil
	}
	for _, key := range nested {
		for _, p := range pairs {
			if p.Key != key {
				continue
			}
			inner, _ := entries(p.Value)
			if tensors := tensorsOf(inner); len(tensors) > 0 {
				return tensors, nil
			}
		}
	}
	return nil, fmt.Errorf("the file's dict holds no tensors, nor does its entry %s", strings.Join(nested, ", "))
}

// tensorsOf are the tensors with a name; of two with the same name the later one.
func tensorsOf(pairs []types.DictEntry) []named {
	var out []named
	at := map[string]int{}
	for _, p := range pairs {
		name, isText := p.Key.(string)
		t, isTensor := p.Value.(*tensor)
		if !isText || !isTensor {
			continue
		}
		if i, twice := at[name]; twice {
			out[i].tensor = t
			continue
		}
		at[name] = len(out)
		out = append(out, named{name, t})
	}
	return out
}
