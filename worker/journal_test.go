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
		records, err := ReadJournal(out)
		require.NoError(t, err)
		require.Equal(t, c.want, stepsOf(records))
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

	records, err := ReadJournal(out)
	require.NoError(t, err)
	require.Equal(t, []run.Step{1}, stepsOf(records))
	j = opened(t, out, 1, false, StepRecord{})
	require.NoError(t, j.write(StepRecord{Step: 2, Loss: &Loss{}}))
	require.NoError(t, j.close())
	records, err = ReadJournal(out)
	require.NoError(t, err)
	require.Equal(t, []run.Step{1, 2}, stepsOf(records))
}
