package coordinator

import (
	"sync"
	"time"

	"github.com/metrixml/metrix/coordinator/api"
)

// leases is what the leader remembers of the members' beats. It is never replicated: a new leader
// begins every lease anew, which gives each member a whole lease to find it.
//
// The times are passed in. A leader that was not running for a while (a stopped process, a machine
// that slept) has not heard the beats of that time either, so it begins the leases anew as well.
type leases struct {
	length time.Duration

	mu      sync.Mutex
	held    map[api.Lease]*pulse
	checked time.Time // last call of lapsed or restart
}

// pulse is the last sign of life of a member.
type pulse struct {
	at       time.Time
	progress api.Progress
}

func newLeases(length time.Duration) *leases {
	return &leases{length: length, held: make(map[api.Lease]*pulse)}
}

// restart begins every lease at now. Progress stays until the next beat replaces it.
func (l *leases) restart(now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.begin(now)
}

func (l *leases) begin(now time.Time) {
	for _, p := range l.held {
		p.at = now
	}
	l.checked = now
}

// beat renews a lease.
func (l *leases) beat(lease api.Lease, progress api.Progress, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.held[lease] = &pulse{at: now, progress: progress}
}

// lapsed returns those of the members whose leases ran out, in the same order. It begins the leases
// of members it sees for the first time and forgets who is no member any more.
func (l *leases) lapsed(members []api.Lease, now time.Time) []api.Lease {
	l.mu.Lock()
	defer l.mu.Unlock()
	if now.Sub(l.checked) > l.length/2 {
		l.begin(now)
	}
	l.checked = now
	held := make(map[api.Lease]*pulse, len(members))
	var lapsed []api.Lease
	for _, m := range members {
		p := l.held[m]
		if p == nil {
			p = &pulse{at: now}
		}
		held[m] = p
		if now.Sub(p.at) > l.length {
			lapsed = append(lapsed, m)
		}
	}
	l.held = held
	return lapsed
}

// pulse returns the last progress of a member and how long ago it came.
func (l *leases) pulse(lease api.Lease, now time.Time) (api.Progress, time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := l.held[lease]
	if p == nil {
		return api.Progress{}, 0
	}
	return p.progress, max(0, now.Sub(p.at))
}
