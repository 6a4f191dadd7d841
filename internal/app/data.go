package app

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/metrixml/metrix/dataset"
	"github.com/metrixml/metrix/internal/cli"
	"github.com/metrixml/metrix/recipe"
)

func newData() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "data",
		Short: "Make, check and describe data sets",
		Long: `A data set is a folder in a published layout or with one folder per class:

  sop      Stanford Online Products: Ebay_train.txt and Ebay_test.txt
  cub      CUB-200-2011: images.txt, image_class_labels.txt, images/; classes 1 to 100 train
  cars     Cars196: cars_annos.mat and car_ims/; classes 1 to 98 train
  inshop   In-Shop Clothes Retrieval: Eval/list_eval_partition.txt and Img/img/; queries and gallery
  folder   train/ and test/ with one folder per class, or all classes together: the first half trains
  pack     made of any of them by metrix data pack

Which it is is found out. docs/datasets.md says where to get the published sets.`,
	}
	cmd.AddCommand(newDataSynth(), newDataVerify(), newDataInfo(), newDataPack())
	return cmd
}

func newDataSynth() *cobra.Command {
	cfg := dataset.SynthConfig{Classes: 120, Images: 8, Side: 64, Seed: 1}
	cmd := &cobra.Command{
		Use:   "synth DIR",
		Short: "Generate product-like images in the layout of a published set",
		Example: "  metrix data synth images\n" +
			"  metrix data synth cars-fixture --layout cars --classes 8 --images 6 --side 64",
		Args: cobra.ExactArgs(1),
	}
	f := cmd.Flags()
	f.IntVar(&cfg.Classes, "classes", cfg.Classes, "training classes")
	f.IntVar(&cfg.TestClasses, "test-classes", 0, "test classes (default: as many as --classes)")
	f.IntVar(&cfg.Images, "images", cfg.Images, "most images of a class")
	f.IntVar(&cfg.Side, "side", cfg.Side, "width and height, pixels")
	f.Uint64Var(&cfg.Seed, "seed", cfg.Seed, "everything is drawn from it")
	f.StringVar(&cfg.Layout, "layout", dataset.LayoutSOP, "of the files: sop, cub, cars or inshop")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		ctx, _, release := cli.Interrupts(cmd.Context())
		defer release()
		if err := cfg.Validate(); err != nil {
			return cli.Usage(err)
		}
		if err := dataset.SynthContext(ctx, args[0], cfg, nil); err != nil {
			return err
		}
		fmt.Fprintf(cmd.OutOrStdout(), "%s is ready; look at it with: metrix data info %s\n", args[0], args[0])
		return nil
	}
	return cmd
}

func newDataVerify() *cobra.Command {
	var layout, as string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "verify DIR",
		Short: "Read every image and report what is missing, broken or twice there",
		Long: `Reads and decodes every image (of a pack: compares its checksums). With --as, the numbers of images and
classes are also compared with the published ones, each difference is one sentence, and one is enough
for the exit code to be 1.`,
		Example: "  metrix data verify CUB_200_2011 --as cub",
		Args:    cobra.ExactArgs(1),
	}
	cmd.Flags().StringVar(&layout, "layout", dataset.LayoutAuto, layoutUsage("of DIR"))
	cmd.Flags().StringVar(&as, "as", "", "compare with the published counts of sop, cub, cars or inshop")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return runDataVerify(cmd, args[0], layout, as, asJSON)
	}
	return cmd
}

func runDataVerify(cmd *cobra.Command, dir, layout, as string, asJSON bool) error {
	ctx, _, release := cli.Interrupts(cmd.Context())
	defer release()
	if as != "" {
		if _, err := dataset.PublishedCounts(as); err != nil {
			return cli.Usage(err)
		}
		if layout == dataset.LayoutAuto {
			layout = as
		}
	}
	set, err := dataset.Open(dir, layout)
	if err != nil {
		return cli.Usage(err)
	}
	defer set.Close()
	report, err := dataset.Verify(ctx, set, dataset.VerifyOptions{As: as})
	if err != nil {
		return err
	}
	if asJSON {
		err = printJSON(cmd.OutOrStdout(), report)
	} else {
		_, err = fmt.Fprint(cmd.OutOrStdout(), report)
	}
	switch {
	case err != nil:
		return err
	case !report.OK:
		return fmt.Errorf("%s is not fit for training as it is; the report above says why", dir)
	case len(report.Differences) > 0:
		return fmt.Errorf("%s is not %s as published; the report above names the differences (%d)",
			dir, report.Published, len(report.Differences))
	}
	return nil
}

// layoutUsage describes a flag that names a layout.
func layoutUsage(of string) string { return of + ": " + strings.Join(dataset.Layouts(), ", ") }

func newDataInfo() *cobra.Command {
	var layout string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "info DIR",
		Short: "Describe a data set: splits, classes, images per class",
		Args:  cobra.ExactArgs(1),
	}
	cmd.Flags().StringVar(&layout, "layout", dataset.LayoutAuto, layoutUsage("of DIR"))
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		ctx, _, release := cli.Interrupts(cmd.Context())
		defer release()
		set, err := dataset.Open(args[0], layout)
		if err != nil {
			return cli.Usage(err)
		}
		defer set.Close()
		info, err := dataset.Describe(ctx, set)
		if err != nil {
			return err
		}
		if asJSON {
			return printJSON(cmd.OutOrStdout(), info)
		}
		_, err = fmt.Fprint(cmd.OutOrStdout(), info)
		return err
	}
	return cmd
}

// synthesize returns the folder of the generated images that a recipe asks for, making them if they
// are not in the user's cache yet.
func synthesize(ctx context.Context, s recipe.Synth, say *printer) (string, error) {
	dir, cfg, err := synthFolder(s)
	if err != nil {
		return "", err
	}
	say.line("Images: %d classes for training and %d for testing, generated in %s", cfg.Classes, cfg.Classes, dir)
	return dir, dataset.SynthContext(ctx, dir, cfg, nil)
}

// synthFolder is where generated images lie once they are made.
func synthFolder(s recipe.Synth) (string, dataset.SynthConfig, error) {
	cfg := dataset.SynthConfig{Classes: s.Classes, Images: s.Images, Side: s.Side, Seed: s.Seed}
	key, err := json.Marshal(cfg)
	if err != nil {
		return "", cfg, err
	}
	sum := sha256.Sum256(key)
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = os.TempDir()
	}
	return filepath.Join(cache, "metrix", "synth-"+hex.EncodeToString(sum[:6])), cfg, nil
}
