package coordinator

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/hashicorp/raft"
)

// startHTTP serves the probes and the configured handlers, if an address is given.
//
//	/healthz  200 while the process serves HTTP
//	/readyz   200 once raft runs and NATS is connected; needs no quorum, since a group that starts
//	          can only reach one when its nodes are let in
func (n *Node) startHTTP() error {
	if n.cfg.HTTPAddr == "" {
		return nil
	}
	listener, err := net.Listen("tcp", n.cfg.HTTPAddr)
	if err != nil {
		return fmt.Errorf("coordinator %s: listen for HTTP on %s: %w", n.cfg.ID, n.cfg.HTTPAddr, err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { say(w, http.StatusOK, "ok") })
	mux.HandleFunc("GET /readyz", n.ready)
	for path, handler := range n.cfg.Handlers {
		mux.Handle(path, handler)
	}
	n.http = &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second, IdleTimeout: time.Minute}
	n.httpAddr = listener.Addr().String()
	n.goDo(func() {
		if err := n.http.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			select {
			case n.failure <- fmt.Errorf("coordinator %s: serve HTTP: %w", n.cfg.ID, err):
			default:
			}
		}
	})
	return nil
}

func (n *Node) ready(w http.ResponseWriter, _ *http.Request) {
	switch {
	case n.raft.State() == raft.Shutdown:
		say(w, http.StatusServiceUnavailable, "raft is shut down")
	case !n.cfg.NATS.IsConnected():
		say(w, http.StatusServiceUnavailable, "NATS is not connected")
	default:
		say(w, http.StatusOK, "ready")
	}
}

// stopHTTP lets requests in progress finish, for a second.
func (n *Node) stopHTTP() error {
	if n.http == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if err := n.http.Shutdown(ctx); err != nil {
		return n.http.Close()
	}
	return nil
}

func say(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write([]byte(text + "\n")) // a prober that hung up wants no answer
}
