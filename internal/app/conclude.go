package app

import (
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/metrixml/metrix/retrieval"
	"github.com/metrixml/metrix/worker"
)

// trainReport is the object that train --json prints.
type trainReport struct {
	*worker.Result
	Recipe string `json:"recipe_hash"`
	// WithoutMixing is the result of the twin run that a recipe with compare asks for.
	WithoutMixing *worker.Result `json:"without_mixing,omitempty"`
	Report        string         `json:"report"`
}

// conclude prints the table of a run and writes its report.
func (o *trainOptions) conclude(cmd *cobra.Command, trials []trial, data string, say *printer) error {
	own := trials[len(trials)-1]
	page := filepath.Join(o.out, "report.html")
	if err := writeReport(cmd.Context(), page, trials, data); err != nil {
		return fmt.Errorf("the run is finished, but its report could not be written: %w", err)
	}
	if o.json {
		out := trainReport{Result: own.result, Recipe: own.recipe.Hash(), Report: page}
		if len(trials) > 1 {
			out.WithoutMixing = trials[0].result
		}
		return printJSON(cmd.OutOrStdout(), out)
	}
	say.line("")
	if err := printTable(say.out, resultTable(trials)); err != nil {
		return err
	}
	say.line("\n%d steps, %.0f images/s, parameters %s", own.result.Steps, own.result.ImagesPerSecond, own.result.ParameterHash[:16])
	say.line("checkpoint  %s", own.result.Checkpoint)
	if own.result.BestCheckpoint != "" {
		say.line("best        %s", own.result.BestCheckpoint)
	}
	say.line("report      %s", page)
	return nil
}

// resultTable is the figures of the runs in percent, one row each, below the untrained network's.
func resultTable(trials []trial) [][]string {
	var rows [][]string
	add := func(title string, e *worker.Evaluation) {
		if e == nil {
			return
		}
		if rows == nil {
			rows = append(rows, metricHeader(e.Metrics))
		}
		rows = append(rows, metricRow(title, e.Metrics))
	}
	add("untrained", trials[0].result.Untrained)
	for _, t := range trials {
		add(t.title, t.result.Final)
	}
	return rows
}

func metricHeader(m retrieval.Metrics) []string {
	row := []string{""}
	for _, r := range m.Recall {
		row = append(row, fmt.Sprintf("R@%d", r.K))
	}
	return append(row, "MAP@R", "R-prec.")
}

func metricRow(title string, m retrieval.Metrics) []string {
	percent := func(x float64) string { return fmt.Sprintf("%.1f", 100*x) }
	row := []string{title}
	for _, r := range m.Recall {
		row = append(row, percent(r.Value))
	}
	return append(row, percent(m.MAPAtR), percent(m.RPrecision))
}

// printTable aligns columns, the first to the left.
func printTable(out io.Writer, rows [][]string) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	width := 0
	for _, r := range rows {
		width = max(width, len(r[0]))
	}
	for _, r := range rows {
		fmt.Fprintf(w, "  %-*s\t%s\t\n", width, r[0], strings.Join(r[1:], "\t"))
	}
	return w.Flush()
}
