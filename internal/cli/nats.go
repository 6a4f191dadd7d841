package cli

import (
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
)

// DefaultGroup names the coordinators that belong together.
const DefaultGroup = "metrix"

// ConnectNATS connects and keeps reconnecting for as long as the process lives: a NATS server that
// restarts must not end a run.
func ConnectNATS(url, name string, more ...nats.Option) (*nats.Conn, error) {
	options := []nats.Option{nats.Name(name), nats.MaxReconnects(-1), nats.ReconnectWait(100 * time.Millisecond), nats.Timeout(5 * time.Second)}
	nc, err := nats.Connect(url, append(options, more...)...)
	if err != nil {
		return nil, fmt.Errorf("cannot connect to NATS at %s (%w); is the server running, and is --nats right?", url, err)
	}
	return nc, nil
}
