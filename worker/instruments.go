package worker

import (
	"context"
	"errors"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"
)

// scope names this package in metrics and traces.
const scope = "github.com/metrixml/metrix/worker"

// instruments are the metrics and traces of a worker. Without an installed provider they cost
// nothing.
type instruments struct {
	tracer      trace.Tracer
	steps       metric.Int64Counter
	images      metric.Int64Counter
	generations metric.Int64Counter
	ringBytes   metric.Int64Counter
	loss        metric.Float64Gauge
	recall      metric.Float64Gauge
	phase       metric.Float64Histogram
}

func newInstruments() (*instruments, error) {
	m := otel.Meter(scope)
	i := &instruments{tracer: otel.Tracer(scope)}
	var errs [7]error
	i.steps, errs[0] = m.Int64Counter("metrix.steps", metric.WithDescription("Training steps done by this worker."))
	i.images, errs[1] = m.Int64Counter("metrix.images", metric.WithDescription("Images trained on by this worker."))
	i.generations, errs[2] = m.Int64Counter("metrix.generations", metric.WithDescription("Memberships this worker has trained in."))
	i.ringBytes, errs[3] = m.Int64Counter("metrix.ring.sent", metric.WithUnit("By"), metric.WithDescription("Bytes sent to the next rank."))
	i.loss, errs[4] = m.Float64Gauge("metrix.loss", metric.WithDescription("Global loss of the last step."))
	i.recall, errs[5] = m.Float64Gauge("metrix.recall_at_1", metric.WithDescription("Recall@1 of the last evaluation, 0 to 1."))
	i.phase, errs[6] = m.Float64Histogram("metrix.step.phase.duration", metric.WithUnit("s"),
		metric.WithDescription("Seconds spent in one phase of a training step."),
		metric.WithExplicitBucketBoundaries(.0005, .001, .002, .005, .01, .02, .05, .1, .2, .5, 1, 2, 5, 10))
	return i, errors.Join(errs[:]...)
}

// span runs f inside a span of the trace.
func (i *instruments) span(ctx context.Context, name string, f func(context.Context) error, attrs ...attribute.KeyValue) error {
	ctx, s := i.tracer.Start(ctx, name, trace.WithAttributes(attrs...))
	defer s.End()
	err := f(ctx)
	if err != nil && !errors.Is(err, context.Canceled) {
		s.RecordError(err)
		s.SetStatus(codes.Error, err.Error())
	}
	return err
}
