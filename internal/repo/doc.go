// Package repo holds the tests of rules that concern the whole repository: which package may import
// which, what every package must explain, how long a file may get, what tests and libraries must
// not do, and that the documents name only what exists. There is no code here.
package repo
