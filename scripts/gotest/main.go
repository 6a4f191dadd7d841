// Command gotest runs `go test -json` with the arguments it is given and prints what a reader
// wants of it: one line for each package, the whole output of what failed, and as the last line the
// count of tests, for example "412 passed, 0 failed, 3 skipped". It exits with 1 if anything
// failed, and also if no test ran at all, so that a wrong pattern cannot pass for success.
package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
)

func main() {
	os.Exit(run(os.Args[1:], os.Stdout))
}

// run executes go test with args and returns the exit code.
func run(args []string, out io.Writer) int {
	cmd := exec.Command("go", append([]string{"test", "-json"}, args...)...)
	cmd.Stderr = os.Stderr
	events, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		fmt.Fprintf(out, "gotest: cannot run go test: %v\n", err)
		return 1
	}

	tally := NewTally(out)
	lines := bufio.NewReaderSize(events, 1<<20)
	for {
		line, err := lines.ReadBytes('\n')
		if len(line) > 0 {
			tally.Line(line)
		}
		if err != nil {
			break
		}
	}
	return tally.Close(exitCode(cmd.Wait()))
}

// exitCode turns the error of a finished command into its exit code.
func exitCode(err error) int {
	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit):
		return exit.ExitCode()
	default:
		return 1
	}
}
