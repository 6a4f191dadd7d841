package coordinator

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/metrixml/metrix/coordinator/api"
)

// TestLeases plays beats against a clock that the test turns.
func TestLeases(t *testing.T) {
	start := time.Unix(1000, 0)
	at := func(ms int) time.Time { return start.Add(time.Duration(ms) * time.Millisecond) }
	a, b := api.Lease{Run: "demo", Worker: "a", Joined: 1}, api.Lease{Run: "demo", Worker: "b", Joined: 2}
	both := []api.Lease{a, b}
	l := newLeases(time.Second)
	l.restart(at(0))

	require.Empty(t, l.lapsed(both, at(100)), "a lease begins when the member is first seen")
	for ms := 200; ms <= 1100; ms += 100 {
		l.beat(b, api.Progress{Step: 7}, at(ms))
		require.Empty(t, l.lapsed(both, at(ms)))
	}
	require.Equal(t, []api.Lease{a}, l.lapsed(both, at(1101)), "a has not beaten since 100")
	progress, silence := l.pulse(b, at(1150))
	require.EqualValues(t, 7, progress.Step)
	require.Equal(t, 50*time.Millisecond, silence)

	again := api.Lease{Run: "demo", Worker: "a", Joined: 3}
	require.Empty(t, l.lapsed([]api.Lease{b, again}, at(1200)), "who joins again holds another lease")

	l.restart(at(1500))
	require.Empty(t, l.lapsed(both, at(1900)), "an election begins every lease anew")

	require.Empty(t, l.lapsed(both, at(5000)), "a leader that slept has heard nobody, so nobody lapses")
	for ms := 5100; ms <= 6000; ms += 100 {
		require.Empty(t, l.lapsed(both, at(ms)))
	}
	require.Equal(t, both, l.lapsed(both, at(6001)), "but silence while it is awake counts")
}
