// Package app is what the binaries under cmd/ run: commands, flags, signals, exit codes and the
// supervision of worker processes on one machine. It is the only place, beside cmd/, that names an
// engine implementation.
package app
