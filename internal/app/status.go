package app

import (
	"context"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/spf13/cobra"

	"github.com/metrixml/metrix/coordinator/api"
	"github.com/metrixml/metrix/internal/cli"
)

func newStatus() *cobra.Command {
	var url, group string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "status [OUT]",
		Short: "Show the coordinators and the runs they know: members, generation, shards, step, loss, images/s",
		Long: `status asks the coordinators at --nats, or those of the metrix train that is going on in the output
folder OUT.`,
		Example: "  metrix status runs/demo\n  metrix status --nats nats://nats.metrix:4222",
		Args:    cobra.MaximumNArgs(1),
	}
	f := cmd.Flags()
	f.StringVar(&url, "nats", nats.DefaultURL, "URL of the NATS server")
	f.StringVar(&group, "group", cli.DefaultGroup, "name of the coordinators' group")
	f.BoolVar(&asJSON, "json", false, "print one JSON object")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := cli.FromEnvironment(cmd); err != nil {
			return err
		}
		if len(args) == 1 {
			a, err := readAddress(args[0])
			if err != nil {
				return cli.Usage(err)
			}
			url, group = a.NATS, a.Group
		}
		nc, err := cli.ConnectNATS(url, "metrix status")
		if err != nil {
			return err
		}
		defer nc.Close()
		ctx, cancel := context.WithTimeout(cmd.Context(), 5*time.Second)
		defer cancel()
		s, err := api.Dial(nc, group).Status(ctx)
		if err != nil {
			return fmt.Errorf("no coordinator of group %q answered at %s within 5 s (%w); are the coordinators running, a majority of them?", group, url, err)
		}
		if asJSON {
			return printJSON(cmd.OutOrStdout(), s)
		}
		return printStatus(cmd.OutOrStdout(), s)
	}
	return cmd
}

func printStatus(out io.Writer, s api.Status) error {
	fmt.Fprintf(out, "group %s: leader %s, term %d, %d node(s)\n", s.Group, s.Leader, s.Term, len(s.Nodes))
	if len(s.Runs) == 0 {
		fmt.Fprintln(out, "no runs")
	}
	for _, r := range s.Runs {
		fmt.Fprintf(out, "\nrun %s: %s since %s, generation %d (%s)\n", r.Run, r.Phase, r.Since.Format(time.DateTime), r.Generation, r.Reason)
		fmt.Fprintf(out, "  step %d", r.Step)
		if r.Phase == api.Running {
			fmt.Fprintf(out, ", loss %.4f, %.0f images/s", float64(r.Loss), r.ImagesPerSecond)
		}
		fmt.Fprintln(out)
		if r.Best != nil {
			fmt.Fprintf(out, "  best Recall@1 %.2f%% at step %d\n", 100*r.Best.RecallAt1, r.Best.Step)
		}
		if r.Checkpoint != nil {
			fmt.Fprintf(out, "  checkpoint of step %d: %s\n", r.Checkpoint.Step, r.Checkpoint.Path)
		}
		if err := printMembers(out, r); err != nil {
			return err
		}
	}
	return nil
}

func printMembers(out io.Writer, r api.RunStatus) error {
	if len(r.Members) == 0 {
		return nil
	}
	w := tabwriter.NewWriter(out, 2, 0, 2, ' ', 0)
	fmt.Fprintln(w, "  rank\tworker\thost\tshards\tstep\timages/s\tlast beat")
	for _, m := range r.Members {
		rank := "spare"
		if m.Rank != api.NoRank {
			rank = fmt.Sprint(m.Rank)
		}
		fmt.Fprintf(w, "  %s\t%s\t%s\t%d of %d\t%d\t%.0f\t%.1f s ago\n",
			rank, m.Worker, m.Host, m.Shards.Count, r.Shards, m.Progress.Step, m.Progress.ImagesPerSecond, m.Silence)
	}
	return w.Flush()
}
