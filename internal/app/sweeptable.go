package app

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/metrixml/metrix/retrieval"
)

// sweepTable is what a sweep found out so far: the object that sweep --json prints.
type sweepTable struct {
	Seeds int        `json:"seeds"`
	Rows  []tableRow `json:"rows"`
}

// tableRow is a recipe at a point of the grid. Figures are over its finished runs, absent if there
// are none; recalls and MAP@R are those of the last evaluation.
type tableRow struct {
	Name            string            `json:"name"`
	Recipe          string            `json:"recipe"`
	Settings        map[string]string `json:"settings,omitempty"`
	Steps           int64             `json:"steps"`
	Finished        int               `json:"finished"`
	Failed          int               `json:"failed"`
	Recall          []recallFigure    `json:"recall,omitempty"`
	MAPAtR          *figure           `json:"map_at_r,omitempty"`
	BestRecallAt1   *figure           `json:"best_recall_at_1,omitempty"`
	ImagesPerSecond *figure           `json:"images_per_second,omitempty"`
	Runs            []tableRun        `json:"runs"`
}

// figure is a mean over seeds. Deviation is the standard deviation with divisor n-1, absent for
// one seed.
type figure struct {
	Mean      float64  `json:"mean"`
	Deviation *float64 `json:"deviation,omitempty"`
}

type recallFigure struct {
	K int `json:"k"`
	figure
}

// tableRun is one run.
type tableRun struct {
	Seed            uint64             `json:"seed"`
	Folder          string             `json:"folder"`
	State           string             `json:"state"`
	Error           string             `json:"error,omitempty"`
	RecipeHash      string             `json:"recipe_hash"`
	ParameterHash   string             `json:"parameter_hash,omitempty"`
	Final           *retrieval.Metrics `json:"final,omitempty"`
	BestRecallAt1   *float64           `json:"best_recall_at_1,omitempty"`
	ImagesPerSecond float64            `json:"images_per_second,omitempty"`
}

func tabulate(rows []*sweepRow) *sweepTable {
	t := &sweepTable{}
	for _, row := range rows {
		t.Seeds = len(row.runs)
		t.Rows = append(t.Rows, tabulateRow(row))
	}
	return t
}

func tabulateRow(row *sweepRow) tableRow {
	out := tableRow{Name: row.name, Recipe: row.file, Steps: row.steps}
	for _, s := range row.point {
		if out.Settings == nil {
			out.Settings = map[string]string{}
		}
		out.Settings[s.Key] = s.Value
	}
	for _, r := range row.runs {
		run := tabulateRun(r)
		out.Runs = append(out.Runs, run)
		switch run.State {
		case runFinished:
			out.Finished++
		case runFailed:
			out.Failed++
		}
	}
	for _, k := range row.runs[0].recipe.Eval.Recall {
		if f := figureOf(out.Runs, func(m tableRun) (float64, bool) { return recallOf(m, k) }); f != nil {
			out.Recall = append(out.Recall, recallFigure{k, *f})
		}
	}
	out.MAPAtR = figureOf(out.Runs, func(m tableRun) (float64, bool) {
		if m.Final == nil {
			return 0, false
		}
		return m.Final.MAPAtR, true
	})
	out.BestRecallAt1 = figureOf(out.Runs, func(m tableRun) (float64, bool) {
		if m.BestRecallAt1 == nil {
			return 0, false
		}
		return *m.BestRecallAt1, true
	})
	out.ImagesPerSecond = figureOf(out.Runs, func(m tableRun) (float64, bool) {
		return m.ImagesPerSecond, m.ImagesPerSecond > 0
	})
	return out
}

func tabulateRun(r *sweepRun) tableRun {
	out := tableRun{Seed: r.seed, Folder: r.out, State: r.state, Error: r.failure, RecipeHash: r.recipe.Hash()}
	if r.state != runFinished {
		return out
	}
	out.ParameterHash, out.ImagesPerSecond = r.result.ParameterHash, r.result.ImagesPerSecond
	if r.result.Final != nil {
		out.Final = &r.result.Final.Metrics
	}
	if best := r.result.Best; best != nil {
		if v, ok := best.Metrics.RecallAt(1); ok {
			out.BestRecallAt1 = &v
		}
	}
	return out
}

func recallOf(m tableRun, k int) (float64, bool) {
	if m.Final == nil {
		return 0, false
	}
	return m.Final.RecallAt(k)
}

// figureOf takes mean and deviation of what the finished runs have; nil if none has it.
func figureOf(runs []tableRun, value func(tableRun) (float64, bool)) *figure {
	var xs []float64
	var sum float64
	for _, r := range runs {
		if x, ok := value(r); ok && r.State == runFinished {
			xs = append(xs, x)
			sum += x
		}
	}
	if len(xs) == 0 {
		return nil
	}
	f := &figure{Mean: sum / float64(len(xs))}
	if len(xs) > 1 {
		var squares float64
		for _, x := range xs {
			squares += (x - f.Mean) * (x - f.Mean)
		}
		d := math.Sqrt(squares / float64(len(xs)-1))
		f.Deviation = &d
	}
	return f
}

func (t *sweepTable) failed() (n int) {
	for _, r := range t.Rows {
		n += r.Failed
	}
	return n
}

// recall returns a row's Recall@k; nil if it has none.
func (r *tableRow) recall(k int) *figure {
	for i := range r.Recall {
		if r.Recall[i].K == k {
			return &r.Recall[i].figure
		}
	}
	return nil
}

// cells is the table as text, its header first.
func (t *sweepTable) cells() [][]string {
	var ks []int
	for _, r := range t.Rows {
		for _, f := range r.Recall {
			ks = append(ks, f.K)
		}
	}
	slices.Sort(ks)
	ks = slices.Compact(ks)
	header := []string{"", "runs"}
	for _, k := range ks {
		header = append(header, fmt.Sprintf("R@%d", k))
	}
	rows := [][]string{append(header, "MAP@R", "best R@1", "images/s")}
	for _, r := range t.Rows {
		row := []string{r.Name, fmt.Sprintf("%d of %d", r.Finished, len(r.Runs))}
		for _, k := range ks {
			row = append(row, r.recall(k).text(100, 1))
		}
		rows = append(rows, append(row, r.MAPAtR.text(100, 1), r.BestRecallAt1.text(100, 1), r.ImagesPerSecond.text(1, 0)))
	}
	return rows
}

// text writes mean ± deviation, both times scale; – where there is no figure.
func (f *figure) text(scale float64, digits int) string {
	switch {
	case f == nil:
		return "–"
	case f.Deviation == nil:
		return fmt.Sprintf("%.*f", digits, scale*f.Mean)
	}
	return fmt.Sprintf("%.*f ± %.*f", digits, scale*f.Mean, digits, scale**f.Deviation)
}

// notes are sentences about the runs that are not in the figures.
func (t *sweepTable) notes() []string {
	var notes []string
	for _, row := range t.Rows {
		for _, r := range row.Runs {
			switch r.State {
			case runFailed:
				notes = append(notes, fmt.Sprintf("%s, seed %d, failed: %s", row.Name, r.Seed, r.Error))
			case runWaiting:
				notes = append(notes, fmt.Sprintf("%s, seed %d, is still to be run", row.Name, r.Seed))
			}
		}
	}
	return notes
}

// caption explains the columns.
const caption = "Mean ± standard deviation over seeds, recalls and MAP@R in percent after the last step; best R@1 is that of each run's best evaluation."

func (t *sweepTable) markdown() []byte {
	escape := strings.NewReplacer("|", `\|`, "<", "&lt;")
	var b bytes.Buffer
	for i, row := range t.cells() {
		b.WriteString("|")
		for _, cell := range row {
			b.WriteString(" " + escape.Replace(cell) + " |")
		}
		b.WriteString("\n")
		if i == 0 {
			b.WriteString("|:---|" + strings.Repeat("---:|", len(row)-1) + "\n")
		}
	}
	b.WriteString("\n" + caption + "\n")
	if t.comparable() {
		b.WriteString("\n![Recall@1 of every row](table.svg)\n")
	}
	for i, note := range t.notes() {
		if i == 0 {
			b.WriteString("\n")
		}
		b.WriteString("- " + escape.Replace(note) + "\n")
	}
	return b.Bytes()
}

// comparable reports whether any row has a Recall@1 to be drawn.
func (t *sweepTable) comparable() bool {
	return slices.ContainsFunc(t.Rows, func(r tableRow) bool { return r.recall(1) != nil })
}

func tableFile(out, ext string) string { return filepath.Join(out, "table."+ext) }

// save writes the table in all its forms to a folder.
func (t *sweepTable) save(out string) error {
	object, err := json.MarshalIndent(t, "", "  ")
	if err != nil {
		return err
	}
	files := map[string][]byte{"md": t.markdown(), "json": append(object, '\n')}
	if t.comparable() {
		if files["svg"], files["png"], err = t.draw(); err != nil {
			return fmt.Errorf("plot of the sweep: %w", err)
		}
	}
	if err := os.MkdirAll(out, 0o755); err != nil {
		return fmt.Errorf("output folder: %w", err)
	}
	for ext, b := range files {
		path := tableFile(out, ext)
		err := os.WriteFile(path+".tmp", b, 0o644)
		if err == nil {
			err = os.Rename(path+".tmp", path)
		}
		if err != nil {
			return fmt.Errorf("table of the sweep: %w", err)
		}
	}
	return nil
}

// sweepTable prints a table for people.
func (p *printer) sweepTable(t *sweepTable, out string) error {
	p.line("")
	if err := printTable(p.out, t.cells()); err != nil {
		return err
	}
	p.line("\n%s", caption)
	for _, note := range t.notes() {
		p.line("%s", note)
	}
	p.line("table       %s, and the same as .json, .svg and .png", tableFile(out, "md"))
	return nil
}
