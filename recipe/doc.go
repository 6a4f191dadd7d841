// Package recipe reads the one file that a run is.
//
// A recipe is strict YAML: an unknown key, a wrong type or an impossible value is one sentence with
// the line, the offending value and what it may be. What is left out has a default, so that the
// canonical form of a recipe names every key. Command lines change single keys with overrides
// ("optimizer.lr=1e-4"), which are held to the same rules.
//
// # Identity
//
// A run is a function of (recipe, seed) alone. Hash is what workers compare before they train
// together and what a checkpoint remembers: it covers everything that decides the parameters and
// leaves out what does not, namely how many workers there are, how many cores each uses, and where
// the data lies.
//
// # How it is built
//
// Each section of the file is a small struct that declares its fields once (key, variable, what it
// may be). Decoding, checking and encoding walk that declaration, so none of them can forget a key.
// The YAML library is used for syntax only: anchors, aliases, tags and documents of several parts
// are refused, and bytes, lines, tokens and depth are bounded before it parses, so that a hostile
// file costs at most a tenth of a second and a few megabytes.
package recipe
