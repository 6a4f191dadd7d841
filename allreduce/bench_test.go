package allreduce

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// BenchmarkAllReduce sums 100 MB of float32 among N ranks of this process, and reports the bus
// bandwidth S/t * 2(N-1)/N. Run it with -benchtime=10x.
func BenchmarkAllReduce(b *testing.B) {
	srv := startServer(b)
	for _, tc := range []struct {
		name string
		open opener
	}{
		{"memory", openMemory},
		{"nats-tcp", openNATS(srv, false)},
		{"nats-inprocess", openNATS(srv, true)},
	} {
		for _, world := range []int{2, 4} {
			b.Run(fmt.Sprintf("%s/N=%d", tc.name, world), func(b *testing.B) {
				benchAllReduce(b, rings(b, world, tc.open, defaultChunks), 25<<20)
			})
		}
	}
}

// BenchmarkLatency is an all-gather of a few rows, as the embeddings of a small batch.
func BenchmarkLatency(b *testing.B) {
	srv := startServer(b)
	for _, world := range []int{2, 4} {
		b.Run(fmt.Sprintf("nats-tcp/N=%d", world), func(b *testing.B) {
			benchAllReduce(b, rings(b, world, openNATS(srv, false), defaultChunks), 64*128)
		})
	}
}

// cpuSeconds is the processor time of this process so far.
func cpuSeconds(b *testing.B) float64 {
	var u syscall.Rusage
	require.NoError(b, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()).Seconds()
}

func defaultChunks(c *Config) {
	c.ChunkBytes, c.Window = DefaultConfig().ChunkBytes, DefaultConfig().Window
}

func benchAllReduce(b *testing.B, all []*Ring, n int) {
	x := make([][]float32, len(all))
	for i := range x {
		x[i] = make([]float32, n)
	}
	step := func() {
		requireNone(b, together(all, func(rank int, r *Ring) error {
			return r.AllReduce(b.Context(), 1, "gradients", x[rank])
		}))
	}
	step() // meet, and fill the buffers
	start, cpu := time.Now(), cpuSeconds(b)
	for b.Loop() {
		step()
	}
	b.ReportMetric((cpuSeconds(b)-cpu)/float64(b.N)*1e3, "cpu-ms/op")
	perStep := time.Since(start).Seconds() / float64(b.N)
	ranks := float64(len(all))
	b.ReportMetric(4*float64(n)/perStep*2*(ranks-1)/ranks/1e9, "busGB/s")
}
