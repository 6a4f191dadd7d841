// Package experiments lists the experiments of the paper, and two that go beyond it, and writes the
// recipe of each: one file under recipes/, whose header says what it trains, which published number
// it reproduces, what it needs and how long it takes.
//
// The files are what people read and run; this table is what keeps them alike. A test compares the
// two, and `go test ./internal/experiments -update` writes the files after a change of the table.
// Scores and settings are published ones: published.go says where.
package experiments
