package worker

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/metrixml/metrix/run"
)

func stepsOf(records []StepRecord) (steps []run.Step) {
	for _, r := range records {
		steps = append(steps, r.Step)
	}
	return steps
}

// stepsIn are the steps of a log's records.
func stepsIn(t *testing.T, out string) []run.Step {
	t.Helper()
	records, err := ReadJournal(out)
	require.NoError(t, err)
	return stepsOf(records)
}

// opened is a log whose writer goes on after step.
func opened(t *testing.T, out string, step run.Step, evaluated bool, last StepRecord) *journal {
	t.Helper()
	j, err := openJournal(out)
	require.NoError(t, err)
	require.NoError(t, j.goOn(step, evaluated, last))
	return j
}

// A rank that takes over, or resumes, finds lines of steps that are not done in its own state: each
// step must stand in the log once.
func TestJournalIsCutToWhatIsDone(t *testing.T) {
	out := t.TempDir()
	j := opened(t, out, 0, false, StepRecord{})
	require.NoError(t, j.write(StepRecord{Step: 0, Evaluation: &Evaluation{}}))
	for s := run.Step(1); s <= 4; s++ {
		require.NoError(t, j.write(StepRecord{Step: s, Loss: &Loss{Total: float64(s)}}))
	}
	require.NoError(t, j.write(StepRecord{Step: 4, Evaluation: &Evaluation{Step: 4}}))
	require.NoError(t, j.close())

	for _, c := range []struct {
		step      run.Step
		evaluated bool
		want      []run.Step
	}{
		{4, true, []run.Step{0, 1, 2, 3, 4, 4}},
		{4, false, []run.Step{0, 1, 2, 3, 4}},
		{2, false, []run.Step{0, 1, 2}},
	} {
		j := opened(t, out, c.step, c.evaluated, StepRecord{})
		require.NoError(t, j.close())
		require.Equal(t, c.want, stepsIn(t, out))
	}
}

func TestJournalSurvivesALineCutByACrash(t *testing.T) {
	out := t.TempDir()
	j := opened(t, out, 0, false, StepRecord{})
	require.NoError(t, j.write(StepRecord{Step: 1, Loss: &Loss{}}))
	require.NoError(t, j.close())
	f, err := os.OpenFile(journalPath(out), os.O_APPEND|os.O_WRONLY, 0)
	require.NoError(t, err)
	_, err = f.WriteString(`{"step":2,"lo`)
	require.NoError(t, err)
	require.NoError(t, f.Close())

	require.Equal(t, []run.Step{1}, stepsIn(t, out))
	j = opened(t, out, 1, false, StepRecord{})
	require.NoError(t, j.write(StepRecord{Step: 2, Loss: &Loss{}}))
	require.NoError(t, j.close())
	require.Equal(t, []run.Step{1, 2}, stepsIn(t, out))
}

func TestJournalTakesTheRecordItLacks(t *testing.T) {
	out := t.TempDir()
	for _, c := range []struct {
		step, last run.Step
		want       []run.Step
	}{
		{0, 0, nil},
		{1, 1, []run.Step{1}},
		{2, 1, []run.Step{1}},       // another step's record
		{4, 4, []run.Step{1}},       // more is missing: the log lies elsewhere
		{2, 2, []run.Step{1, 2}},    // what this is for
		{2, 2, []run.Step{1, 2}},    // once
		{3, 3, []run.Step{1, 2, 3}}, // and again
	} {
		j := opened(t, out, c.step, false, StepRecord{Step: c.last, Loss: &Loss{}})
		require.NoError(t, j.close())
		require.Equal(t, c.want, stepsIn(t, out))
	}
}

// A rank 0 that lost the coordinators' sight writes no more once another has taken its place.
func TestAWriterThatWasReplacedDoesNoHarm(t *testing.T) {
	out := t.TempDir()
	replaced := opened(t, out, 0, false, StepRecord{})
	require.NoError(t, replaced.write(StepRecord{Step: 1, Generation: 1, Loss: &Loss{}}))
	writer := opened(t, out, 1, false, StepRecord{})
	for s := run.Step(2); s <= 3; s++ {
		require.ErrorIs(t, replaced.write(StepRecord{Step: s, Generation: 1, Loss: &Loss{}}), errReplaced)
		require.NoError(t, writer.write(StepRecord{Step: s, Generation: 2, Loss: &Loss{}}))
	}
	require.NoError(t, replaced.close())
	records, err := ReadJournal(out)
	require.NoError(t, err)
	require.Equal(t, []run.Step{1, 2, 3}, stepsOf(records))
	require.EqualValues(t, 2, records[2].Generation)
	require.NoFileExists(t, journalPath(out)+".tmp")
	require.NoError(t, os.Remove(journalPath(out)))
	require.ErrorIs(t, writer.write(StepRecord{Step: 4}), errReplaced)
	require.NoError(t, writer.close())
}
