package onednn

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/metrixml/metrix/engine/enginetest"
	"github.com/metrixml/metrix/internal/draw"
	"github.com/metrixml/metrix/metrix"
	"github.com/metrixml/metrix/model"
	"github.com/stretchr/testify/require"
)

func noise(n int) []float32 {
	r := draw.Of(5, draw.Test)
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(r.Norm())
	}
	return x
}

// memoryMiB reads this process's memory: VmRSS is what it has now, VmHWM the most it ever had.
func memoryMiB(field string) float64 {
	text, _ := os.ReadFile("/proc/self/status")
	_, rest, _ := strings.Cut(string(text), field+":")
	kib, _ := strconv.ParseFloat(strings.Fields(rest + " 0")[0], 64)
	return kib / 1024
}

// cpuSeconds is the processor time of this process so far: where other processes take turns, a steadier
// measure than wall time.
func cpuSeconds() float64 {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()).Seconds()
}

// BenchmarkStep is a whole training step of 40 images. bench/cpu.sh compares it with PyTorch.
func BenchmarkStep(b *testing.B) {
	networks := map[string]model.Spec{
		"resnet50": {Arch: "resnet50", Side: 224, Dim: 512},
		"conv4":    {Arch: "conv4", Side: 64, Dim: 128},
	}
	for name, spec := range networks {
		for _, p := range []Precision{F32, BF16} {
			for _, threads := range []int{1, 2} {
				for _, calls := range []int{1, 10} {
					b.Run(fmt.Sprintf("%s/%v/threads=%d/calls=%d", name, p, threads, calls), func(b *testing.B) {
						benchmarkStep(b, p, spec, threads, calls)
					})
				}
			}
		}
	}
}

func benchmarkStep(b *testing.B, p Precision, spec model.Spec, threads, calls int) {
	const batch = 40
	e, err := available(b).With(p)
	if err != nil {
		b.Skip(err)
	}
	m, err := model.Build(spec)
	require.NoError(b, err)
	tr := enginetest.NewTrainer(b, e, m, batch, threads, metrix.Mix{Weight: 0.4, Lambda: 0.6, Pairs: metrix.PositiveNegative})
	tr.Calls = calls
	x := noise(batch * m.Input.Size())
	tr.Step(b, x, 1e-4) // makes primitives and memory
	start := cpuSeconds()
	for b.Loop() {
		tr.Step(b, x, 1e-4)
	}
	b.ReportMetric(batch*float64(b.N)/(cpuSeconds()-start), "images/cpu-s")
	b.ReportMetric(batch*float64(b.N)/b.Elapsed().Seconds(), "images/s")
	b.ReportMetric(memoryMiB("VmHWM"), "peak-MiB")
}
