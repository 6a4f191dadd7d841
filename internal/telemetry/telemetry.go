// Package telemetry connects OpenTelemetry to the outside: metrics in the Prometheus text format on
// an HTTP port, traces by OTLP to whatever the standard OTEL_EXPORTER_OTLP_* environment variables
// name. Library packages use the OpenTelemetry API alone and never import this package.
package telemetry

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	otelprom "go.opentelemetry.io/otel/exporters/prometheus"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

// Telemetry is a process's installed providers.
type Telemetry struct {
	// Metrics serves the Prometheus text format.
	Metrics  http.Handler
	shutdown []func(context.Context) error
}

// Install sets the process's meter provider and, if an OTLP endpoint is configured, its tracer
// provider. service is "coordinator", "worker" or "metrix"; id tells instances apart.
func Install(ctx context.Context, service, id string) (*Telemetry, error) {
	res := resource.NewSchemaless(attribute.String("service.name", "metrix-"+service), attribute.String("service.instance.id", id))
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	exporter, err := otelprom.New(otelprom.WithRegisterer(registry))
	if err != nil {
		return nil, fmt.Errorf("telemetry: metrics: %w", err)
	}
	meters := sdkmetric.NewMeterProvider(sdkmetric.WithReader(exporter), sdkmetric.WithResource(res))
	otel.SetMeterProvider(meters)
	t := &Telemetry{
		Metrics:  promhttp.HandlerFor(registry, promhttp.HandlerOpts{}),
		shutdown: []func(context.Context) error{meters.Shutdown},
	}
	if os.Getenv("OTEL_EXPORTER_OTLP_ENDPOINT") == "" && os.Getenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") == "" {
		return t, nil
	}
	spans, err := otlptracehttp.New(ctx)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("telemetry: traces: %w", err), meters.Shutdown(ctx))
	}
	traces := sdktrace.NewTracerProvider(sdktrace.WithBatcher(spans), sdktrace.WithResource(res))
	otel.SetTracerProvider(traces)
	t.shutdown = append(t.shutdown, traces.Shutdown)
	return t, nil
}

// Shutdown flushes what is pending, at most for a few seconds: a collector that is away must not
// hold a finished run back.
func (t *Telemetry) Shutdown() error {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	var errs []error
	for _, f := range t.shutdown {
		errs = append(errs, f(ctx))
	}
	return errors.Join(errs...)
}

// Server answers probes and metric scrapes.
type Server struct {
	http *http.Server
	addr string
	done chan error
}

// Serve listens on addr ("host:port", port 0 for any). Handlers are added to the mux as they are.
func Serve(addr string, handlers map[string]http.Handler) (*Server, error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("cannot listen on %s for probes and metrics (%w); choose another address with --http", addr, err)
	}
	mux := http.NewServeMux()
	for path, h := range handlers {
		mux.Handle(path, h)
	}
	s := &Server{http: &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}, addr: l.Addr().String(), done: make(chan error, 1)}
	go func() { s.done <- s.http.Serve(l) }()
	return s, nil
}

// Addr is the address listened on.
func (s *Server) Addr() string { return s.addr }

// Close stops the server and waits for it.
func (s *Server) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	err := s.http.Shutdown(ctx)
	if e := <-s.done; !errors.Is(e, http.ErrServerClosed) {
		err = errors.Join(err, e)
	}
	return err
}

// OK answers 200 "ok" while check returns nil, 503 and the reason otherwise.
func OK(check func() error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if err := check(); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ok")
	})
}
