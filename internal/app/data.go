package app

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/metrixml/metrix/dataset"
	"github.com/metrixml/metrix/internal/cli"
	"github.com/metrixml/metrix/recipe"
)

func newData() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "data",
		Short: "Make, check and describe data sets",
		Long: `A data set is a folder in the layout of Stanford Online Products (Ebay_train.txt and Ebay_test.txt,
each with a header and lines "image_id class_id super_class_id path"), or a folder with one folder
per class (train/ and test/ below it, or all classes together: the first half trains).`,
	}
	cmd.AddCommand(newDataSynth(), newDataVerify(), newDataInfo(), newDataPack())
	return cmd
}

func newDataSynth() *cobra.Command {
	cfg := dataset.SynthConfig{Classes: 120, Images: 8, Side: 64, Seed: 1}
	cmd := &cobra.Command{
		Use:   "synth DIR",
		Short: "Generate product-like images in the SOP layout",
		Args:  cobra.ExactArgs(1),
	}
	f := cmd.Flags()
	f.IntVar(&cfg.Classes, "classes", cfg.Classes, "training classes")
	f.IntVar(&cfg.TestClasses, "test-classes", 0, "test classes (default: as many as --classes)")
	f.IntVar(&cfg.Images, "images", cfg.Images, "most images of a class")
	f.IntVar(&cfg.Side, "side", cfg.Side, "width and height, pixels")
	f.Uint64Var(&cfg.Seed, "seed", cfg.Seed, "everything is drawn from it")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		ctx, _, release := cli.Interrupts(cmd.Context())
		defer release()
		if err := dataset.SynthContext(ctx, args[0], cfg, nil); err != nil {
			return err
		}
		fmt.Fprintf(cmd.OutOrStdout(), "%s is ready; look at it with: metrix data info %s\n", args[0], args[0])
		return nil
	}
	return cmd
}

func newDataVerify() *cobra.Command {
	var layout string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "verify DIR",
		Short: "Read every image and report what is missing, broken or twice there",
		Args:  cobra.ExactArgs(1),
	}
	cmd.Flags().StringVar(&layout, "layout", "auto", "auto, sop or folder")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		ctx, _, release := cli.Interrupts(cmd.Context())
		defer release()
		set, err := dataset.Open(args[0], layout)
		if err != nil {
			return cli.Usage(err)
		}
		report, err := dataset.Verify(ctx, set, dataset.VerifyOptions{})
		if err != nil {
			return err
		}
		if asJSON {
			err = printJSON(cmd.OutOrStdout(), report)
		} else {
			_, err = fmt.Fprint(cmd.OutOrStdout(), report)
		}
		if err == nil && !report.OK {
			err = fmt.Errorf("%s is not fit for training as it is; the report above says why", args[0])
		}
		return err
	}
	return cmd
}

func newDataInfo() *cobra.Command {
	var layout string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "info DIR",
		Short: "Describe a data set: splits, classes, images per class",
		Args:  cobra.ExactArgs(1),
	}
	cmd.Flags().StringVar(&layout, "layout", "auto", "auto, sop or folder")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		ctx, _, release := cli.Interrupts(cmd.Context())
		defer release()
		set, err := dataset.Open(args[0], layout)
		if err != nil {
			return cli.Usage(err)
		}
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
