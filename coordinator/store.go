package coordinator

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
	"go.etcd.io/bbolt"
)

const (
	snapshotsKept = 2
	lockPatience  = 2 * time.Second // how long another process may hold the data directory
	logCache      = 512             // log entries kept in memory in front of the disk
)

// store is where raft keeps its log, its votes and its snapshots.
type store struct {
	logs      raft.LogStore
	stable    raft.StableStore
	snapshots raft.SnapshotStore
	closer    io.Closer
}

// openStore opens the data directory, or makes a store in memory if dir is empty.
func openStore(dir string, logger hclog.Logger) (*store, error) {
	if dir == "" {
		memory := raft.NewInmemStore()
		return &store{logs: memory, stable: memory, snapshots: raft.NewInmemSnapshotStore(), closer: nopCloser{}}, nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("coordinator: data directory: %w", err)
	}
	bolt, err := raftboltdb.New(raftboltdb.Options{
		Path: filepath.Join(dir, "raft.db"), BoltOptions: &bbolt.Options{Timeout: lockPatience},
	})
	if errors.Is(err, bbolt.ErrTimeout) {
		return nil, fmt.Errorf("coordinator: data directory %s is in use by another coordinator: stop it, or give each its own", dir)
	}
	if err != nil {
		return nil, fmt.Errorf("coordinator: open the log in %s: %w", dir, err)
	}
	cache, err := raft.NewLogCache(logCache, bolt)
	if err != nil {
		return nil, fmt.Errorf("coordinator: cache the log: %w", errors.Join(err, bolt.Close()))
	}
	snapshots, err := raft.NewFileSnapshotStoreWithLogger(dir, snapshotsKept, logger)
	if err != nil {
		return nil, fmt.Errorf("coordinator: open the snapshots in %s: %w", dir, errors.Join(err, bolt.Close()))
	}
	return &store{logs: cache, stable: bolt, snapshots: snapshots, closer: bolt}, nil
}

// bootstrap makes the group of the given nodes unless the store has one already. Every node does it
// with the same nodes, so they agree on the first log entry.
func (s *store) bootstrap(cfg *raft.Config, peers map[string]string, transport raft.Transport) error {
	existing, err := raft.HasExistingState(s.logs, s.stable, s.snapshots)
	if err != nil {
		return fmt.Errorf("coordinator %s: look for an earlier state: %w", cfg.LocalID, err)
	}
	if existing {
		return nil
	}
	var group raft.Configuration
	for id, addr := range peers {
		group.Servers = append(group.Servers, raft.Server{ID: raft.ServerID(id), Address: raft.ServerAddress(addr)})
	}
	slices.SortFunc(group.Servers, func(a, b raft.Server) int {
		if a.ID < b.ID {
			return -1
		}
		return 1
	})
	if err := raft.BootstrapCluster(cfg, s.logs, s.stable, s.snapshots, transport, group); err != nil {
		return fmt.Errorf("coordinator %s: make the group of %d nodes: %w", cfg.LocalID, len(peers), err)
	}
	return nil
}

func (s *store) Close() error { return s.closer.Close() }

type nopCloser struct{}

func (nopCloser) Close() error { return nil }
