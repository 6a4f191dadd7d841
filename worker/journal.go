package worker

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/metrixml/metrix/run"
)

// StepRecord is one line of steps.jsonl.
type StepRecord struct {
	Step            run.Step    `json:"step"` // updates done, including this one
	Epoch           int         `json:"epoch"`
	Loss            *Loss       `json:"loss,omitempty"`
	LearningRate    float64     `json:"learning_rate,omitempty"`
	MixLevel        string      `json:"mix_level,omitempty"` // where this step mixed, and which pairs
	MixPairs        string      `json:"mix_pairs,omitempty"`
	Lambda          float64     `json:"lambda,omitempty"`
	ImagesPerSecond float64     `json:"images_per_second,omitempty"`
	Generation      uint64      `json:"generation"`
	Workers         int         `json:"workers"`
	SentBytes       int64       `json:"sent_bytes,omitempty"`  // by rank 0 since the record before,
	SentFrames      int64       `json:"sent_frames,omitempty"` // in frames, whose headers are in the bytes
	Evaluation      *Evaluation `json:"evaluation,omitempty"`
}

// journal is the step log of a run, one JSON object a line. Only rank 0 holds one open.
type journal struct {
	path string
	file *os.File // a rename gave it its path
	buf  *bufio.Writer
}

// journalPath is the step log of an output folder.
func journalPath(out string) string { return filepath.Join(out, "steps.jsonl") }

// openJournal makes the log this writer's: a new file with the lines of the old one. A rank 0 of an earlier
// generation that still trains, cut off from the coordinators, learns by it that it was replaced
// (errReplaced).
func openJournal(out string) (*journal, error) {
	path := journalPath(out)
	if err := os.MkdirAll(out, 0o755); err != nil {
		return nil, fmt.Errorf("worker: output folder: %w", err)
	}
	f, err := os.Create(path + ".tmp")
	if err != nil {
		return nil, fmt.Errorf("worker: step log: %w", err)
	}
	old, err := os.Open(path)
	if err == nil {
		_, err = io.Copy(f, old)
		err = errors.Join(err, old.Close())
	} else if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("worker: step log %s: %w", path, err), f.Close(), os.Remove(f.Name()))
	}
	return &journal{path: path, file: f, buf: bufio.NewWriter(f)}, nil
}

// goOn prepares the log for what follows step: lines of later steps, left by a rank that died after
// writing them, are cut off, so that each step stands there once. evaluated says whether an evaluation of
// step is behind us, too. Should the log end one step before step, because its writer died or fell
// behind in between the update and the line, then last, the record of step, is written.
func (j *journal) goOn(step run.Step, evaluated bool, last StepRecord) error {
	keep, end, err := lengthUpTo(j.file, step, evaluated)
	if err == nil {
		err = j.file.Truncate(keep)
	}
	if err == nil {
		_, err = j.file.Seek(keep, io.SeekStart)
	}
	if err != nil {
		return fmt.Errorf("worker: step log %s: %w", j.path, err)
	}
	if end == step-1 && last.Step == step {
		return j.write(last)
	}
	return nil
}

// lengthUpTo returns the length of the leading lines of a log that belong to what is done, and the step of
// the last of them.
func lengthUpTo(f *os.File, step run.Step, evaluated bool) (length int64, end run.Step, err error) {
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return 0, 0, err
	}
	r := bufio.NewReader(f)
	for {
		line, err := r.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return length, end, nil // a line without its end was cut off by a crash
		}
		if err != nil {
			return 0, 0, err
		}
		var rec StepRecord
		if json.Unmarshal(line, &rec) != nil || rec.Step > step || rec.Step == step && rec.Evaluation != nil && !evaluated {
			return length, end, nil
		}
		length += int64(len(line))
		end = rec.Step
	}
}

// errReplaced ends the generation of a rank 0 in whose output folder another one writes: this worker has
// lost the coordinators' sight, and its shards have gone to others.
var errReplaced = errors.New("another worker writes it by now, as rank 0 of a later generation, or it was deleted")

// write appends one record. The line reaches the file at once: a log is there to be followed. A rank 0
// writes checkpoints and results after a line, so that one which was replaced comes to none of them.
func (j *journal) write(rec StepRecord) error {
	if err := j.check(); err != nil {
		return fmt.Errorf("worker: step log %s: %w", j.path, err)
	}
	line, err := json.Marshal(rec)
	if err != nil {
		return err
	}
	j.buf.Write(line)
	j.buf.WriteByte('\n')
	if err := j.buf.Flush(); err != nil {
		return fmt.Errorf("worker: step log %s: %w", j.path, err)
	}
	return nil
}

// check returns errReplaced if the log is another file by now, or gone.
func (j *journal) check() error {
	there, err := os.Stat(j.path)
	if errors.Is(err, fs.ErrNotExist) {
		return errReplaced
	}
	if err != nil {
		return err
	}
	mine, err := j.file.Stat()
	if err == nil && !os.SameFile(there, mine) {
		err = errReplaced
	}
	return err
}

func (j *journal) close() error { return errors.Join(j.buf.Flush(), j.file.Close()) }

// ReadJournal reads the step log of an output folder.
func ReadJournal(out string) ([]StepRecord, error) {
	f, err := os.Open(journalPath(out))
	if err != nil {
		return nil, fmt.Errorf("worker: step log: %w", err)
	}
	defer f.Close()
	var records []StepRecord
	for dec := json.NewDecoder(f); ; {
		var rec StepRecord
		switch err := dec.Decode(&rec); {
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			return records, nil
		case err != nil:
			return nil, fmt.Errorf("worker: step log %s, record %d: %w", f.Name(), len(records)+1, err)
		}
		records = append(records, rec)
	}
}
