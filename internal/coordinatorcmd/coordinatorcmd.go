// Package coordinatorcmd is the command of cmd/coordinator. It stands apart from internal/app so that
// the coordinator's binary contains no engine.
package coordinatorcmd

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/spf13/cobra"

	"github.com/metrixml/metrix/coordinator"
	"github.com/metrixml/metrix/internal/cli"
	"github.com/metrixml/metrix/internal/telemetry"
)

// New is the command of one node of the raft group.
func New() *cobra.Command {
	var o struct{ id, raftAddr, peers, nats, group, dataDir, http string }
	cmd := &cobra.Command{
		Use:   "coordinator",
		Short: "Run one node of the raft-backed coordinator",
		Long: `coordinator is one node of the replicated group that assigns shards to workers and keeps the state of
runs: members, generations, checkpoints. Start one node, or three or five with the same --peers; a
majority must be alive. It serves workers over NATS. SIGTERM hands leadership over and ends it.

Every flag can be given as an environment variable: --raft-addr is METRIX_RAFT_ADDR.`,
		Example: `  coordinator --id c0 --raft-addr 127.0.0.1:7000 --nats nats://127.0.0.1:4222 --data-dir /var/lib/metrix \
      --peers c0=127.0.0.1:7000,c1=127.0.0.1:7001,c2=127.0.0.1:7002`,
		Args: cobra.NoArgs,
	}
	f := cmd.Flags()
	f.StringVar(&o.id, "id", "", "unique name of this node (required)")
	f.StringVar(&o.raftAddr, "raft-addr", "", "host:port for the other nodes (required with --peers)")
	f.StringVar(&o.peers, "peers", "", "all nodes as id=host:port,..., this one included (default: a group of one)")
	f.StringVar(&o.nats, "nats", nats.DefaultURL, "URL of the NATS server")
	f.StringVar(&o.group, "group", cli.DefaultGroup, "name of the group")
	f.StringVar(&o.dataDir, "data-dir", "", "folder of the log and snapshots (default: kept in memory, lost at the end)")
	f.StringVar(&o.http, "http", "", "address for /healthz, /readyz and /metrics, such as :9090 (default: none)")
	cmd.RunE = func(cmd *cobra.Command, _ []string) (err error) {
		if err := cli.FromEnvironment(cmd); err != nil {
			return err
		}
		peers, err := parsePeers(o.peers)
		if err != nil {
			return cli.Usage(err)
		}
		if o.id == "" {
			return cli.Usage(errors.New("give this node a name with --id"))
		}
		ctx, stop, release := cli.Interrupts(cmd.Context())
		defer release()
		tel, err := telemetry.Install(ctx, "coordinator", o.id)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, tel.Shutdown()) }()
		nc, err := cli.ConnectNATS(o.nats, "coordinator "+o.id)
		if err != nil {
			return err
		}
		defer nc.Close()
		cfg := coordinator.DefaultConfig()
		cfg.ID, cfg.RaftAddr, cfg.Peers, cfg.Group, cfg.DataDir, cfg.NATS = o.id, o.raftAddr, peers, o.group, o.dataDir, nc
		cfg.HTTPAddr, cfg.Handlers = o.http, map[string]http.Handler{"/metrics": tel.Metrics}
		node, err := coordinator.Start(ctx, cfg)
		if err != nil {
			return err
		}
		slog.New(slog.NewTextHandler(os.Stderr, nil)).Info("coordinator ready", "id", o.id, "group", o.group, "peers", len(peers))
		select {
		case <-stop:
		case <-ctx.Done():
		}
		return node.Close()
	}
	return cmd
}

// parsePeers reads "a=host:1,b=host:2".
func parsePeers(text string) (map[string]string, error) {
	peers := map[string]string{}
	for _, part := range strings.Split(text, ",") {
		part = strings.TrimSpace(part)
		if part == "" {
			continue
		}
		id, addr, ok := strings.Cut(part, "=")
		if !ok || id == "" || addr == "" {
			return nil, fmt.Errorf("--peers: %q must be id=host:port", part)
		}
		if _, twice := peers[id]; twice {
			return nil, fmt.Errorf("--peers: node %q is named twice", id)
		}
		peers[id] = addr
	}
	return peers, nil
}
