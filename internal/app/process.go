package app

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
)

// supervisedEnv tells a child that its standard input is a leash: when it ends, the parent is gone
// and the child must go too. It works on every system and needs no polling.
const supervisedEnv = "METRIX_SUPERVISED"

// process is a supervised child.
type process struct {
	name  string
	slot  int // its number among the workers of this machine; a replacement has that of the one it replaces
	log   string
	cmd   *exec.Cmd
	leash io.WriteCloser
	tail  *tailWriter
	done  chan struct{}
	err   error
}

// startProcess starts this executable again with args. Its output goes to logDir/name.log.
func startProcess(name, logDir string, env, args []string) (*process, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("finding this program to start %s: %w", name, err)
	}
	if err := os.MkdirAll(logDir, 0o755); err != nil {
		return nil, fmt.Errorf("log folder: %w", err)
	}
	p := &process{name: name, log: filepath.Join(logDir, name+".log"), done: make(chan struct{})}
	file, err := os.OpenFile(p.log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return nil, fmt.Errorf("log of %s: %w", name, err)
	}
	p.tail = &tailWriter{to: file}
	p.cmd = exec.Command(exe, args...)
	p.cmd.Env = append(append(os.Environ(), env...), supervisedEnv+"=1")
	p.cmd.Stdout, p.cmd.Stderr = p.tail, p.tail
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // the terminal's Ctrl-C is the parent's to hand on
	if p.leash, err = p.cmd.StdinPipe(); err == nil {
		err = p.cmd.Start()
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("starting %s: %w", name, err), file.Close())
	}
	go func() {
		p.err = errors.Join(p.cmd.Wait(), file.Close())
		close(p.done)
	}()
	return p, nil
}

// code is the exit code of a process that is done, -1 if a signal ended it.
func (p *process) code() int { return p.cmd.ProcessState.ExitCode() }

// lastLine is the last line the process wrote.
func (p *process) lastLine() string { return p.tail.last() }

// stop asks the process to leave; kill ends it. Both are harmless once it is done.
func (p *process) stop() { _ = p.cmd.Process.Signal(syscall.SIGTERM) }
func (p *process) kill() { _ = p.cmd.Process.Kill() }

// tailWriter remembers the last line that passed through it.
type tailWriter struct {
	mu   sync.Mutex
	to   io.Writer
	line []byte
}

func (t *tailWriter) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if s := bytes.TrimSpace(b); len(s) > 0 {
		s = s[bytes.LastIndexByte(s, '\n')+1:]
		t.line = append(t.line[:0], s[:min(len(s), 2000)]...)
	}
	return t.to.Write(b)
}

func (t *tailWriter) last() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.line)
}

// leashed returns a channel that closes when the parent process is gone. In a process that was not
// started by another it never closes.
func leashed() <-chan struct{} {
	gone := make(chan struct{})
	if os.Getenv(supervisedEnv) == "" {
		return gone
	}
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		close(gone)
	}()
	return gone
}
