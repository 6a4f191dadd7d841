package coordinator

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/metrixml/metrix/coordinator/api"
	"github.com/metrixml/metrix/run"
)

var update = flag.Bool("update", false, "rewrite testdata/*.txt with what the state answers now")

// TestTranscripts plays the scenarios of testdata: blocks of commands, "----", and what the state
// answers. Lines that begin with # explain. Run with -update to rewrite the answers.
//
//	create RUN HASH shards=4 [min=2] [resume]    finish RUN STEP
//	join RUN WORKER [weight=2] [host=h]          fail RUN REASON...
//	leave RUN WORKER                             commit RUN STEP PATH
//	expire RUN/WORKER...                         score RUN STEP RECALL
//	regroup RUN WORKER GENERATION REASON...      restore   (through a snapshot, into a new state)
//	show RUN                                     @ID COMMAND...   (with this command id)
func TestTranscripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			want, err := os.ReadFile(file)
			require.NoError(t, err)
			got := play(t, string(want))
			if *update {
				require.NoError(t, os.WriteFile(file, []byte(got), 0o644))
				return
			}
			require.Equal(t, string(want), got, "run with -update if the change is meant")
		})
	}
}

// play answers every block of a transcript anew.
func play(t *testing.T, text string) string {
	p := &player{t: t, state: &State{}}
	var out strings.Builder
	answering := false
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		switch {
		case line == "":
			answering = false
			out.WriteString("\n")
		case answering:
		case line == "----":
			answering = true
			out.WriteString("----\n" + p.flush())
		default:
			out.WriteString(line + "\n")
			if !strings.HasPrefix(line, "#") {
				p.do(line)
			}
		}
	}
	return out.String()
}

type player struct {
	t       *testing.T
	state   *State
	n       int
	answers strings.Builder
}

func (p *player) flush() string {
	defer p.answers.Reset()
	return p.answers.String()
}

func (p *player) do(line string) {
	p.n++
	id := fmt.Sprintf("c%d", p.n)
	if rest, ok := strings.CutPrefix(line, "@"); ok {
		id, line, _ = strings.Cut(rest, " ")
	}
	words := strings.Fields(line)
	switch words[0] {
	case "restore":
		b, err := p.state.Snapshot()
		require.NoError(p.t, err)
		p.state = &State{}
		require.NoError(p.t, p.state.Restore(b))
		return
	case "show":
		p.answers.WriteString(describe(p.state, run.ID(words[1])))
		return
	}
	result := p.state.Apply(p.command(id, words))
	switch {
	case result.Err != nil:
		fmt.Fprintf(&p.answers, "%s: %s\n", result.Err.Code, result.Err.Message)
	case result.Repeated:
		p.answers.WriteString("ok, as before\n")
	case len(result.Changed) == 0:
		p.answers.WriteString("ok\n")
	}
	for _, id := range result.Changed {
		p.answers.WriteString(render(p.state, id))
	}
}

func (p *player) command(id string, words []string) Command {
	cmd := Command{ID: id, Op: api.Op(words[0]), At: int64(p.n) * 1000}
	arg := func(i int) string {
		require.Greater(p.t, len(words), i, "%v needs more words", words)
		return words[i]
	}
	if cmd.Op == api.OpExpire {
		for _, pair := range words[1:] {
			cmd.Leases = append(cmd.Leases, p.lease(pair))
		}
		return cmd
	}
	cmd.Run = run.ID(arg(1))
	switch cmd.Op {
	case api.OpCreate:
		cmd.Spec = &api.Spec{Run: cmd.Run, Hash: arg(2), Recipe: []byte("recipe"),
			Shards: p.number(words, "shards"), MinWorkers: p.number(words, "min"), Resume: words[len(words)-1] == "resume"}
	case api.OpJoin:
		cmd.Member = &api.Member{Worker: arg(2), Host: option(words, "host"), Weight: float64(p.number(words, "weight"))}
	case api.OpLeave:
		cmd.Worker = arg(2)
	case api.OpRegroup:
		cmd.Worker, cmd.Generation, cmd.Reason = arg(2), run.Generation(p.parse(arg(3))), strings.Join(words[4:], " ")
	case api.OpCommit:
		cmd.Checkpoint = &api.Checkpoint{Step: run.Step(p.parse(arg(2))), Path: arg(3), Hash: "sum"}
	case api.OpScore:
		cmd.Score = &api.Score{Step: run.Step(p.parse(arg(2))), RecallAt1: p.parse(arg(3))}
	case api.OpFinish:
		cmd.Step = run.Step(p.parse(arg(2)))
	case api.OpFail:
		cmd.Reason = strings.Join(words[2:], " ")
	}
	return cmd
}

// lease finds the membership that RUN/WORKER or RUN/WORKER/JOINED names.
func (p *player) lease(pair string) api.Lease {
	parts := strings.Split(pair, "/")
	l := api.Lease{Run: run.ID(parts[0]), Worker: parts[1]}
	if len(parts) == 3 {
		l.Joined = uint64(p.parse(parts[2]))
		return l
	}
	for _, held := range p.state.Leases() {
		if held.Run == l.Run && held.Worker == l.Worker {
			return held
		}
	}
	return l
}

func (p *player) number(words []string, key string) int { return int(p.parse(option(words, key))) }

func (p *player) parse(s string) float64 {
	if s == "" {
		return 0
	}
	f, err := strconv.ParseFloat(s, 64)
	require.NoError(p.t, err)
	return f
}

func option(words []string, key string) string {
	for _, w := range words {
		if value, ok := strings.CutPrefix(w, key+"="); ok {
			return value
		}
	}
	return ""
}

// render writes a plan for people.
func render(s *State, id run.ID) string {
	p, ok := s.Plan(id)
	if !ok {
		return "no run " + string(id) + "\n"
	}
	out := fmt.Sprintf("%s %s, generation %d, revision %d: %s\n", p.Run, p.Phase, p.Generation, p.Revision, p.Reason)
	for _, m := range p.Members {
		if m.Rank == api.NoRank {
			out += fmt.Sprintf("  - %s\n", m.Worker)
			continue
		}
		out += fmt.Sprintf("  %d %s owns shards %d to %d\n", m.Rank, m.Worker, m.Shards.First, int(m.Shards.First)+m.Shards.Count-1)
	}
	return out
}

// describe adds what a plan does not say.
func describe(s *State, id run.ID) string {
	out := render(s, id)
	r := s.find(id)
	if r == nil {
		return out
	}
	out += fmt.Sprintf("  created at %d s, %s since %d s\n", r.Created/1000, r.Phase, r.Since/1000)
	if c := r.Checkpoint; c != nil {
		out += fmt.Sprintf("  checkpoint of step %d at %s\n", c.Step, c.Path)
	}
	if r.Best != nil {
		out += fmt.Sprintf("  best recall %g at step %d, last %g at step %d\n", r.Best.RecallAt1, r.Best.Step, r.Last.RecallAt1, r.Last.Step)
	}
	return out
}
