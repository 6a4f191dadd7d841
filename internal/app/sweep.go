package app

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/metrixml/metrix/internal/cli"
	"github.com/metrixml/metrix/worker"
)

// sweepOptions are the flags of metrix sweep.
type sweepOptions struct {
	trainOptions // set, workers, data, nats, restarts and json; out is the folder of all runs
	seeds        int
	grid         []string
}

func newSweep() *cobra.Command {
	var o sweepOptions
	cmd := &cobra.Command{
		Use:   "sweep RECIPES...",
		Short: "Train several recipes with several seeds and tabulate mean and deviation",
		Long: `sweep trains every recipe, at every point of the grid, with the seeds 1 to N: one run after the
other, each as metrix train would, in a folder of its own below --out. It keeps a table of the final
figures, mean and standard deviation over seeds, beside them: table.md, table.json, table.svg and
table.png, written anew after every run.

The same command goes on where an earlier one ended, for whatever reason: finished runs are kept, an
unfinished one continues from its checkpoint, more seeds or grid points are added. Ctrl-C stops after
the step in flight. A run that fails is noted in the table and the others go on; the exit code then is
1 at the end.`,
		Example: `  metrix sweep recipes/icons.yaml --data DIR --seeds 3 --grid mix.level=none,embed
  metrix sweep recipes/sop/*.yaml --data SOP --seeds 5 --out runs/table
  metrix sweep recipes/icons.yaml --data DIR --grid mix.weight=0.2,0.4 --grid mix.alpha=1,2`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return o.sweep(cmd, args) },
	}
	f := cmd.Flags()
	f.IntVar(&o.seeds, "seeds", 3, "runs of each row, with the seeds 1 to `N`")
	f.StringArrayVar(&o.grid, "grid", nil, "values of a key of the recipes, `key=a,b,c`; several make all combinations")
	f.StringArrayVar(&o.set, "set", nil, "override a key of all recipes, `key=value`; may be repeated")
	f.IntVar(&o.workers, "workers", 0, "worker processes of a run (default: the recipe's workers)")
	f.StringVar(&o.out, "out", "runs/sweep", "folder of the runs and the table")
	f.StringVar(&o.data, "data", "", "folder of the data set (default: each recipe's data.path, or generated images)")
	f.StringVar(&o.nats, "nats", "", "use the NATS server at this URL instead of embedded ones")
	f.BoolVar(&o.json, "json", false, "print the table as one JSON object, and progress on standard error only")
	f.IntVar(&o.restarts, "max-restarts", 3, "how many workers of a run that died are replaced")
	return cmd
}

func (o *sweepOptions) sweep(cmd *cobra.Command, paths []string) error {
	rows, err := o.rows(paths)
	if err != nil {
		return cli.Usage(err)
	}
	say := newPrinter(cmd, o.json)
	say.again = "give the same command"
	for _, row := range rows {
		if err := o.prepareRow(cmd.Context(), row, say); err != nil {
			return fmt.Errorf("%s: %w", row.name, err)
		}
	}
	ctx, stop, release := cli.Interrupts(cmd.Context())
	defer release()
	err = o.runAll(ctx, stop, cmd, rows, say)
	table := tabulate(rows)
	if saveErr := table.save(o.out); saveErr != nil {
		return errors.Join(err, saveErr)
	}
	if err != nil {
		return err
	}
	if o.json {
		err = printJSON(cmd.OutOrStdout(), table)
	} else {
		err = say.sweepTable(table, o.out)
	}
	if n := table.failed(); err == nil && n > 0 {
		err = fmt.Errorf("%d of %d runs failed; %s says why, and the same command tries them again", n, len(rows)*o.seeds, tableFile(o.out, "md"))
	}
	return err
}

// prepareRow readies a row's data and finds out which of its runs are done.
func (o *sweepOptions) prepareRow(ctx context.Context, row *sweepRow, say *printer) error {
	j, err := o.prepare(ctx, row.runs[0].recipe, say)
	if err != nil {
		return err
	}
	row.data, row.steps = j.data, j.steps
	for _, r := range row.runs {
		if err := r.look(); err != nil {
			return cli.Usage(err)
		}
	}
	return nil
}

// runAll makes the runs that are left: the first seed of all rows, then the second, so that the
// table compares all rows early. Its error is an interruption or a table that cannot be written.
func (o *sweepOptions) runAll(ctx context.Context, stop <-chan struct{}, cmd *cobra.Command, rows []*sweepRow, say *printer) error {
	n := 0
	for seed := range o.seeds {
		for _, row := range rows {
			n++
			r := row.runs[seed]
			if r.state == runFinished {
				continue
			}
			if stopped(stop) {
				return cli.ErrInterrupted
			}
			say.line("\nRun %d of %d: %s, seed %d, in %s", n, len(rows)*o.seeds, row.name, r.seed, r.out)
			err := o.runOne(ctx, stop, cmd, row, r, say)
			if errors.Is(err, cli.ErrInterrupted) || ctx.Err() != nil {
				return cli.ErrInterrupted
			}
			if err != nil {
				r.state, r.failure = runFailed, cli.Sentence(err)
				say.line("  failed: %s", r.failure)
			}
			if err := tabulate(rows).save(o.out); err != nil {
				return err
			}
		}
	}
	return nil
}

// runOne makes or continues one run through the code of metrix train.
func (o *sweepOptions) runOne(ctx context.Context, stop <-chan struct{}, cmd *cobra.Command, row *sweepRow, r *sweepRun, say *printer) error {
	t := o.trainOptions
	t.out, t.resume, t.json = r.out, !vacant(r.out), false
	if err := t.do(ctx, stop, cmd, job{r.recipe, row.data, row.steps}, say); err != nil {
		return err
	}
	result, err := worker.ReadResult(r.out)
	if err != nil {
		return err
	}
	r.state, r.result = runFinished, result
	return nil
}

// stopped reports whether a stop was asked for.
func stopped(stop <-chan struct{}) bool {
	select {
	case <-stop:
		return true
	default:
		return false
	}
}
