package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
)

const (
	findWindow  = 250 * time.Millisecond // how long the first node may take to say whether it leads
	findSettle  = 30 * time.Millisecond  // how long the others may take after it
	attempt     = 500 * time.Millisecond // how long a leader may take to answer before it is asked again
	backoffMin  = 10 * time.Millisecond
	backoffMax  = 100 * time.Millisecond
	nodesToName = 9 // how many nodes an error lists
)

// ask sends v to the leader's subject until it answers or ctx ends. v carries its own identity, so
// that sending it again is harmless.
func (c *Client) ask(ctx context.Context, what string, subject func(group, node string) string, v any) (Reply, error) {
	if !ValidToken(c.group) {
		return Reply{}, fmt.Errorf("coordinator: %s: %.80q cannot name a group: use 1 to 64 letters, digits, '-' or '_'", what, c.group)
	}
	payload, err := Encode(v)
	if err != nil {
		return Reply{}, err
	}
	var last error
	for pause := backoffMin; ; pause = min(2*pause, backoffMax) {
		reply, err := c.try(ctx, subject, payload)
		var refusal *Error
		switch {
		case err == nil:
			return reply, nil
		case errors.As(err, &refusal), final(err):
			return Reply{}, fmt.Errorf("coordinator: %s: %w", what, err)
		}
		if ctx.Err() == nil || last == nil { // an attempt cut short by ctx says less than the one before
			last = err
		}
		select {
		case <-ctx.Done():
			return Reply{}, fmt.Errorf("coordinator: %s: gave up: %w; the last attempt: %v", what, ctx.Err(), last)
		case <-time.After(pause):
		}
	}
}

// final reports whether trying again over the same connection is useless.
func final(err error) bool {
	return errors.Is(err, nats.ErrConnectionClosed) || errors.Is(err, nats.ErrInvalidConnection) ||
		errors.Is(err, nats.ErrMaxPayload) || errors.Is(err, nats.ErrConnectionDraining)
}

// errRetry wraps what went wrong in an attempt that is worth repeating.
func errRetry(node string, err error) error { return fmt.Errorf("ask coordinator %s: %w", node, err) }

// try asks the leader once, looking for it first if it is not known. A refusal is an *Error.
func (c *Client) try(ctx context.Context, subject func(group, node string) string, payload []byte) (Reply, error) {
	node, err := c.find(ctx)
	if err != nil {
		return Reply{}, err
	}
	once, cancel := context.WithTimeout(ctx, attempt)
	defer cancel()
	msg, err := c.nc.RequestWithContext(once, subject(c.group, node), payload)
	if err != nil {
		c.follow(node, "")
		return Reply{}, errRetry(node, err)
	}
	reply, err := DecodeReply(msg.Data)
	if err != nil {
		c.follow(node, "")
		return Reply{}, errRetry(node, errors.New(err.Error()))
	}
	if reply.Error == nil {
		return reply, nil
	}
	if reply.Error.Code == CodeNotLeader {
		c.follow(node, reply.Leader)
		return Reply{}, errRetry(node, errors.New(reply.Error.Message))
	}
	return reply, reply.Error
}

// follow replaces the cached leader from by to, unless another call has replaced it already.
func (c *Client) follow(from, to string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.leader != from {
		return
	}
	c.leader = ""
	if to != from && ValidToken(to) {
		c.leader = to
	}
}

// find returns the cached leader, or asks all nodes and takes the one that says it leads.
func (c *Client) find(ctx context.Context) (string, error) {
	c.mu.Lock()
	node := c.leader
	c.mu.Unlock()
	if node != "" {
		return node, nil
	}
	inbox := c.nc.NewInbox()
	sub, err := c.nc.SubscribeSync(inbox)
	if err != nil {
		return "", fmt.Errorf("look for the leader of group %s: %w", c.group, err)
	}
	defer sub.Unsubscribe() //nolint:errcheck // fails only on a closed connection
	if err := c.nc.PublishRequest(SubjectFind(c.group), inbox, nil); err != nil {
		return "", fmt.Errorf("look for the leader of group %s: %w", c.group, err)
	}
	return c.listen(ctx, sub)
}

// listen waits for the node that says it leads.
func (c *Client) listen(ctx context.Context, sub *nats.Subscription) (string, error) {
	var seen []string
	end := time.Now().Add(findWindow)
	for {
		window, cancel := context.WithDeadline(ctx, end)
		msg, err := sub.NextMsgWithContext(window)
		cancel()
		if err != nil {
			return "", c.leaderless(seen)
		}
		var hello Hello
		if len(msg.Data) == 0 || json.Unmarshal(msg.Data, &hello) != nil || !ValidToken(hello.ID) {
			continue // "no responders": a node may subscribe within the window
		}
		if hello.Leading {
			c.mu.Lock()
			c.leader = hello.ID
			c.mu.Unlock()
			return hello.ID, nil
		}
		if len(seen) == 0 {
			end = time.Now().Add(findSettle)
		}
		seen = append(seen, hello.ID)
	}
}

func (c *Client) leaderless(seen []string) error {
	if len(seen) == 0 {
		return fmt.Errorf("no coordinator of group %s answers on %s: is one running there, with the same group?", c.group, c.nc.ConnectedUrlRedacted())
	}
	return fmt.Errorf("coordinators %s of group %s answer, but none leads: a majority must run and reach each other",
		strings.Join(seen[:min(len(seen), nodesToName)], ", "), c.group)
}
