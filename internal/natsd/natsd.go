package natsd

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// Options say how the server runs. The zero value listens on a free port of 127.0.0.1.
type Options struct {
	Host string // address to listen on; empty is 127.0.0.1
	Port int    // TCP port; 0 or -1 takes a free one
	Name string // server name; empty lets the server choose

	// MaxPayload is the largest message in bytes, 4096..64 MiB; 0 is 2 MiB, which holds a chunk of
	// 1 MiB and its header.
	MaxPayload int

	// MaxPending is how many bytes may wait for one client before the server drops it; 0 is 256 MiB.
	// A ring needs Window * ChunkBytes for each peer that sends to the client.
	MaxPending int64

	// NoListen opens no port: only clients of this process can connect.
	NoListen bool

	// Ready bounds the time to start; 0 is 10 s.
	Ready time.Duration
}

// Server is a running server.
type Server struct {
	srv   *server.Server
	close sync.Once
}

// Start starts a server and waits until clients can connect.
func Start(opt Options) (*Server, error) {
	opt, err := opt.complete()
	if err != nil {
		return nil, err
	}
	if err := opt.checkPort(); err != nil {
		return nil, err
	}
	srv, err := server.NewServer(&server.Options{
		ServerName: opt.Name,
		Host:       opt.Host,
		Port:       opt.Port,
		DontListen: opt.NoListen,
		MaxPayload: int32(opt.MaxPayload),
		MaxPending: opt.MaxPending,
		NoSigs:     true,
		NoLog:      true,
	})
	if err != nil {
		return nil, fmt.Errorf("nats server: configure: %w", err)
	}
	failures := new(recorder)
	srv.SetLoggerV2(failures, false, false, false)
	srv.Start()
	s := &Server{srv: srv}
	if !srv.ReadyForConnections(opt.Ready) {
		err := fmt.Errorf("nats server: not ready on %s after %v: %w", opt.address(), opt.Ready, failures.err())
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// URL is the address for clients of other processes, empty with NoListen.
func (s *Server) URL() string {
	addr := s.srv.Addr()
	if addr == nil {
		return ""
	}
	return "nats://" + addr.String()
}

// InProcess is the option of nats.Connect that reaches the server without a socket, at less than
// half the cost per byte of TCP.
func (s *Server) InProcess() nats.Option { return nats.InProcessServer(s.srv) }

// Connect opens a connection of this process to the server.
func (s *Server) Connect(options ...nats.Option) (*nats.Conn, error) {
	nc, err := nats.Connect("", append(options, s.InProcess())...)
	if err != nil {
		return nil, fmt.Errorf("nats server: connect in process: %w", err)
	}
	return nc, nil
}

// Close stops the server, drops its clients and waits until it is gone. It may be called several
// times; the error is always nil.
func (s *Server) Close() error {
	s.close.Do(func() {
		s.srv.Shutdown()
		s.srv.WaitForShutdown()
	})
	return nil
}

// complete fills in defaults and checks ranges.
func (o Options) complete() (Options, error) {
	if o.Host == "" {
		o.Host = "127.0.0.1"
	}
	if o.Port == 0 {
		o.Port = server.RANDOM_PORT
	}
	if o.MaxPayload == 0 {
		o.MaxPayload = 2 << 20
	}
	if o.MaxPending == 0 {
		o.MaxPending = 256 << 20
	}
	if o.Ready == 0 {
		o.Ready = 10 * time.Second
	}
	switch {
	case o.Port < -1 || o.Port > 65535:
		return o, fmt.Errorf("nats server: port %d is outside 0..65535", o.Port)
	case o.MaxPayload < 4096 || o.MaxPayload > 64<<20:
		return o, fmt.Errorf("nats server: a maximal payload of %d bytes is outside 4096..%d", o.MaxPayload, 64<<20)
	case o.MaxPending < int64(o.MaxPayload):
		return o, fmt.Errorf("nats server: %d pending bytes do not hold one payload of %d", o.MaxPending, o.MaxPayload)
	}
	return o, nil
}

func (o Options) address() string { return net.JoinHostPort(o.Host, strconv.Itoa(max(o.Port, 0))) }

// checkPort says in time, and in a sentence, that the port cannot be had; the server itself would
// only not become ready.
func (o Options) checkPort() error {
	if o.NoListen {
		return nil
	}
	l, err := net.Listen("tcp", o.address())
	if err != nil {
		return fmt.Errorf("nats server: cannot listen on %s: another program may have port %d, choose another or 0 for a free one: %w", o.Host, max(o.Port, 0), err)
	}
	return l.Close()
}

// recorder is a server.Logger that keeps errors and drops everything else.
type recorder struct {
	mu   sync.Mutex
	errs []error
}

func (r *recorder) err() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.errs) == 0 {
		return errors.New("it gave no reason")
	}
	return errors.Join(r.errs...)
}

// keepErrors bounds what a recorder remembers.
const keepErrors = 8

func (r *recorder) Errorf(format string, v ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.errs) < keepErrors {
		r.errs = append(r.errs, fmt.Errorf(format, v...))
	}
}

func (r *recorder) Fatalf(format string, v ...any) { r.Errorf(format, v...) }
func (r *recorder) Noticef(string, ...any)         {}
func (r *recorder) Warnf(string, ...any)           {}
func (r *recorder) Debugf(string, ...any)          {}
func (r *recorder) Tracef(string, ...any)          {}
