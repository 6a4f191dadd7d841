package allreduce

import (
	"fmt"
	"math"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/metrixml/metrix/internal/draw"
)

// benchTransport is a way in which benchmarks connect ranks.
type benchTransport struct {
	name string
	open opener
}

func benchTransports(b *testing.B) []benchTransport {
	srv := startServer(b)
	return []benchTransport{
		{"memory", openMemory},
		{"nats-tcp", openNATS(srv, false)},
		{"nats-inprocess", openNATS(srv, true)},
		{"shared-memory", local(openNATS(srv, false))},
	}
}

// BenchmarkAllReduce sums 100 MB of float32 among N ranks of this process, and reports the bus
// bandwidth S/t * 2(N-1)/N. Run it with -benchtime=10x.
func BenchmarkAllReduce(b *testing.B) {
	for _, tc := range benchTransports(b) {
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
	start, cpu, best := time.Now(), cpuSeconds(b), time.Hour
	for b.Loop() {
		t := time.Now()
		step()
		best = min(best, time.Since(t))
	}
	b.ReportMetric((cpuSeconds(b)-cpu)/float64(b.N)*1e3, "cpu-ms/op")
	ranks := float64(len(all))
	bus := func(seconds float64) float64 { return 4 * float64(n) / seconds * 2 * (ranks - 1) / ranks / 1e9 }
	b.ReportMetric(bus(time.Since(start).Seconds()/float64(b.N)), "busGB/s")
	b.ReportMetric(bus(best.Seconds()), "best-busGB/s")
}

// BenchmarkReduceScatterInt64 sums 25 million integers of the size of gradients among N ranks of this
// process, and reports the megabytes that a rank sends. Run it with -benchtime=8x.
func BenchmarkReduceScatterInt64(b *testing.B) {
	for _, tc := range benchTransports(b) {
		for _, world := range []int{2, 4} {
			b.Run(fmt.Sprintf("%s/N=%d", tc.name, world), func(b *testing.B) {
				benchReduceScatterInt64(b, rings(b, world, tc.open, defaultChunks), 25<<20)
			})
		}
	}
}

func benchReduceScatterInt64(b *testing.B, all []*Ring, n int) {
	x := make([][]int64, len(all))
	for rank := range x {
		r := draw.Of(1, draw.Test, uint64(rank))
		x[rank] = make([]int64, n)
		for i := range x[rank] {
			x[rank][i] = int64(math.Ldexp(1e-3*r.Norm(), 44)) // as package exact has them
		}
	}
	step := func() {
		requireNone(b, together(all, func(rank int, r *Ring) error {
			return r.ReduceScatterInt64(b.Context(), 1, "gradients", x[rank], even(n, len(all)))
		}))
	}
	step() // meet, and fill the buffers
	sent, cpu := all[0].Stats().BytesSent, cpuSeconds(b)
	for b.Loop() {
		step()
	}
	b.ReportMetric((cpuSeconds(b)-cpu)/float64(b.N)*1e3, "cpu-ms/op")
	b.ReportMetric(float64(all[0].Stats().BytesSent-sent)/float64(b.N)/1e6, "sentMB/op")
}

// BenchmarkExchange moves 20 MB of float32 from each of 4 ranks to the others, evenly, as the feature
// maps of mixed examples, and reports what a rank sends and receives, before rounding, in GB/s each
// way. Run it with -benchtime=20x.
func BenchmarkExchange(b *testing.B) {
	for _, tc := range benchTransports(b) {
		for _, wire := range []Wire{Float32, BFloat16} {
			b.Run(fmt.Sprintf("%s/N=4/%v", tc.name, wire), func(b *testing.B) {
				benchExchange(b, rings(b, 4, tc.open, defaultChunks), 5_000_000, wire)
			})
		}
	}
}

func benchExchange(b *testing.B, all []*Ring, n int, wire Wire) {
	tr := newTraffic(len(all), wire, func(p, q int) int {
		if p == q {
			return 0
		}
		return n / (len(all) - 1)
	})
	step := func() {
		requireNone(b, together(all, func(_ int, r *Ring) error { return tr.run(b, 1, r) }))
	}
	step() // meet, and fill the buffers
	start, cpu, best := time.Now(), cpuSeconds(b), time.Hour
	for b.Loop() {
		t := time.Now()
		step()
		best = min(best, time.Since(t))
	}
	b.ReportMetric((cpuSeconds(b)-cpu)/float64(b.N)*1e3, "cpu-ms/op")
	b.ReportMetric(4*float64(n)/(time.Since(start).Seconds()/float64(b.N))/1e9, "GB/s")
	b.ReportMetric(4*float64(n)/best.Seconds()/1e9, "best-GB/s")
}

func BenchmarkRoundBFloat16(b *testing.B) {
	x := input(1, 1<<20)
	b.SetBytes(4 << 20)
	for b.Loop() {
		RoundBFloat16(x)
	}
}
