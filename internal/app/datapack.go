package app

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/metrixml/metrix/dataset"
	"github.com/metrixml/metrix/internal/cli"
)

func newDataPack() *cobra.Command {
	var layout string
	opt := dataset.PackOptions{Delivery: dataset.Delivery{Store: 256, Decoder: dataset.DecoderGo}}
	cmd := &cobra.Command{
		Use:   "pack DIR PACK",
		Short: "Decode and resize every image once, into files that training maps into memory",
		Long: `Decodes every image of the data set DIR, resizes it and writes the pixels to the folder PACK. Train
with --data PACK and a recipe whose data.store and data.decoder are --side and --decoder: the run is
the same, bit for bit, as with --data DIR, and loading an image costs a tenth.`,
		Args: cobra.ExactArgs(2),
	}
	f := cmd.Flags()
	f.IntVar(&opt.Store, "side", opt.Store, "pixels of the shorter side, never enlarged; 0 leaves images as large as they are (recipe: data.store)")
	f.StringVar(&opt.Decoder, "decoder", opt.Decoder, "of JPEG files: go, or turbo (libjpeg-turbo; the pixels of Pillow) (recipe: data.decoder)")
	f.StringVar(&layout, "layout", dataset.LayoutAuto, layoutUsage("of DIR"))
	f.IntVar(&opt.Threads, "threads", 0, "images decoded at a time (default: all cores)")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return runDataPack(cmd, args[0], args[1], layout, opt)
	}
	return cmd
}

func runDataPack(cmd *cobra.Command, from, to, layout string, opt dataset.PackOptions) error {
	if err := opt.Validate(); err != nil {
		return cli.Usage(err)
	}
	set, err := dataset.Open(from, layout)
	if err != nil {
		return cli.Usage(err)
	}
	if _, err := set.With(opt.Delivery); err != nil {
		return cli.Usage(err)
	}
	ctx, stop, release := cli.Interrupts(cmd.Context())
	defer release()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	say := newPrinter(cmd, true)
	bar := newBar(say, -1, "packing")
	last := time.Now()
	opt.Progress = func(done, total int) {
		select {
		case <-stop:
			cancel()
		default:
		}
		bar.ChangeMax(total)
		_ = bar.Set(done)
		if !say.terminal && time.Since(last) >= lineInterval {
			last = time.Now()
			say.line("  %d of %d images packed", done, total)
		}
	}
	if err := dataset.Pack(ctx, to, set, opt); err != nil {
		if ctx.Err() != nil {
			return cli.ErrInterrupted
		}
		return err
	}
	_ = bar.Finish()
	size, err := packBytes(to)
	if err != nil {
		return err
	}
	fmt.Fprintf(cmd.OutOrStdout(), "%s is ready, %.1f MB; train on it with --data %s and, in the recipe, data.store: %d and data.decoder: %s\n",
		to, float64(size)/1e6, to, opt.Store, opt.Decoder)
	return nil
}

// packBytes is the size of the files in a folder.
func packBytes(dir string) (int64, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return 0, err
	}
	var total int64
	for _, e := range entries {
		info, err := os.Stat(filepath.Join(dir, e.Name()))
		if err != nil {
			return 0, err
		}
		total += info.Size()
	}
	return total, nil
}
