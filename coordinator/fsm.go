package coordinator

import (
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/hashicorp/raft"

	"github.com/metrixml/metrix/coordinator/api"
	"github.com/metrixml/metrix/run"
)

// fsm lets raft drive a State, and lets the service read it meanwhile.
type fsm struct {
	applied func() // called after every change, without the lock; may be nil

	mu    sync.RWMutex
	state State
}

// Apply carries out a committed log entry; the Result becomes the proposal's response.
func (f *fsm) Apply(entry *raft.Log) any {
	cmd, err := api.DecodeCommand(entry.Data)
	if err != nil {
		return Result{Err: api.Errorf(api.CodeInvalid, "log entry %d: %v", entry.Index, err)}
	}
	defer f.notify()
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.state.Apply(cmd)
}

func (f *fsm) notify() {
	if f.applied != nil {
		f.applied()
	}
}

// Snapshot takes the state as bytes: it is small, so copying it is as cheap as sharing it.
func (f *fsm) Snapshot() (raft.FSMSnapshot, error) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	b, err := f.state.Snapshot()
	return frozen(b), err
}

// Restore replaces the state.
func (f *fsm) Restore(r io.ReadCloser) error {
	defer r.Close()
	b, err := io.ReadAll(r)
	if err != nil {
		return fmt.Errorf("coordinator: read snapshot: %w", err)
	}
	defer f.notify()
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.state.Restore(b)
}

func (f *fsm) plan(id run.ID) (api.Plan, bool) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.state.Plan(id)
}

func (f *fsm) spec(id run.ID) (api.Spec, bool) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.state.Spec(id)
}

func (f *fsm) members() []api.Lease {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.state.Leases()
}

// frozen is a state on its way to the snapshot store.
type frozen []byte

// Persist writes the snapshot to raft's store.
func (f frozen) Persist(sink raft.SnapshotSink) error {
	if _, err := sink.Write(f); err != nil {
		return fmt.Errorf("coordinator: write snapshot %s: %w", sink.ID(), errors.Join(err, sink.Cancel()))
	}
	return sink.Close()
}

// Release has nothing to free.
func (f frozen) Release() {}

// lookup finds a membership for a beat: its lease, and the run's plan if its revision is not the one
// the worker knows. A plan without a lease means that the worker is no member.
func (f *fsm) lookup(b api.Beat) (lease api.Lease, member bool, plan *api.Plan, err *api.Error) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	r := f.state.find(b.Run)
	if r == nil {
		return api.Lease{}, false, nil, unknownRun(b.Run)
	}
	if r.Revision != b.Revision {
		p := r.plan()
		plan = &p
	}
	if i := r.index(b.Worker); i >= 0 {
		return r.lease(i), true, plan, nil
	}
	return api.Lease{}, false, plan, api.Errorf(api.CodeNotMember, "worker %s is not a member of run %s", b.Worker, b.Run)
}
