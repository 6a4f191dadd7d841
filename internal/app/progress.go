package app

import (
	"fmt"
	"io"
	"os"
	"time"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/metrixml/metrix/coordinator/api"
)

// printer writes what people read: to standard output, or to standard error where that is kept for
// one JSON object.
type printer struct {
	out      io.Writer
	terminal bool   // progress is drawn in place
	again    string // what a user does to go on with what was stopped
}

func newPrinter(cmd *cobra.Command, jsonOnly bool) *printer {
	p := &printer{out: cmd.OutOrStdout(), again: "give the same command with --resume"}
	if jsonOnly {
		p.out = cmd.ErrOrStderr()
	}
	if f, ok := p.out.(*os.File); ok {
		p.terminal = term.IsTerminal(int(f.Fd()))
	}
	return p
}

func (p *printer) line(format string, args ...any) { fmt.Fprintf(p.out, format+"\n", args...) }

// heading says what begins.
func (p *printer) heading(t *trial, workers int, data string) {
	r := t.recipe
	p.line("\n%s: %s", t.id, t.title)
	p.line("  %s, %d px, %d-d; batch %d classes x %d images in %d shards; %d worker processes; images from %s",
		r.Model.Arch, r.Data.Size, r.Model.Dim, r.Batch.Classes, r.Batch.Images, r.Batch.Shards, workers, data)
}

// lineInterval is how often progress is written where it cannot be drawn in place.
const lineInterval = 5 * time.Second

// bar is the live line of one trial. Methods are called from one goroutine.
type bar struct {
	say    *printer
	bar    *progressbar.ProgressBar
	begin  time.Time
	last   time.Time
	first  int64 // step at which this process began, for the time left
	score  string
	closed bool
}

func (p *printer) progress(t *trial) *bar {
	return &bar{say: p, begin: time.Now(), first: -1, bar: newBar(p, -1, "starting workers")}
}

func newBar(p *printer, total int64, text string) *progressbar.ProgressBar {
	if !p.terminal {
		return progressbar.DefaultSilent(total)
	}
	return progressbar.NewOptions64(total, progressbar.OptionSetWriter(p.out), progressbar.OptionSetDescription(text),
		progressbar.OptionFullWidth(), progressbar.OptionShowCount(), progressbar.OptionSetPredictTime(true),
		progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionClearOnFinish())
}

// update shows what the coordinator knows. total is the number of steps of the run.
func (b *bar) update(s *api.RunStatus, total int64) {
	if s == nil {
		return
	}
	step := int64(s.Step)
	if s.Last != nil {
		score := fmt.Sprintf("R@1 %.1f%%", 100*s.Last.RecallAt1)
		if score != b.score {
			b.score = score
			b.note(fmt.Sprintf("step %d: %s", s.Last.Step, score))
		}
	}
	if s.Phase != api.Running || step == 0 {
		return
	}
	if b.first < 0 {
		b.first, b.begin = step, time.Now()
	}
	text := fmt.Sprintf("loss %.4f", float64(s.Loss))
	if s.ImagesPerSecond > 0 { // known from the second step on
		text += fmt.Sprintf("  %.0f images/s", s.ImagesPerSecond)
	}
	if b.say.terminal {
		b.bar.ChangeMax64(total)
		b.bar.Describe(text)
		_ = b.bar.Set64(step)
		return
	}
	if time.Since(b.last) < lineInterval {
		return
	}
	b.last = time.Now()
	b.say.line("  step %d of %d  %s%s", step, total, text, b.left(step, total))
}

// left estimates the time to the end from the steps of this process; it is empty before there are any.
func (b *bar) left(step, total int64) string {
	done := step - b.first
	if done <= 0 {
		return ""
	}
	per := time.Since(b.begin) / time.Duration(done)
	return fmt.Sprintf("  %v left", (per * time.Duration(total-step)).Round(time.Second))
}

// note writes a line of its own above the live line.
func (b *bar) note(text string) {
	if b.say.terminal {
		_ = b.bar.Clear()
	}
	b.say.line("  %s", text)
}

func (b *bar) close() {
	if !b.closed && b.say.terminal {
		_ = b.bar.Clear()
	}
	b.closed = true
}
