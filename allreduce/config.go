package allreduce

import (
	"errors"
	"fmt"
	"time"

	"github.com/metrixml/metrix/run"
)

// maxWindow bounds Config.Window, so that a transport knows how many frames it must be able to
// hold for one peer (see peerQueue).
const maxWindow = 64

// Config says which place of which ring a rank takes. Run, Generation and World, ChunkBytes and
// Window must be the same on all ranks: the handshake compares them.
type Config struct {
	Run        run.ID         // names the run in every frame
	Generation run.Generation // membership this ring lives for, >= 1
	Rank       run.Rank       // own position, 0 <= Rank < World
	World      int            // number of ranks, >= 1

	// ChunkBytes is the payload of one full frame in bytes, a multiple of 4 of at least 8. What is
	// used is min(ChunkBytes, Transport.MaxFrame() - 64), rounded down to whole floats. One MiB
	// costs half the processor time per byte of 64 KiB over NATS.
	ChunkBytes int

	// Window is how many chunks a rank may have sent that its successor has not consumed, 1..64. A
	// rank holds at most 2*Window+2 chunks in memory. In an exchange every rank may send to it, and
	// at most max(4*Window, World-1) chunks are under way to one rank.
	Window int

	// Stall is how long a rank waits for one frame before it gives up on the peer, > 0. A frozen or
	// killed peer is normally noticed by the coordinator much earlier, which cancels the context.
	Stall time.Duration
}

// DefaultConfig returns a Config with chunks of 1 MiB, a window of 8 of them and a stall of 60
// seconds. Run, Generation, Rank and World are for the caller to set.
func DefaultConfig() Config {
	return Config{ChunkBytes: 1 << 20, Window: 8, Stall: 60 * time.Second}
}

// Validate reports everything that is wrong with c, one sentence each.
func (c Config) Validate() error {
	var errs []error
	check := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf("ring: "+format, args...))
		}
	}
	check(run.ValidID(c.Run), "run id %q is not valid: use 1 to 64 letters, digits, '-' or '_'", c.Run)
	check(c.Generation >= 1, "generation is 0, but the first generation is 1")
	check(c.World >= 1, "world size is %d, but a ring has at least 1 rank", c.World)
	check(c.Rank >= 0 && int(c.Rank) < max(c.World, 1), "rank %d is outside the world of %d ranks", c.Rank, c.World)
	check(c.ChunkBytes >= 8 && c.ChunkBytes%4 == 0, "chunk of %d bytes is not a multiple of 4 of at least 8", c.ChunkBytes)
	check(c.Window >= 1 && c.Window <= maxWindow, "window of %d chunks is outside 1..%d", c.Window, maxWindow)
	check(c.Stall > 0, "stall time-out %v is not positive", c.Stall)
	return errors.Join(errs...)
}
