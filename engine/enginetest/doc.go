// Package enginetest holds every implementation of engine.Engine to one contract.
//
// Run is the conformance suite: an engine's own test calls it with a function that opens the engine
// and with the tolerance its precision deserves; Losses holds nets that evaluate a loss themselves to
// package metrix. Reference is a slow engine of plain float64 loops, forward and backward, that says
// what is right; it is itself checked against finite differences. It computes every layer of package
// model except External, and serves as an engine in tests of packages that need one but not its speed.
package enginetest
