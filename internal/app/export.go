package app

import (
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/metrixml/metrix/checkpoint"
	"github.com/metrixml/metrix/internal/cli"
	"github.com/metrixml/metrix/recipe"
	"github.com/metrixml/metrix/weights"
	"github.com/metrixml/metrix/worker"
)

// exportOptions are the flags of metrix export.
type exportOptions struct {
	checkpoint, format, output string
	force                      bool
}

func newExport() *cobra.Command {
	var o exportOptions
	cmd := &cobra.Command{
		Use:   "export",
		Short: "Write the network of a checkpoint as ONNX or safetensors",
		Long: `export writes the network of a checkpoint to one file that others can use.

onnx         the network itself with head and L2 normalisation: takes images (N x 3 x side x side,
             float32, RGB, normalised), gives embeddings (N x dim, unit length; compare them with a
             dot product). How to prepare images is in the file's metadata.
safetensors  parameters and running statistics by name; the names are torchvision's for ResNets.

The file is written whole or not at all.`,
		Example: "  metrix export --checkpoint runs/demo/best --format onnx --output demo.onnx",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return o.export(cmd) },
	}
	f := cmd.Flags()
	f.StringVar(&o.checkpoint, "checkpoint", "", "folder of a checkpoint, or of checkpoints: the newest is taken (required)")
	f.StringVar(&o.format, "format", "", "onnx or safetensors (default: what the ending of --output says)")
	f.StringVar(&o.output, "output", "", "file to write (required)")
	f.BoolVar(&o.force, "force", false, "replace the file if it is there")
	for _, name := range []string{"checkpoint", "output"} {
		_ = cmd.MarkFlagRequired(name) // the flag exists
	}
	return cmd
}

func (o *exportOptions) export(cmd *cobra.Command) error {
	format, err := o.pickFormat()
	if err != nil {
		return cli.Usage(err)
	}
	path, manifest, r, err := openCheckpoint(o.checkpoint)
	if err != nil {
		return cli.Usage(err)
	}
	network, err := worker.NetworkOf(r)
	if err != nil {
		return err
	}
	m := weights.Model{
		Network: network, Params: make([]float32, network.NumParams()), Buffers: make([]float32, network.NumBuffers()),
		Metadata: exportMetadata(manifest, r),
	}
	if err := worker.LoadNetwork(path, network, m.Params, m.Buffers); err != nil {
		return err
	}
	err = weights.Export(o.output, format, m, o.force)
	if errors.Is(err, weights.ErrExists) {
		return cli.Usage(fmt.Errorf("%w; --force replaces it", err))
	}
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s: %s of step %d as %s, %d parameters\n", o.output, network.Name, manifest.Step, format, network.NumParams())
	return err
}

func (o *exportOptions) pickFormat() (weights.Format, error) {
	name := o.format
	if name == "" {
		name = strings.TrimPrefix(filepath.Ext(o.output), ".")
	}
	switch f := weights.Format(name); f {
	case weights.ONNX, weights.Safetensors:
		return f, nil
	}
	if o.format == "" {
		return "", fmt.Errorf("the ending of %s does not say the format: add --format onnx or --format safetensors", o.output)
	}
	return "", fmt.Errorf("--format is %q; it must be onnx or safetensors", o.format)
}

// exportMetadata says where the network comes from and how to prepare images for it.
func exportMetadata(m checkpoint.Manifest, r *recipe.Recipe) map[string]string {
	return map[string]string{
		"run": m.Run, "step": strconv.FormatInt(m.Step, 10), "recipe": m.Recipe, "recipe_hash": m.RecipeHash,
		"mean": joinFloats(r.Data.Mean), "std": joinFloats(r.Data.Std),
		"resize": strconv.Itoa(r.Data.Resize), "size": strconv.Itoa(r.Data.Size), "channels": "RGB", "layout": "NCHW",
		"preprocessing": fmt.Sprintf("resize the image's shorter side to %d pixels (bilinear with antialiasing), crop the middle %d x %d, divide RGB by 255, subtract mean, divide by std",
			r.Data.Resize, r.Data.Size, r.Data.Size),
		"similarity": "dot product of unit embeddings",
	}
}

func joinFloats(x []float64) string {
	text := make([]string, len(x))
	for i, v := range x {
		text[i] = strconv.FormatFloat(v, 'g', -1, 64)
	}
	return strings.Join(text, ",")
}
