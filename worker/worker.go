package worker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/metrixml/metrix/allreduce"
	"github.com/metrixml/metrix/coordinator/api"
	"github.com/metrixml/metrix/run"
)

// Run joins the run and trains until it is over. It returns ErrStopped if the worker was asked to
// leave, and an error if the run failed or this worker cannot go on; the others then go on without
// it. The result is filled as far as the worker came.
func Run(ctx context.Context, cfg Config) (*Result, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	t, err := newTrainer(&cfg)
	if err != nil {
		return nil, err
	}
	w := &member{cfg: &cfg, trainer: t, log: cfg.Logger}
	err = w.train(ctx)
	return t.result(), errors.Join(err, t.close())
}

// member is a worker as the coordinator sees it: what joins, follows plans and leaves.
type member struct {
	cfg     *Config
	trainer *trainer
	log     *slog.Logger

	trainedIn run.Generation // last generation of this membership that was trained in
	fruitless int            // generations in a row that broke before their first step
	failedAt  run.Step       // where the last of them broke

	mu       sync.Mutex
	progress api.Progress
}

// maxFruitless bounds how often a worker tries to meet the others at one and the same step.
const maxFruitless = 12

// train follows the coordinator's plans, one generation after the other.
func (m *member) train(ctx context.Context) error {
	m.trainer.onProgress = m.report
	for {
		over, err := m.membership(ctx)
		if over || err != nil {
			return err
		}
		m.log.Warn("no longer a member of the run, joining again", "worker", m.cfg.Name)
	}
}

// membership is the time from one join to the end of the run, or until the coordinator has dropped
// this worker (its lease ran out, say): then over is false and the worker should join again.
func (m *member) membership(ctx context.Context) (over bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	err = m.cfg.Coordinator.Join(ctx, m.cfg.Run, api.Member{Worker: m.cfg.Name, Host: m.cfg.Host, Weight: m.cfg.Weight})
	if err != nil {
		return false, fmt.Errorf("joining run %s: %w", m.cfg.Run, err)
	}
	plans, err := m.cfg.Coordinator.Watch(ctx, m.cfg.Run, m.cfg.Name, m.beat)
	if err != nil {
		return false, fmt.Errorf("watching run %s: %w", m.cfg.Run, err)
	}
	m.trainedIn = 0 // a coordinator that lost its state counts from 1 again
	var next *api.Plan
	for {
		if next == nil {
			if next = m.nextPlan(ctx, plans); next == nil {
				return false, m.leave(ctx.Err())
			}
		}
		plan := *next
		switch {
		case plan.Phase == api.Finished:
			m.trainer.finished = true
			return true, nil
		case plan.Phase == api.Failed:
			return true, fmt.Errorf("run %s failed: %s", plan.Run, plan.Reason)
		case !plan.Has(m.cfg.Name):
			return false, nil
		}
		next, err = m.follow(ctx, plan, plans)
		if err != nil || m.trainer.finished {
			return m.trainer.finished, m.leave(err)
		}
	}
}

// nextPlan waits for a plan; nil if the worker shall stop instead.
func (m *member) nextPlan(ctx context.Context, plans <-chan api.Plan) *api.Plan {
	select {
	case p, ok := <-plans:
		if !ok {
			return nil
		}
		return &p
	case <-m.cfg.Stop:
		return nil
	case <-ctx.Done():
		return nil
	}
}

// follow trains under one plan until a newer one supersedes it, which is returned, or training ends.
func (m *member) follow(ctx context.Context, plan api.Plan, plans <-chan api.Plan) (next *api.Plan, err error) {
	rank, training := plan.Rank(m.cfg.Name)
	if plan.Generation <= m.trainedIn { // its ring is dead; the next one is on its way
		return nil, nil
	}
	if !training || plan.Phase != api.Running {
		m.log.Info("waiting", "phase", plan.Phase, "generation", plan.Generation, "members", len(plan.Members))
		return nil, nil
	}
	m.trainedIn = plan.Generation
	gctx, cancel := context.WithCancel(ctx)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- m.trainer.generation(gctx, plan, rank) }()
	for {
		select {
		case err := <-done:
			return nil, m.afterGeneration(ctx, plan, err)
		case newer, ok := <-plans:
			if ok && newer.Generation == plan.Generation && !newer.Phase.Over() {
				continue // a spare came or went
			}
			cancel()
			if err := <-done; m.trainer.finished || fatal(err) {
				return nil, err
			}
			if !ok {
				return nil, ctx.Err()
			}
			return &newer, nil
		}
	}
}

// afterGeneration decides what the end of a generation that no newer plan caused means.
func (m *member) afterGeneration(ctx context.Context, plan api.Plan, err error) error {
	switch {
	case err == nil || ctx.Err() != nil:
		return err
	case errors.Is(err, errDiverged):
		return errors.Join(err, m.cfg.Coordinator.Fail(ctx, m.cfg.Run, err.Error()))
	case fatal(err):
		return err
	}
	// The collective broke, not this worker: meet again in a new generation, after a pause that grows
	// while there is no progress.
	if m.failedAt != m.trainer.step {
		m.fruitless, m.failedAt = 0, m.trainer.step
	}
	if m.fruitless++; m.fruitless > maxFruitless {
		return fmt.Errorf("%d generations in a row failed at step %d, the last: %w", maxFruitless, m.failedAt, err)
	}
	select {
	case <-time.After(10 * time.Millisecond << (m.fruitless - 1)):
	case <-ctx.Done():
		return ctx.Err()
	}
	m.log.Warn("collective failed, asking for a new generation", "generation", plan.Generation, "error", err)
	askErr := m.cfg.Coordinator.Regroup(ctx, m.cfg.Run, m.cfg.Name, plan.Generation, err.Error())
	if errors.Is(askErr, api.ErrNotMember) || errors.Is(askErr, api.ErrRunOver) {
		return nil // the next plan says so
	}
	return askErr
}

// fatal reports whether a generation ended for a reason of this worker's own, which the next
// generation would meet again, rather than because a peer or the network failed.
func fatal(err error) bool {
	var ringErr *allreduce.Error
	return err != nil && !errors.As(err, &ringErr) && !errors.Is(err, context.Canceled) && !errors.Is(err, errReplaced)
}

// leave tells the coordinator, so that the others need not wait for the lease to run out.
func (m *member) leave(cause error) error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	err := m.cfg.Coordinator.Leave(ctx, m.cfg.Run, m.cfg.Name)
	if err != nil && !errors.Is(err, api.ErrNotMember) && !errors.Is(err, api.ErrRunOver) {
		m.log.Warn("could not say goodbye to the coordinator", "error", err)
	}
	if cause == nil && !m.trainer.finished {
		return ErrStopped
	}
	return cause
}

// report takes the trainer's progress; beat hands the latest on.
func (m *member) report(p api.Progress) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.progress = p
}

func (m *member) beat() api.Progress {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.progress
}
