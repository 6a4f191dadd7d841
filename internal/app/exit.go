package app

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/metrixml/metrix/worker"
)

// Exit codes of all binaries. deploy/k8s relies on exitUsage: a Job must not retry it.
const (
	exitOK          = 0
	exitFailure     = 1
	exitUsage       = 2
	exitInterrupted = 130
)

// usageError marks what retrying cannot mend: a wrong flag, recipe or data set.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// usage marks err as one that the user must mend; nil stays nil.
func usage(err error) error {
	if err == nil {
		return nil
	}
	return usageError{err}
}

// Main runs a command with the process's arguments and returns its exit code. An error is printed
// as one sentence.
func Main(cmd *cobra.Command) int {
	prepare(cmd)
	err := cmd.ExecuteContext(context.Background())
	code := exitCode(err)
	if code == exitFailure || code == exitUsage {
		fmt.Fprintf(os.Stderr, "%s: %s\n", cmd.Name(), sentence(err))
	}
	return code
}

// prepare makes errors ours to print and wrong flags usage errors.
func prepare(cmd *cobra.Command) {
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	cmd.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return usage(fmt.Errorf("%w; see '%s --help'", err, c.CommandPath()))
	})
}

func exitCode(err error) int {
	var u usageError
	switch {
	case err == nil:
		return exitOK
	case errors.Is(err, worker.ErrStopped), errors.Is(err, errInterrupted):
		return exitInterrupted
	case errors.As(err, &u), strings.HasPrefix(err.Error(), "unknown command"), strings.Contains(err.Error(), "arg(s)"):
		return exitUsage
	}
	return exitFailure
}

// sentence is an error on one line.
func sentence(err error) string {
	return strings.Join(strings.Fields(strings.ReplaceAll(err.Error(), "\n", "; ")), " ")
}

// errInterrupted is returned by commands that a signal ended.
var errInterrupted = errors.New("interrupted")

// interrupts turns signals into requests. The first SIGINT or SIGTERM closes stop; the second
// cancels the context; after that signals have their default effect again. release gives the
// signals back and must be called.
func interrupts(parent context.Context) (ctx context.Context, stop <-chan struct{}, release func()) {
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
