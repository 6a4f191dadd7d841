package app

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/metrixml/metrix/dataset"
	"github.com/metrixml/metrix/engine/cuda"
	"github.com/metrixml/metrix/engine/cuda/probe"
	"github.com/metrixml/metrix/engine/gorgonia"
	"github.com/metrixml/metrix/internal/cli"
	"github.com/metrixml/metrix/recipe"
)

// doctorReport is what metrix doctor prints.
type doctorReport struct {
	Program programInfo    `json:"program"`
	Machine machine        `json:"machine"`
	CUDA    *probe.Machine `json:"cuda"`
	Engines []engineState  `json:"engines"`
	// OpenBLAS says which library multiplies for the gorgonia engine.
	OpenBLAS string `json:"openblas"`
	// JPEGTurbo reports whether libjpeg-turbo is there, for data.decoder: turbo.
	JPEGTurbo bool   `json:"jpeg_turbo"`
	Precision string `json:"precision"`
	// Asked is the engine that --engine names, Used the one that it comes to; empty if there is none.
	Asked string `json:"asked"`
	Used  string `json:"used,omitempty"`
}

// programInfo is this binary.
type programInfo struct {
	Revision string `json:"revision,omitempty"`
	Go       string `json:"go"`
	Platform string `json:"platform"`
	// GPU reports whether it was built with the CUDA engine.
	GPU bool `json:"gpu"`
}

// engineState is one engine, what it would compute with or why it cannot.
type engineState struct {
	Name        string `json:"name"`
	Usable      bool   `json:"usable"`
	Description string `json:"description,omitempty"`
	Reason      string `json:"reason,omitempty"`
}

func newDoctor() *cobra.Command {
	e := recipe.Engine{Name: "auto", Precision: "f32"}
	var device int
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Show what this machine has for training, and which engine a recipe would get here",
		Long: `doctor looks at the processor, memory, GPUs and libraries of this machine, tries every engine, and says
which one a recipe with these settings would get, and why not a faster one.

Exit codes: 0 there is an engine; 1 the one asked for with --engine and --precision cannot be used here; 64
wrong usage.`,
		Example: "  metrix doctor\n  metrix doctor --engine cuda --precision bf16 --json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkEngineFlags(e); err != nil {
				return cli.Usage(err)
			}
			r, err := examine(e, device)
			print := printDoctor
			if asJSON {
				print = func(w io.Writer, r *doctorReport) error { return printJSON(w, r) }
			}
			return errors.Join(print(cmd.OutOrStdout(), r), err)
		},
	}
	f := cmd.Flags()
	f.StringVar(&e.Name, "engine", e.Name, "as in a recipe's engine.name: "+engineUsage)
	f.StringVar(&e.Precision, "precision", e.Precision, "as in a recipe's engine.precision: f32, tf32 or bf16")
	f.IntVar(&device, "device", rankDevice, deviceUsage)
	f.BoolVar(&asJSON, "json", false, "print one JSON object")
	return cmd
}

// checkEngineFlags refuses what no recipe could ask for.
func checkEngineFlags(e recipe.Engine) error {
	if e.Name != "auto" && !slices.Contains(engineNames[:], e.Name) {
		return fmt.Errorf("--engine is %q; it must be %s", e.Name, engineUsage)
	}
	if !slices.Contains([]string{"f32", "tf32", "bf16"}, e.Precision) {
		return fmt.Errorf("--precision is %q; it must be f32, tf32 or bf16", e.Precision)
	}
	return nil
}

// examine fills the report; the error says why the engine asked for cannot be used.
func examine(e recipe.Engine, device int) (*doctorReport, error) {
	silent := slog.New(slog.DiscardHandler)
	r := &doctorReport{
		Program: programInfo{Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH, Revision: revision()},
		Machine: readMachine(os.DirFS("/")), CUDA: probe.Look(), OpenBLAS: gorgonia.FindBLAS().String(),
		JPEGTurbo: dataset.HasTurbo(), Asked: e.Name, Precision: e.Precision,
	}
	r.Machine.Cores = runtime.NumCPU()
	for _, name := range engineNames {
		s := engineState{Name: name}
		eng, err := openNamed(name, e.Precision, device, silent)
		if err == nil {
			s.Description = engineDescription(eng)
			err = closeEngine(eng)
		}
		if s.Usable = err == nil; err != nil {
			s.Reason = cli.Sentence(err)
		}
		if name == "cuda" {
			r.Program.GPU = !errors.Is(err, cuda.ErrNotBuilt)
		}
		r.Engines = append(r.Engines, s)
	}
	eng, _, err := findEngine(e, device, silent)
	if err != nil {
		return r, err
	}
	r.Used = eng.Name()
	return r, closeEngine(eng)
}

// revision is the commit that the program was built from, if the build noted it.
func revision() string {
	info, _ := debug.ReadBuildInfo()
	if info == nil {
		return ""
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			return s.Value
		}
	}
	return ""
}

func printDoctor(out io.Writer, r *doctorReport) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	line := func(name, format string, args ...any) { fmt.Fprintf(w, "%s\t%s\n", name, fmt.Sprintf(format, args...)) }
	build := "without GPU support"
	if r.Program.GPU {
		build = "with GPU support"
	}
	line("program", "%s, %s, %s", build, r.Program.Go, r.Program.Platform)
	m := r.Machine
	line("processor", "%s, %s", orUnknown(m.Processor), orUnknown(strings.Join(m.Vectors, " ")))
	line("cores", "%s", coresText(m))
	line("memory", "%s", memoryText(m))
	cudaLines(line, r.CUDA)
	line("OpenBLAS", "%s", r.OpenBLAS)
	if r.JPEGTurbo {
		line("libjpeg-turbo", "found")
	} else {
		line("libjpeg-turbo", "not found; data.decoder: turbo needs it (apt-get install libturbojpeg0)")
	}
	fmt.Fprintln(w)
	for _, e := range r.Engines {
		text := e.Description
		if !e.Usable {
			text = "no: " + e.Reason
		}
		line("engine "+e.Name, "%s", text)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(out, "\n%s\n", verdict(r))
	return err
}

// cudaLines prints cards, driver and libraries.
func cudaLines(line func(name, format string, args ...any), m *probe.Machine) {
	for i, d := range m.Devices {
		line(fmt.Sprintf("GPU %d", i), "%s, %s, compute capability %s, %d multiprocessors", d.Name, gibibytes(d.MemoryBytes), d.Capability, d.Multiprocessors)
	}
	if m.Driver.Problem != "" {
		line("GPU", "%s", m.Driver.Problem)
	} else {
		line("NVIDIA driver", "%s, CUDA %s", orUnknown(m.Driver.Version), m.CUDA)
	}
	if len(m.Devices) == 0 {
		return // without a card nobody misses its libraries
	}
	for _, l := range []struct {
		name string
		probe.Library
	}{{"cuDNN", m.CuDNN}, {"cuBLAS", m.CuBLAS}} {
		if l.Problem != "" {
			line(l.name, "not found: %s", l.Problem)
			continue
		}
		line(l.name, "%s, %s", orUnknown(l.Version), l.Path)
	}
}

// verdict says what a recipe gets here.
func verdict(r *doctorReport) string {
	asked := fmt.Sprintf("engine.name: %s with engine.precision: %s", r.Asked, r.Precision)
	if r.Used == "" {
		return asked + " cannot be used here."
	}
	text := fmt.Sprintf("%s computes on %s.", asked, r.Used)
	for _, e := range r.Engines {
		if e.Name == r.Used {
			break
		}
		switch {
		case r.Asked != "auto" && e.Usable:
			text += fmt.Sprintf(" %s is faster and can be used here: take auto.", e.Name)
		case r.Program.GPU || e.Name != "cuda":
			text += fmt.Sprintf(" Not on %s, which is faster: see its line.", e.Name)
		case len(r.CUDA.Devices) > 0:
			text += " The card is left idle: this program has no GPU support; use bin/metrix-gpu, which 'make gpu' builds, or the GPU image."
		}
	}
	return text
}

func coresText(m machine) string {
	if m.Quota > 0 && m.Quota < float64(m.Cores) {
		return fmt.Sprintf("%d, of which the container may use %.3g", m.Cores, m.Quota)
	}
	return fmt.Sprint(m.Cores)
}

func memoryText(m machine) string {
	text := gibibytes(m.MemoryBytes)
	if m.LimitBytes > 0 {
		text += ", of which the container may use " + gibibytes(m.LimitBytes)
	}
	return text + ", free " + gibibytes(m.FreeBytes)
}

func gibibytes(n uint64) string { return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30)) }

func orUnknown(s string) string {
	if s == "" {
		return "unknown"
	}
	return s
}
