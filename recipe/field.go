package recipe

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/metrixml/metrix/run"
)

// section is a mapping of a recipe. Its fields are declared once; decoding, checking and encoding
// all walk the same declaration.
type section interface{ fields() []field }

// field is one key of a section.
type field struct {
	key     string
	value   any         // *string, *int, *int64, *uint64, *float64, *[]float64, *[]int, *map[string]float64 or section
	valid   string      // what the value may be, as an error says it
	ok      func() bool // whether the value may stay; nil for any value of its type
	outside bool        // the value does not decide the run: not part of the hash
}

// outsideRun marks a field that does not decide the run.
func (f field) outsideRun() field {
	f.outside = true
	return f
}

func choice(key string, v *string, names ...string) field {
	return field{key: key, value: v, valid: "one of " + strings.Join(names, ", "), ok: func() bool {
		for _, n := range names {
			if *v == n {
				return true
			}
		}
		return false
	}}
}

func textField(key string, v *string) field {
	return field{key: key, value: v, valid: "text"}
}

func intField(key string, v *int, lo, hi int) field {
	return field{key: key, value: v, valid: fmt.Sprintf("a whole number from %d to %d", lo, hi),
		ok: func() bool { return lo <= *v && *v <= hi }}
}

func int64Field(key string, v *int64, lo, hi int64) field {
	return field{key: key, value: v, valid: fmt.Sprintf("a whole number from %d to %d", lo, hi),
		ok: func() bool { return lo <= *v && *v <= hi }}
}

func numberField(key string, v *float64, lo, hi float64) field {
	return field{key: key, value: v, valid: fmt.Sprintf("a number from %s to %s", number(lo), number(hi)),
		ok: func() bool { return within(*v, lo, hi) }}
}

// positiveField is a number in (0, hi].
func positiveField(key string, v *float64, hi float64) field {
	return field{key: key, value: v, valid: fmt.Sprintf("a number above 0, at most %s", number(hi)),
		ok: func() bool { return within(*v, math.SmallestNonzeroFloat64, hi) }}
}

func belowOneField(key string, v *float64) field {
	return field{key: key, value: v, valid: "a number at least 0 and below 1",
		ok: func() bool { return *v >= 0 && *v < 1 }}
}

// listField is n numbers in [lo, hi].
func listField(key string, v *[]float64, n int, lo, hi float64) field {
	return field{key: key, value: v, valid: fmt.Sprintf("%d numbers, each from %s to %s", n, number(lo), number(hi)),
		ok: func() bool {
			for _, x := range *v {
				if !within(x, lo, hi) {
					return false
				}
			}
			return len(*v) == n
		}}
}

// rangeField is a pair [smallest, largest] within [lo, hi].
func rangeField(key string, v *[]float64, lo, hi float64) field {
	return field{key: key, value: v,
		valid: fmt.Sprintf("[smallest, largest] with %s <= smallest <= largest <= %s", number(lo), number(hi)),
		ok: func() bool {
			x := *v
			return len(x) == 2 && within(x[0], lo, hi) && within(x[1], lo, hi) && x[0] <= x[1]
		}}
}

func within(x, lo, hi float64) bool { return lo <= x && x <= hi } // false for NaN

func validName(v *string) func() bool {
	return func() bool { return run.ValidID(run.ID(*v)) }
}

func validBetas(v *[]float64) func() bool {
	return func() bool {
		x := *v
		return len(x) == 2 && x[0] >= 0 && x[0] < 1 && x[1] >= 0 && x[1] < 1
	}
}

func validRecall(v *[]int) func() bool {
	return func() bool {
		last := 0
		for _, k := range *v {
			if k <= last || k > 1_000_000 {
				return false
			}
			last = k
		}
		return len(*v) >= 1 && len(*v) <= 16
	}
}

// number writes x so that it reads back as the same float64, and as a float in YAML.
func number(x float64) string { return strconv.FormatFloat(x, 'g', -1, 64) }
