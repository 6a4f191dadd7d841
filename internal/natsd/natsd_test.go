package natsd_test

import (
	"bytes"
	"net"
	"strconv"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/metrixml/metrix/internal/natsd"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// One client in the process and one over TCP exchange a chunk of 1 MiB and its header.
func TestBothWaysCarryAChunk(t *testing.T) {
	s, err := natsd.Start(natsd.Options{})
	require.NoError(t, err)
	defer s.Close()
	inside, err := s.Connect()
	require.NoError(t, err)
	defer inside.Close()
	outside, err := nats.Connect(s.URL())
	require.NoError(t, err)
	defer outside.Close()

	sub, err := outside.SubscribeSync("chunk")
	require.NoError(t, err)
	require.NoError(t, outside.Flush())
	chunk := bytes.Repeat([]byte{1, 2, 3, 4}, 1<<18+16)
	require.NoError(t, inside.Publish("chunk", chunk))
	m, err := sub.NextMsg(10 * time.Second)
	require.NoError(t, err)
	assert.True(t, bytes.Equal(chunk, m.Data))
}

func TestPortTakenIsNamed(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	port := l.Addr().(*net.TCPAddr).Port
	_, err = natsd.Start(natsd.Options{Port: port})
	require.ErrorContains(t, err, "port "+strconv.Itoa(port))
}

func TestGivenPortIsUsedAndFreedByClose(t *testing.T) {
	s, err := natsd.Start(natsd.Options{})
	require.NoError(t, err)
	_, text, err := net.SplitHostPort(s.URL()[len("nats://"):])
	require.NoError(t, err)
	port, err := strconv.Atoi(text)
	require.NoError(t, err)
	require.NoError(t, s.Close())
	require.NoError(t, s.Close(), "a second Close is harmless")

	again, err := natsd.Start(natsd.Options{Port: port})
	require.NoError(t, err)
	assert.Equal(t, "nats://127.0.0.1:"+text, again.URL())
	require.NoError(t, again.Close())
}

func TestWithoutAPort(t *testing.T) {
	s, err := natsd.Start(natsd.Options{NoListen: true})
	require.NoError(t, err)
	defer s.Close()
	assert.Empty(t, s.URL())
	nc, err := s.Connect()
	require.NoError(t, err)
	defer nc.Close()
	require.NoError(t, nc.Flush())
}

func TestOptionsOutOfRange(t *testing.T) {
	for want, opt := range map[string]natsd.Options{
		"port 70000":       {Port: 70000},
		"maximal payload":  {MaxPayload: 10},
		"pending bytes":    {MaxPending: 10},
		"cannot listen on": {Host: "203.0.113.1"},
	} {
		_, err := natsd.Start(opt)
		assert.ErrorContains(t, err, want)
	}
}
