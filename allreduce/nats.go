package allreduce

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/metrixml/metrix/run"
)

// natsTransport carries frames as core NATS messages, at most once, on one subject for each pair
// of ranks:
//
//	metrix.<run>.ring.<generation>.<from>.<to>
//
// A message of a pair lands in that pair's channel without passing through a goroutine of ours.
// Whatever may have lost a message (lost connection, full channel) fails the transport for good.
type natsTransport struct {
	nc       *nats.Conn
	cfg      Config
	from     []natsInbox // by sender; the own one is empty
	status   chan nats.Status
	failed   chan struct{} // closed once err is set
	failOnce sync.Once
	err      error
}

// natsInbox is what one peer has sent.
type natsInbox struct {
	messages chan *nats.Msg
	overflow <-chan nats.SubStatus
	sub      *nats.Subscription
}

// NATS returns the transport of one rank over nc, subscribed to every peer when it returns. The
// connection stays the caller's; it should carry nothing that must not wait behind frames of a MiB
// (heartbeats have their own connection), and be opened with ConnectOptions.
func NATS(nc *nats.Conn, cfg Config) (Transport, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	t := &natsTransport{
		nc:     nc,
		cfg:    cfg,
		from:   make([]natsInbox, cfg.World),
		status: nc.StatusChanged(nats.DISCONNECTED, nats.RECONNECTING, nats.CLOSED),
		failed: make(chan struct{}),
	}
	if err := t.subscribe(); err != nil {
		return nil, errors.Join(fmt.Errorf("ring: subscribe rank %d to its peers at %s: %w", cfg.Rank, nc.ConnectedUrlRedacted(), err), t.Close())
	}
	return t, nil
}

// ConnectOptions are options for a connection that carries a ring. A write that makes no progress
// for 5 seconds fails, so that a frozen server cannot hold a rank for longer.
func ConnectOptions() []nats.Option {
	return []nats.Option{nats.FlusherTimeout(5 * time.Second), nats.MaxReconnects(-1)}
}

func (t *natsTransport) subject(from, to run.Rank) string {
	return fmt.Sprintf("metrix.%s.ring.%d.%d.%d", t.cfg.Run, t.cfg.Generation, from, to)
}

// subscribe opens the inboxes and waits until the server knows of them.
func (t *natsTransport) subscribe() error {
	if !t.nc.IsConnected() {
		return fmt.Errorf("the connection is %v", t.nc.Status())
	}
	for from := range t.from {
		if run.Rank(from) == t.cfg.Rank {
			continue
		}
		messages := make(chan *nats.Msg, peerQueue)
		sub, err := t.nc.ChanSubscribe(t.subject(run.Rank(from), t.cfg.Rank), messages)
		if err != nil {
			return err
		}
		t.from[from] = natsInbox{messages, sub.StatusChanged(nats.SubscriptionSlowConsumer), sub}
	}
	return t.nc.FlushTimeout(10 * time.Second)
}

func (t *natsTransport) MaxFrame() int { return int(min(t.nc.MaxPayload(), 64<<20)) }

func (t *natsTransport) Send(ctx context.Context, to run.Rank, frame []byte) error {
	if err := checkPeer(to, t.cfg.Rank, t.cfg.World); err != nil {
		return err
	}
	select {
	case <-t.failed:
		return t.err
	case s := <-t.status:
		return t.fail(disconnected(s))
	case <-ctx.Done():
		return context.Cause(ctx)
	default:
	}
	if err := t.nc.Publish(t.subject(t.cfg.Rank, to), frame); err != nil {
		return t.fail(fmt.Errorf("publish %d bytes: %w", len(frame), err))
	}
	return nil
}

func (t *natsTransport) Receive(ctx context.Context, from run.Rank) ([]byte, error) {
	if err := checkPeer(from, t.cfg.Rank, t.cfg.World); err != nil {
		return nil, err
	}
	in := t.from[from]
	select {
	case <-t.failed: // before what is still in the queue
		return nil, t.err
	default:
	}
	select {
	case <-t.failed:
		return nil, t.err
	case m := <-in.messages:
		return m.Data, nil
	case _, open := <-in.overflow:
		if !open {
			return nil, t.fail(errors.New("the subscription was closed with its connection"))
		}
		return nil, t.fail(fmt.Errorf("rank %d sent more than the %d frames that fit its queue", from, peerQueue))
	case s := <-t.status:
		return nil, t.fail(disconnected(s))
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

func disconnected(s nats.Status) error {
	return fmt.Errorf("the NATS connection was lost (%v), frames may be lost with it", s)
}

// fail makes err, if it is the first, the error of every later call, and returns the first.
func (t *natsTransport) fail(err error) error {
	t.failOnce.Do(func() {
		t.err = err
		close(t.failed)
	})
	<-t.failed
	return t.err
}

func (t *natsTransport) Close() error {
	t.fail(ErrClosed)
	t.nc.RemoveStatusListener(t.status)
	var errs []error
	for _, in := range t.from {
		if in.sub == nil {
			continue
		}
		err := in.sub.Unsubscribe()
		if err != nil && !errors.Is(err, nats.ErrConnectionClosed) && !errors.Is(err, nats.ErrBadSubscription) {
			errs = append(errs, fmt.Errorf("ring: unsubscribe: %w", err))
		}
	}
	return errors.Join(errs...)
}
