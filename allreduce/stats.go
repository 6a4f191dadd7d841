package allreduce

import (
	"slices"
	"sync"
	"time"

	"github.com/metrixml/metrix/run"
)

// Stats is what a ring has done since it was made. Durations are indexed by rank.
type Stats struct {
	BytesSent, BytesReceived   int64 // frames with their headers
	FramesSent, FramesReceived int64
	Stale                      int64 // frames of older generations that were dropped

	// Wait is the time blocked in Receive, by the rank whose chunks were awaited: the predecessor
	// around the ring, every rank in an exchange. In a steady ring every rank waits for the slowest one, so Wait tells how much
	// time is lost, not who loses it.
	Wait []time.Duration

	// Late is the part of Wait spent on the first chunk of a collective, which the predecessor
	// sends as soon as it enters, in an exchange too: the rank with a large value is the straggler itself.
	Late []time.Duration

	// Credit is the time blocked because the rank (around the ring the successor) had not consumed
	// a window of chunks.
	Credit []time.Duration
}

// meter collects Stats from the goroutines of a ring.
type meter struct {
	mu sync.Mutex
	s  Stats
}

func (m *meter) init(world int) {
	m.s.Wait = make([]time.Duration, world)
	m.s.Late = make([]time.Duration, world)
	m.s.Credit = make([]time.Duration, world)
}

func (m *meter) sent(frameBytes int) {
	m.mu.Lock()
	m.s.FramesSent++
	m.s.BytesSent += int64(frameBytes)
	m.mu.Unlock()
}

func (m *meter) received(frameBytes int, stale bool) {
	m.mu.Lock()
	m.s.FramesReceived++
	m.s.BytesReceived += int64(frameBytes)
	if stale {
		m.s.Stale++
	}
	m.mu.Unlock()
}

func (m *meter) waited(from run.Rank, d time.Duration, first bool) {
	m.mu.Lock()
	m.s.Wait[from] += d
	if first {
		m.s.Late[from] += d
	}
	m.mu.Unlock()
}

func (m *meter) credited(to run.Rank, d time.Duration) {
	m.mu.Lock()
	m.s.Credit[to] += d
	m.mu.Unlock()
}

func (m *meter) snapshot() Stats {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.s
	s.Wait, s.Late, s.Credit = slices.Clone(s.Wait), slices.Clone(s.Late), slices.Clone(s.Credit)
	return s
}
