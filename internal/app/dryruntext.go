package app

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// print writes the plan for people.
func (d *dryRun) print(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	line := func(format string, args ...any) { fmt.Fprintf(w, format+"\n", args...) }
	line("%s: %s; nothing is run", d.Recipe, strings.Join(d.Runs, ", then "))
	line("recipe\tseed %d, hash %s", d.Seed, d.Hash[:16])
	line("data\t%s", d.Data.text())
	n := d.Network
	line("network\t%s, %d px, %d-d: %d parameters, of them trunk %d, head %d, proxies %d; %d statistics",
		n.Name, n.Side, n.Dim, n.Trunk+n.Head+n.Proxies, n.Trunk, n.Head, n.Proxies, n.Statistics)
	b := d.Batch
	line("batch\t%d classes x %d images = %d rows, in %d shards of %d rows", b.Classes, b.Images, b.Rows, b.Shards, b.ShardRows)
	line("steps\t%d an epoch, %d in all", d.Steps.PerEpoch, d.Steps.Total)
	if d.Steps.HeadOnly > 0 {
		line("\tthe first %d move only the head and proxies", d.Steps.HeadOnly)
	}
	line("evaluations\t%d, the first before the first step", d.Evaluations)
	c := d.Checkpoints
	line("checkpoints\t%d, each %s (model %s, optimizer %s); %d are kept, and the best model: at most %s",
		c.Written, bytesText(c.Model+c.Optimizer), bytesText(c.Model), bytesText(c.Optimizer), c.Kept, bytesText(c.Disk))
	if err := w.Flush(); err != nil {
		return err
	}
	for _, t := range []func(*tabwriter.Writer){d.rateTable, d.workerTable, d.memoryTable, d.trafficTable} {
		w = tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
		fmt.Fprintln(w)
		t(w)
		if err := w.Flush(); err != nil {
			return err
		}
	}
	return nil
}

func (d dryData) text() string {
	text := fmt.Sprintf("%d images of %d classes to train on, %d of %d to test on", d.Train.Images, d.Train.Classes, d.Test.Images, d.Test.Classes)
	if d.Assumed != "" {
		return text + " (" + d.Assumed + ")"
	}
	return text + ", from " + d.Folder
}

func (d *dryRun) rateTable(w *tabwriter.Writer) {
	fmt.Fprintln(w, "learning rate\tstep\tepoch\t")
	for _, r := range d.LearningRate {
		fmt.Fprintf(w, "  %.4g\t%d\t%.4g\t%s\n", r.Rate, r.Step, r.Epoch, r.What)
	}
}

// shownWorkers is how many workers are listed one by one.
const shownWorkers = 16

func (d *dryRun) workerTable(w *tabwriter.Writer) {
	fmt.Fprintln(w, "worker\tshards\trows\tsends a step")
	for rank, o := range d.Workers {
		if rank == shownWorkers {
			fmt.Fprintf(w, "  and %d more\t\t\t\n", len(d.Workers)-rank)
			break
		}
		shards := fmt.Sprintf("%d", o.First)
		if o.Shards > 1 {
			shards = fmt.Sprintf("%d to %d", o.First, o.First+o.Shards-1)
		}
		fmt.Fprintf(w, "  rank %d\t%s\t%d\t%s\n", rank, shards, o.Rows, bytesText(o.BytesSent))
	}
}

func (d *dryRun) memoryTable(w *tabwriter.Writer) {
	fmt.Fprintln(w, "memory\tlargest worker\t")
	for _, m := range d.Memory {
		fmt.Fprintf(w, "  %s\t%s\t%s\n", m.What, bytesText(m.Bytes), m.How)
	}
	fmt.Fprintf(w, "  together\t%s\tand what the program and its engine need themselves\n", bytesText(d.MemoryBytes))
	if d.FileBytes > 0 {
		fmt.Fprintf(w, "  files\t%s\twhat is mixed of the whole batch; they have no names and end with the worker; at most\n", bytesText(d.FileBytes))
	}
}

func (d *dryRun) trafficTable(w *tabwriter.Writer) {
	if len(d.Workers) == 1 {
		fmt.Fprintln(w, "traffic\tnone: there is one worker")
		return
	}
	fmt.Fprintln(w, "traffic\tcollective\tmost a worker sends\t")
	for _, t := range d.Traffic {
		about := ""
		if t.Estimate {
			about = "about "
		}
		fmt.Fprintf(w, "  %s\t%s\t%s%s\t%s\n", t.What, t.Collective, about, bytesText(t.Bytes), t.When)
	}
	fmt.Fprintf(w, "  what is %sed counts with 8 bytes a number; between machines it is packed, gradients mostly into 5\n", reduceScatter)
}

// bytesText writes a size with three digits.
func bytesText(n int64) string {
	units := []string{"B", "KiB", "MiB", "GiB", "TiB"}
	x, unit := float64(n), 0
	for x >= 1000 && unit < len(units)-1 {
		x, unit = x/1024, unit+1
	}
	if unit == 0 {
		return fmt.Sprintf("%d B", n)
	}
	return fmt.Sprintf("%.3g %s", x, units[unit])
}
