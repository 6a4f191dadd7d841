package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/metrixml/metrix/coordinator"
	"github.com/metrixml/metrix/coordinator/api"
	"github.com/metrixml/metrix/internal/cli"
	"github.com/metrixml/metrix/internal/natsd"
)

// cluster is what a run on one machine needs beside its workers: a NATS server, unless one is given,
// and a coordinator. Its group is its own, so that runs which share a server do not meet.
type cluster struct {
	url    string
	group  string
	server *natsd.Server
	nc     *nats.Conn
	node   *coordinator.Node
	client *api.Client
}

// address is what others need to ask a running cluster; it lies in the output folder meanwhile.
type address struct {
	NATS  string `json:"nats"`
	Group string `json:"group"`
}

func addressFile(out string) string { return filepath.Join(out, "cluster.json") }

// readAddress finds the cluster of a run that is going on.
func readAddress(out string) (address, error) {
	var a address
	b, err := os.ReadFile(addressFile(out))
	if err != nil {
		return a, fmt.Errorf("no run is going on in %s; its results are in %s", out, filepath.Join(out, "result.json"))
	}
	if err := json.Unmarshal(b, &a); err != nil {
		return a, fmt.Errorf("%s: %w", addressFile(out), err)
	}
	return a, nil
}

// publish lets metrix status find the cluster until the returned function is called.
func (c *cluster) publish(out string) (func() error, error) {
	b, err := json.Marshal(address{c.url, c.group})
	if err == nil {
		err = os.WriteFile(addressFile(out), append(b, '\n'), 0o644)
	}
	if err != nil {
		return nil, fmt.Errorf("output folder: %w", err)
	}
	return func() error { return os.Remove(addressFile(out)) }, nil
}

// startCluster starts both; dir keeps the coordinator's log.
func startCluster(ctx context.Context, url, dir string) (c *cluster, err error) {
	c = &cluster{url: url, group: fmt.Sprintf("local-%d-%d", os.Getpid(), time.Now().UnixNano())}
	defer func() {
		if err != nil {
			err = errors.Join(err, c.close())
		}
	}()
	if url == "" {
		if c.server, err = natsd.Start(natsd.Options{}); err != nil {
			return nil, err
		}
		c.url = c.server.URL()
	}
	if c.nc, err = cli.ConnectNATS(c.url, "metrix train"); err != nil {
		return nil, err
	}
	cfg := coordinator.DefaultConfig()
	cfg.ID, cfg.Group, cfg.DataDir, cfg.NATS = "local", c.group, dir, c.nc
	if c.node, err = coordinator.Start(ctx, cfg); err != nil {
		return nil, err
	}
	c.client = api.Dial(c.nc, c.group)
	return c, nil
}

func (c *cluster) close() error {
	var errs []error
	if c.node != nil {
		errs = append(errs, c.node.Close())
	}
	if c.nc != nil {
		c.nc.Close()
	}
	if c.server != nil {
		errs = append(errs, c.server.Close())
	}
	return errors.Join(errs...)
}
