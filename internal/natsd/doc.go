// Package natsd runs a NATS server inside this process, set up for a ring: frames of about a MiB
// fit, nothing is written to the terminal and no signal is caught. Clients in the process connect
// without a socket, others through URL.
package natsd
