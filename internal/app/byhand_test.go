package app

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/metrixml/metrix/coordinator/api"
	"github.com/metrixml/metrix/internal/cli"
	"github.com/metrixml/metrix/internal/natsd"
	"github.com/metrixml/metrix/run"
	"github.com/metrixml/metrix/worker"
)

// serveNATS is a nats-server process of the tests.
func serveNATS(port string) int {
	var opt natsd.Options
	if _, err := fmt.Sscan(port, &opt.Port); err != nil {
		return cli.ExitUsage
	}
	s, err := natsd.Start(opt)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return cli.ExitFailure
	}
	fmt.Println(s.URL())
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	<-ctx.Done()
	if s.Close() != nil {
		return cli.ExitFailure
	}
	return cli.ExitOK
}

// byHand is a cluster of processes started one by one, as the README shows.
type byHand struct {
	t            *testing.T
	w            workspace
	url          string
	coordinators map[string]*exec.Cmd
	client       *api.Client
}

func startByHand(t *testing.T, w workspace, coordinators int) *byHand {
	t.Helper()
	c := &byHand{t: t, w: w, coordinators: map[string]*exec.Cmd{}}
	server := program(t, "nats-server", "-1")
	out, err := server.StdoutPipe()
	require.NoError(t, err)
	c.launch(server, "nats-server")
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	c.url = strings.TrimSpace(line)

	var peers []string
	addrs := map[string]string{}
	for i, addr := range freeAddresses(t, coordinators) {
		id := fmt.Sprintf("c%d", i)
		addrs[id] = addr
		peers = append(peers, id+"="+addrs[id])
	}
	for id, addr := range addrs {
		cmd := program(t, "coordinator", "--id", id, "--raft-addr", addr, "--peers", strings.Join(peers, ","), "--nats", c.url, "--data-dir", filepath.Join(w.dir, id))
		c.launch(cmd, id)
		c.coordinators[id] = cmd
	}
	nc, err := cli.ConnectNATS(c.url, "test")
	require.NoError(t, err)
	t.Cleanup(nc.Close)
	c.client = api.Dial(nc, cli.DefaultGroup)
	return c
}

// launch starts a process whose log is shown if the test fails; it is ended with the test.
func (c *byHand) launch(cmd *exec.Cmd, name string) {
	c.t.Helper()
	log, err := os.Create(filepath.Join(c.w.dir, name+".log"))
	require.NoError(c.t, err)
	cmd.Stderr = log
	require.NoError(c.t, cmd.Start())
	c.t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		require.NoError(c.t, log.Close())
		if text, err := os.ReadFile(log.Name()); c.t.Failed() && err == nil {
			c.t.Logf("log of %s:\n%s", name, text)
		}
	})
}

// worker starts a worker process; it must finish unless the test kills it.
func (c *byHand) worker(name, out string, args ...string) *exec.Cmd {
	c.t.Helper()
	args = append([]string{"--nats", c.url, "--recipe", c.w.recipe, "--data", c.w.data, "--out", out, "--threads", "1", "--name", name}, args...)
	cmd := program(c.t, "worker", args...)
	c.launch(cmd, name)
	return cmd
}

// freeAddresses returns different addresses on which nothing listens.
func freeAddresses(t *testing.T, n int) (out []string) {
	t.Helper()
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		defer l.Close() // all at the end, or the system might hand one out twice
		out = append(out, l.Addr().String())
	}
	return out
}

// waitForStep waits until a run's log has reached a step.
func waitForStep(t *testing.T, out string, step run.Step) {
	t.Helper()
	require.Eventually(t, func() bool {
		records, err := worker.ReadJournal(out)
		return err == nil && len(records) > 0 && records[len(records)-1].Step >= step
	}, 2*time.Minute, 5*time.Millisecond, "%s never reached step %d", out, step)
}

// leader asks the group who leads it.
func (c *byHand) leader() string {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	s, err := c.client.Status(ctx)
	require.NoError(c.t, err)
	return s.Leader
}

// endless is a run that goes on until the test has seen what it wants: machines differ in speed.
const endless = "train.steps=1000000"

// Three coordinators and three workers, started by hand. A worker is killed, a new one joins, the
// leader of the coordinators is killed: the run has the bits of an undisturbed one.
func TestByHandWithWorkerAndLeaderKilled(t *testing.T) {
	w := newWorkspace(t)
	c, out := startByHand(t, w, 3), filepath.Join(w.dir, "run")
	flags := []string{"--set", endless, "--min-workers", "3"}
	survivors := []*exec.Cmd{c.worker("w0", out, flags...), c.worker("w1", out, flags...)}
	victim := c.worker("w2", out, flags...)

	waitForStep(t, out, 10)
	require.NoError(t, victim.Process.Kill())
	killed := time.Now()
	waitForWorkers(t, out, 2)
	t.Logf("a killed worker's shards were taken over after %v", time.Since(killed).Round(time.Millisecond))

	survivors = append(survivors, c.worker("w3", out, flags...))
	waitForWorkers(t, out, 3)

	require.NoError(t, c.coordinators[c.leader()].Process.Kill())
	waitForStep(t, out, lastStep(t, out)+10)
	c.requireUndisturbed(out, survivors...)
}

// A worker that comes when all is done, as a Pod that was restarted may, has not failed.
func TestByHandAWorkerThatComesTooLate(t *testing.T) {
	w := newWorkspace(t)
	c, out := startByHand(t, w, 1), filepath.Join(w.dir, "run")
	flags := []string{"--set", "train.steps=3", "--min-workers", "1"}
	for _, name := range []string{"w0", "late"} {
		require.NoError(t, c.worker(name, out, flags...).Wait(), name)
	}
	records, err := worker.ReadJournal(out)
	require.NoError(t, err)
	require.EqualValues(t, 3, lastStep(t, out))
	require.Equal(t, 1, records[len(records)-1].Workers)
}

// A worker that freezes loses its shards to the others, and gets some back when it wakes up.
func TestByHandWithWorkerFrozen(t *testing.T) {
	w := newWorkspace(t)
	c, out := startByHand(t, w, 1), filepath.Join(w.dir, "run")
	flags := []string{"--set", endless, "--min-workers", "2"}
	a, b := c.worker("w0", out, flags...), c.worker("w1", out, flags...)
	waitForStep(t, out, 10)
	require.NoError(t, b.Process.Signal(syscall.SIGSTOP))
	frozen := time.Now()
	waitForWorkers(t, out, 1)
	t.Logf("a frozen worker's shards were taken over after %v", time.Since(frozen).Round(time.Millisecond))
	require.NoError(t, b.Process.Signal(syscall.SIGCONT))
	waitForWorkers(t, out, 2)
	c.requireUndisturbed(out, a, b)
}

// requireUndisturbed stops the workers, which leaves a checkpoint, and compares the run so far with
// one of as many steps that one worker made in peace.
func (c *byHand) requireUndisturbed(out string, workers ...*exec.Cmd) {
	t := c.t
	t.Helper()
	for _, cmd := range workers {
		require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))
	}
	for _, cmd := range workers {
		require.Error(t, cmd.Wait())
		require.Equal(t, cli.ExitInterrupted, cmd.ProcessState.ExitCode())
	}
	text, _, _, err := execute(NewMetrix(), "status", "--nats", c.url, "--json")
	require.NoError(t, err)
	var s api.Status
	require.NoError(t, json.Unmarshal([]byte(text), &s))
	require.Len(t, s.Runs, 1)
	got := s.Runs[0].Checkpoint
	require.NotNil(t, got)
	require.Equal(t, lastStep(t, out), got.Step)

	peace := filepath.Join(c.w.dir, "undisturbed")
	want := c.w.train(t, "--out", peace, "--workers", "1", "--set", fmt.Sprintf("train.steps=%d", got.Step))
	require.Equal(t, want.ParameterHash, got.Hash, "parameters after %d steps", got.Step)
	requireSameLosses(t, peace, out)
}

// lastStep is the last step in a run's log.
func lastStep(t *testing.T, out string) run.Step {
	t.Helper()
	records, err := worker.ReadJournal(out)
	require.NoError(t, err)
	return records[len(records)-1].Step
}

// waitForWorkers waits until the last step was made by so many workers.
func waitForWorkers(t *testing.T, out string, workers int) {
	t.Helper()
	require.Eventually(t, func() bool {
		records, err := worker.ReadJournal(out)
		return err == nil && len(records) > 0 && records[len(records)-1].Workers == workers
	}, 2*time.Minute, 5*time.Millisecond, "the run never had %d workers", workers)
}
