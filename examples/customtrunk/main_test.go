package main

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

// The user's graph learns through the project's engine: the loss falls to near its least value, -1.
func TestTrains(t *testing.T) {
	defer goleak.VerifyNone(t)
	first, last, err := train(steps)
	require.NoError(t, err)
	t.Logf("loss %.3f before, %.3f after %d steps", first, last, steps)
	assert.Greater(t, first, -0.6)
	assert.Less(t, last, -0.8)
}
