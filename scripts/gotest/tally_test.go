package main

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// play feeds events to a tally and returns what it printed and its exit code.
func play(t *testing.T, code int, events ...event) (string, int) {
	t.Helper()
	var out strings.Builder
	tally := NewTally(&out)
	for _, e := range events {
		line, err := json.Marshal(e)
		require.NoError(t, err)
		tally.Line(append(line, '\n'))
	}
	code = tally.Close(code)
	return out.String(), code
}

func lastLine(s string) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	return lines[len(lines)-1]
}

func TestSubtestsCountInsteadOfTheirParent(t *testing.T) {
	out, code := play(t, 0,
		event{Action: "run", Package: "p", Test: "A"},
		event{Action: "run", Package: "p", Test: "A/x"},
		event{Action: "run", Package: "p", Test: "A/y"},
		event{Action: "pass", Package: "p", Test: "A/x"},
		event{Action: "skip", Package: "p", Test: "A/y"},
		event{Action: "pass", Package: "p", Test: "A"},
		event{Action: "pass", Package: "p"})
	assert.Equal(t, "1 passed, 0 failed, 1 skipped", lastLine(out))
	assert.Zero(t, code)
}

func TestFailingOutputIsShownAndPassingOutputIsNot(t *testing.T) {
	out, code := play(t, 1,
		event{Action: "run", Package: "p", Test: "A"},
		event{Action: "output", Package: "p", Test: "A", Output: "want 1, got 2\n"},
		event{Action: "fail", Package: "p", Test: "A"},
		event{Action: "run", Package: "p", Test: "B"},
		event{Action: "output", Package: "p", Test: "B", Output: "chatter\n"},
		event{Action: "pass", Package: "p", Test: "B"},
		event{Action: "fail", Package: "p"})
	assert.Contains(t, out, "want 1, got 2")
	assert.NotContains(t, out, "chatter")
	assert.Equal(t, "1 passed, 1 failed, 0 skipped", lastLine(out))
	assert.Equal(t, 1, code)
}

func TestFailedSubtestIsOneFailure(t *testing.T) {
	out, _ := play(t, 1,
		event{Action: "run", Package: "p", Test: "A"},
		event{Action: "run", Package: "p", Test: "A/x"},
		event{Action: "fail", Package: "p", Test: "A/x"},
		event{Action: "fail", Package: "p", Test: "A"},
		event{Action: "fail", Package: "p"})
	assert.Equal(t, "0 passed, 1 failed, 0 skipped", lastLine(out))
}

func TestParentThatFailsByItselfIsAFailure(t *testing.T) {
	out, _ := play(t, 1,
		event{Action: "run", Package: "p", Test: "A"},
		event{Action: "run", Package: "p", Test: "A/x"},
		event{Action: "pass", Package: "p", Test: "A/x"},
		event{Action: "fail", Package: "p", Test: "A"},
		event{Action: "fail", Package: "p"})
	assert.Equal(t, "1 passed, 1 failed, 0 skipped", lastLine(out))
}

func TestTestCutOffByAPanicIsShownAndCounted(t *testing.T) {
	out, code := play(t, 1,
		event{Action: "run", Package: "p", Test: "A"},
		event{Action: "output", Package: "p", Test: "A", Output: "panic: boom\n"},
		event{Action: "fail", Package: "p"})
	assert.Contains(t, out, "panic: boom")
	assert.Equal(t, "0 passed, 1 failed, 0 skipped", lastLine(out))
	assert.Equal(t, 1, code)
}

func TestBrokenBuildIsShownAndCounted(t *testing.T) {
	out, code := play(t, 1,
		event{Action: "build-output", ImportPath: "p", Output: "undefined: x\n"},
		event{Action: "fail", Package: "p"})
	assert.Contains(t, out, "undefined: x")
	assert.Equal(t, "0 passed, 1 failed, 0 skipped", lastLine(out))
	assert.Equal(t, 1, code)
}

func TestNothingRunIsNotASuccess(t *testing.T) {
	out, code := play(t, 0, event{Action: "skip", Package: "p"})
	assert.Contains(t, out, "no test ran")
	assert.Equal(t, 1, code)
}

func TestLinesThatAreNoEventsArePrinted(t *testing.T) {
	var out strings.Builder
	tally := NewTally(&out)
	tally.Line([]byte("go: no such module\n"))
	code := tally.Close(1)
	assert.Contains(t, out.String(), "no such module")
	assert.Equal(t, 1, code)
	assert.Equal(t, "0 passed, 1 failed, 0 skipped", lastLine(out.String()))
}

func TestSkipGivesItsReason(t *testing.T) {
	out, _ := play(t, 0,
		event{Action: "run", Package: "p", Test: "A"},
		event{Action: "output", Package: "p", Test: "A", Output: "=== RUN   A\n"},
		event{Action: "output", Package: "p", Test: "A", Output: "    a_test.go:3: needs METRIX_SHARED\n"},
		event{Action: "skip", Package: "p", Test: "A"})
	assert.Contains(t, out, "skip  p A: a_test.go:3: needs METRIX_SHARED")
}
