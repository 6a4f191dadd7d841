// Package cli is what all binaries under cmd/ share: exit codes, signals, flags from the environment,
// the connection to NATS.
package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
)

// Exit codes of all binaries. deploy/k8s relies on ExitUsage: a Job must not retry it. It is that of
// sysexits.h, not 2, with which a Go program ends that panics.
const (
	ExitOK          = 0
	ExitFailure     = 1
	ExitUsage       = 64
	ExitInterrupted = 130
)

// usageError marks what retrying cannot mend: a wrong flag, recipe or data set.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// Usage marks err as one that the user must mend; nil stays nil.
func Usage(err error) error {
	if err == nil {
		return nil
	}
	return usageError{err}
}

// Main runs a command with the process's arguments and returns its exit code. An error is printed
// as one sentence.
func Main(cmd *cobra.Command) int {
	Prepare(cmd)
	err := cmd.ExecuteContext(context.Background())
	code := ExitCode(err)
	if code == ExitFailure || code == ExitUsage {
		fmt.Fprintf(os.Stderr, "%s: %s\n", cmd.Name(), Sentence(err))
	}
	return code
}

// Prepare makes errors ours to print and wrong flags usage errors.
func Prepare(cmd *cobra.Command) {
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	cmd.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return Usage(fmt.Errorf("%w; see '%s --help'", err, c.CommandPath()))
	})
}

// ExitCode is the code that an error ends the process with.
func ExitCode(err error) int {
	var u usageError
	switch {
	case err == nil:
		return ExitOK
	case errors.Is(err, ErrInterrupted):
		return ExitInterrupted
	case errors.As(err, &u), strings.HasPrefix(err.Error(), "unknown command"), strings.Contains(err.Error(), "arg(s)"), strings.HasPrefix(err.Error(), "required flag"):
		return ExitUsage
	}
	return ExitFailure
}

// Sentence is an error on one line.
func Sentence(err error) string {
	return strings.Join(strings.Fields(strings.ReplaceAll(err.Error(), "\n", "; ")), " ")
}

// ErrInterrupted is returned by commands that a signal ended.
var ErrInterrupted = errors.New("interrupted")

// Interrupts turns signals into requests. The first SIGINT or SIGTERM closes stop; the second
// cancels the context; after that signals have their default effect again. release gives the
// signals back and must be called.
func Interrupts(parent context.Context) (ctx context.Context, stop <-chan struct{}, release func()) {
	ctx, cancel := context.WithCancel(parent)
	signals := make(chan os.Signal, 4)
	stopped, quit, done := make(chan struct{}), make(chan struct{}), make(chan struct{})
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		defer close(done)
		for n := 0; ; n++ {
			select {
			case <-quit:
				return
			case <-signals:
			}
			if n == 0 {
				close(stopped)
				continue
			}
			cancel()
			signal.Stop(signals)
			return
		}
	}()
	return ctx, stopped, func() {
		signal.Stop(signals)
		close(quit)
		<-done
		cancel()
	}
}
