package app

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/metrixml/metrix/recipe"
	"github.com/metrixml/metrix/worker"
)

// setting is a key of a recipe with its value at a point of the grid.
type setting struct{ Key, Value string }

func (s setting) String() string { return s.Key + "=" + s.Value }

// sweepRow is a row of the table: a recipe at one point of the grid, with a run for every seed.
type sweepRow struct {
	name  string // of the recipe, then the settings
	file  string // of the recipe
	point []setting
	runs  []*sweepRun
	data  string
	steps int64 // of a run
}

// The states of a run of a sweep.
const (
	runWaiting  = "waiting" // not begun, or stopped on its way
	runFinished = "finished"
	runFailed   = "failed"
)

// sweepRun is one run of a sweep.
type sweepRun struct {
	seed    uint64
	recipe  *recipe.Recipe
	out     string
	state   string
	failure string // a sentence, of a failed run
	result  *worker.Result
}

// rows lists what the command line asks for, with every recipe checked. No two runs share a folder.
func (o *sweepOptions) rows(paths []string) ([]*sweepRow, error) {
	if o.seeds < 1 {
		return nil, fmt.Errorf("--seeds is %d; at least 1 run of each row is needed", o.seeds)
	}
	points, err := gridPoints(o.grid)
	if err != nil {
		return nil, err
	}
	var rows []*sweepRow
	owner := map[string]string{} // of a folder
	for _, path := range paths {
		for _, point := range points {
			row, err := o.row(path, point)
			if err != nil {
				return nil, err
			}
			rows = append(rows, row)
			for _, r := range row.runs {
				if other := owner[r.out]; other != "" {
					return nil, fmt.Errorf("%s and %s would share the folder %s; give the recipes different names and each value of the grid once", other, path, r.out)
				}
				owner[r.out] = path
			}
		}
	}
	return rows, nil
}

// row loads a recipe at a point of the grid once for every seed.
func (o *sweepOptions) row(path string, point []setting) (*sweepRow, error) {
	row := &sweepRow{file: path, point: point}
	var set []string
	for _, s := range point {
		set = append(set, s.String())
	}
	for i := range o.seeds {
		seed := uint64(i + 1)
		// Rows are what a sweep compares, so the twin that a recipe with compare asks for is left out.
		r, err := o.load(path, append(set, "compare=none", "seed="+strconv.FormatUint(seed, 10))...)
		if err != nil {
			return nil, err
		}
		row.name = strings.Join(append([]string{r.Name}, set...), " ")
		out := filepath.Join(o.out, folderName(r.Name, set, seed))
		row.runs = append(row.runs, &sweepRun{seed: seed, recipe: r, out: out, state: runWaiting})
	}
	return row, nil
}

// folderName is NAME[-SETTINGS]-sSEED, in characters that need no quoting anywhere.
func folderName(name string, settings []string, seed uint64) string {
	parts := append([]string{name}, settings...)
	parts = append(parts, "s"+strconv.FormatUint(seed, 10))
	return strings.Map(func(r rune) rune {
		letter := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9'
		if letter || strings.ContainsRune("-_=+.,", r) {
			return r
		}
		return '_'
	}, strings.Join(parts, "-"))
}

// look finds out whether the run is finished. A folder with a run of another recipe is an error.
func (r *sweepRun) look() error {
	path := filepath.Join(r.out, "recipe.yaml")
	src, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("output folder: %w", err)
	}
	// A file that a crash cut off says nothing; the checkpoints carry the hash as well.
	if old, err := recipe.Parse(path, src, nil); err == nil && old.Hash() != r.recipe.Hash() {
		return fmt.Errorf("%s holds a run of another recipe than this sweep's; choose another folder by --out, or delete that one", r.out)
	}
	if result, err := worker.ReadResult(r.out); err == nil && result.Finished {
		r.state, r.result = runFinished, result
	}
	return nil
}

// gridPoints returns all combinations of the values of "key=a,b,c" arguments, the last key varying
// fastest; one empty point where there are none.
func gridPoints(grid []string) ([][]setting, error) {
	points := [][]setting{nil}
	seen := map[string]bool{}
	for _, arg := range grid {
		key, text, ok := strings.Cut(arg, "=")
		values := splitValues(text)
		switch key = strings.TrimSpace(key); {
		case !ok || key == "" || len(values) == 0:
			return nil, fmt.Errorf("--grid %s: a key and its values are written key=a,b,c, such as mix.weight=0.2,0.4", arg)
		case key == "seed":
			return nil, errors.New("--grid seed: the seeds of a sweep are 1 to N, by --seeds N")
		case seen[key]:
			return nil, fmt.Errorf("--grid %s: the key %s is given twice; write all its values in one --grid", arg, key)
		}
		seen[key] = true
		var next [][]setting
		for _, p := range points {
			for _, v := range values {
				next = append(next, append(p[:len(p):len(p)], setting{key, v}))
			}
		}
		points = next
	}
	return points, nil
}

// splitValues cuts at commas outside brackets; nil if a value is empty.
func splitValues(text string) []string {
	var values []string
	depth, begin := 0, 0
	for i, c := range text + "," {
		switch {
		case strings.ContainsRune("[{", c):
			depth++
		case strings.ContainsRune("]}", c):
			depth--
		case c == ',' && (depth <= 0 || i == len(text)):
			v := strings.TrimSpace(text[begin:i])
			if v == "" {
				return nil
			}
			values = append(values, v)
			begin = i + 1
		}
	}
	return values
}
