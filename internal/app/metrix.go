package app

import (
	"encoding/json"
	"io"

	"github.com/spf13/cobra"
)

// NewMetrix is the command for people.
func NewMetrix() *cobra.Command {
	root := &cobra.Command{
		Use:   "metrix",
		Short: "Distributed deep metric learning: train, evaluate and look at retrieval models",
		Long: `metrix trains embedding networks with the Metrix mixup losses ("It Takes Two to Tango: Mixup for
Deep Metric Learning", ICLR 2022) on one machine or many. A run is a function of recipe and seed
alone: the same for any number of workers, after a crash, a join, a leave or a resume.

Start with:  metrix train recipes/demo.yaml`,
		CompletionOptions: cobra.CompletionOptions{HiddenDefaultCmd: true},
	}
	worker := NewWorker()
	worker.Hidden = true // metrix train starts its workers through it; people use cmd/worker
	root.AddCommand(newTrain(), newSweep(), newEval(), newExport(), newData(), newStatus(), newDoctor(), worker)
	return root
}

// printJSON writes v as one indented JSON object.
func printJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}
