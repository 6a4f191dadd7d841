package coordinator

import (
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// stream is raft's view of the network: it accepts on one listener, says the address that the other
// nodes know, which may be a DNS name, and resolves names at every dial, because the address behind
// a pod's name changes when it restarts. It closes its connections with itself, so that nothing
// keeps reading from them.
type stream struct {
	net.Listener
	advertised address
	peers      map[string]string // id to host:port

	mu     sync.Mutex
	conns  map[net.Conn]struct{}
	closed bool
}

// address is host:port where host may be a name.
type address string

// Network names the protocol.
func (a address) Network() string { return "tcp" }

// String returns host:port.
func (a address) String() string { return string(a) }

// listen opens the raft port of the configuration.
func listen(cfg Config) (*stream, error) {
	l := cfg.Listener
	if l == nil {
		var err error
		if l, err = net.Listen("tcp", bindAddress(cfg.RaftAddr)); err != nil {
			return nil, fmt.Errorf("coordinator %s: listen for raft on %s: %w", cfg.ID, cfg.RaftAddr, err)
		}
	}
	own := cfg.Peers[cfg.ID]
	if own == "" {
		own = cfg.RaftAddr
	}
	if own == "" || cfg.Listener != nil && cfg.Peers[cfg.ID] == "" {
		own = l.Addr().String()
	}
	return &stream{Listener: l, advertised: address(own), peers: cfg.members(own), conns: make(map[net.Conn]struct{})}, nil
}

// bindAddress keeps an IP address or localhost, and replaces any other name by all interfaces.
func bindAddress(addr string) string {
	host, port, err := net.SplitHostPort(addr)
	if err != nil || host == "" || host == "localhost" || net.ParseIP(host) != nil {
		return addr
	}
	return net.JoinHostPort("", port)
}

// ServerAddr returns where a node is reached; raft falls back to what its log says.
func (s *stream) ServerAddr(id raft.ServerID) (raft.ServerAddress, error) {
	if addr, ok := s.peers[string(id)]; ok {
		return raft.ServerAddress(addr), nil
	}
	return "", fmt.Errorf("coordinator: node %s is not among the peers", id)
}

// Addr returns the address that the others know.
func (s *stream) Addr() net.Addr { return s.advertised }

// Accept waits for the next connection.
func (s *stream) Accept() (net.Conn, error) {
	conn, err := s.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return s.track(conn)
}

// Dial resolves the address anew and connects.
func (s *stream) Dial(addr raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	conn, err := net.DialTimeout("tcp", string(addr), timeout)
	if err != nil {
		return nil, err
	}
	return s.track(conn)
}

func (s *stream) track(conn net.Conn) (net.Conn, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, errors.Join(net.ErrClosed, conn.Close())
	}
	t := &tracked{Conn: conn, owner: s}
	s.conns[t] = struct{}{}
	return t, nil
}

// Close stops listening and ends all connections.
func (s *stream) Close() error {
	err := s.Listener.Close()
	s.mu.Lock()
	s.closed = true
	conns := s.conns
	s.conns = nil
	s.mu.Unlock()
	for conn := range conns {
		_ = conn.(*tracked).Conn.Close() // a connection that is broken already is closed as well
	}
	return err
}

// tracked is a connection that its stream forgets when it is closed.
type tracked struct {
	net.Conn
	owner *stream
}

// Close closes the connection.
func (t *tracked) Close() error {
	t.owner.mu.Lock()
	delete(t.owner.conns, t)
	t.owner.mu.Unlock()
	return t.Conn.Close()
}
