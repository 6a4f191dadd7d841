package main

import (
	"encoding/json"
	"fmt"
	"io"
	"sort"
	"strings"
)

// event is one line of `go test -json` (see `go doc test2json`).
type event struct {
	Action     string
	Package    string
	ImportPath string
	Test       string
	Elapsed    float64
	Output     string
}

// Tally counts the results of a run and prints what failed. A test with subtests counts through
// its subtests: it is one more failure only when it fails and none of them did.
type Tally struct {
	out                     io.Writer
	open                    map[string]*pkg
	passed, failed, skipped int
	slowest                 []timing
}

// pkg is what is known of a package whose tests are still running.
type pkg struct {
	output  map[string][]string // by test; "" holds what belongs to none
	parents map[string]bool     // tests that have subtests
	broken  map[string]bool     // tests below which something has failed
	failed  int
}

type timing struct {
	name    string
	seconds float64
}

// NewTally returns a tally that prints to out.
func NewTally(out io.Writer) *Tally {
	return &Tally{out: out, open: map[string]*pkg{}}
}

// Line takes one line of output. What is not an event, such as the error of a broken build, is
// printed as it is.
func (t *Tally) Line(line []byte) {
	var e event
	if err := json.Unmarshal(line, &e); err != nil {
		fmt.Fprintf(t.out, "%s", line)
		return
	}
	switch {
	case e.Action == "build-output":
		fmt.Fprint(t.out, e.Output)
	case e.Package == "":
	case e.Test == "":
		t.packageEvent(e)
	default:
		t.testEvent(e)
	}
}

func (t *Tally) packageEvent(e event) {
	p := t.pkg(e.Package)
	switch e.Action {
	case "output":
		p.output[""] = append(p.output[""], e.Output)
	case "pass":
		fmt.Fprintf(t.out, "ok    %s  %.1fs\n", e.Package, e.Elapsed)
		delete(t.open, e.Package)
	case "skip":
		delete(t.open, e.Package)
	case "fail":
		t.packageFailed(e, p)
		delete(t.open, e.Package)
	}
}

// packageFailed prints what no finished test has printed: the output of tests that a panic or a
// time-out cut off, and the package's own lines. A package that fails without a failing test
// (build error, TestMain, panic) is one failure.
func (t *Tally) packageFailed(e event, p *pkg) {
	names := make([]string, 0, len(p.output))
	for name := range p.output {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		fmt.Fprint(t.out, strings.Join(p.output[name], ""))
	}
	if p.failed == 0 {
		t.failed++
	}
	fmt.Fprintf(t.out, "FAIL  %s  %.1fs\n", e.Package, e.Elapsed)
}

func (t *Tally) testEvent(e event) {
	p := t.pkg(e.Package)
	switch e.Action {
	case "run":
		for parent := parentOf(e.Test); parent != ""; parent = parentOf(parent) {
			p.parents[parent] = true
		}
	case "output":
		p.output[e.Test] = append(p.output[e.Test], e.Output)
	case "pass":
		t.done(p, e, &t.passed)
	case "skip":
		fmt.Fprintf(t.out, "skip  %s %s%s\n", e.Package, e.Test, reason(p.output[e.Test]))
		t.done(p, e, &t.skipped)
	case "fail":
		fmt.Fprint(t.out, strings.Join(p.output[e.Test], ""))
		p.parents[e.Test] = p.broken[e.Test]
		for parent := parentOf(e.Test); parent != ""; parent = parentOf(parent) {
			p.broken[parent] = true
		}
		p.failed++
		t.done(p, e, &t.failed)
	}
}

// done counts a finished test, unless its subtests already were.
func (t *Tally) done(p *pkg, e event, count *int) {
	delete(p.output, e.Test)
	if p.parents[e.Test] {
		return
	}
	*count++
	t.slowest = append(t.slowest, timing{e.Package + " " + e.Test, e.Elapsed})
}

// Close prints the slowest tests and the closing line, and returns the exit code of the whole: that
// of go test, or 1 if it said nothing of a failure that was seen, or if nothing ran.
func (t *Tally) Close(code int) int {
	sort.SliceStable(t.slowest, func(i, j int) bool { return t.slowest[i].seconds > t.slowest[j].seconds })
	for i, s := range t.slowest {
		if i == 5 || s.seconds < 5 {
			break
		}
		fmt.Fprintf(t.out, "slow  %s  %.1fs\n", s.name, s.seconds)
	}
	if code != 0 && t.failed == 0 {
		t.failed++
	}
	if t.passed+t.failed == 0 {
		fmt.Fprintln(t.out, "gotest: no test ran")
	}
	fmt.Fprintf(t.out, "%d passed, %d failed, %d skipped\n", t.passed, t.failed, t.skipped)
	if code == 0 && (t.failed > 0 || t.passed == 0) {
		return 1
	}
	return code
}

func (t *Tally) pkg(name string) *pkg {
	p := t.open[name]
	if p == nil {
		p = &pkg{output: map[string][]string{}, parents: map[string]bool{}, broken: map[string]bool{}}
		t.open[name] = p
	}
	return p
}

// parentOf returns the test that a subtest belongs to, or "" for a top-level test.
func parentOf(test string) string {
	i := strings.LastIndexByte(test, '/')
	if i < 0 {
		return ""
	}
	return test[:i]
}

// reason returns what a skipped test gave as its reason, from its output.
func reason(output []string) string {
	for _, line := range output {
		text := strings.TrimSpace(line)
		if text != "" && !strings.HasPrefix(text, "=== ") && !strings.HasPrefix(text, "--- ") {
			return ": " + text
		}
	}
	return ""
}
