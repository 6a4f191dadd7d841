package telemetry

import (
	"context"
	"errors"
	"io"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel"
)

func get(t *testing.T, url string) (int, string) {
	t.Helper()
	resp, err := http.Get(url)
	require.NoError(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return resp.StatusCode, string(body)
}

func TestMetricsAndProbesAreServed(t *testing.T) {
	tel, err := Install(context.Background(), "test", "one")
	require.NoError(t, err)
	defer func() { require.NoError(t, tel.Shutdown()) }()
	counter, err := otel.Meter("m").Int64Counter("metrix.steps")
	require.NoError(t, err)
	counter.Add(context.Background(), 3)

	var ready error = errors.New("waiting for the coordinator")
	s, err := Serve("127.0.0.1:0", map[string]http.Handler{
		"/metrics": tel.Metrics,
		"/readyz":  OK(func() error { return ready }),
	})
	require.NoError(t, err)
	defer func() { require.NoError(t, s.Close()) }()

	code, body := get(t, "http://"+s.Addr()+"/metrics")
	require.Equal(t, 200, code)
	require.Regexp(t, `metrix_steps_total\{.*\} 3`, body)
	require.Contains(t, body, `service_name="metrix-test"`)

	code, body = get(t, "http://"+s.Addr()+"/readyz")
	require.Equal(t, 503, code)
	require.Contains(t, body, "waiting for the coordinator")
	ready = nil
	code, _ = get(t, "http://"+s.Addr()+"/readyz")
	require.Equal(t, 200, code)
}

func TestAddressInUseIsASentence(t *testing.T) {
	s, err := Serve("127.0.0.1:0", nil)
	require.NoError(t, err)
	defer s.Close()
	_, err = Serve(s.Addr(), nil)
	require.ErrorContains(t, err, "cannot listen on "+s.Addr())
	require.ErrorContains(t, err, "--http")
}
