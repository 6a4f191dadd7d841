// Package checkpoint keeps the state of a run on disk.
//
// A checkpoint is a folder, step-00000100 for the state after 100 updates, with one safetensors
// file per group of tensors (model, optimizer, ...) and manifest.json, which names the run and its
// recipe and holds the size and SHA-256 of every file.
//
// # Whole or not at all
//
// Save writes into a temporary folder beside the others, syncs every file and the folder to the
// disk, and only then renames it to its name, which the file system does at once. Whatever stops a
// save (a full disk, a killed process, a power cut) leaves at most a temporary folder, which Latest
// does not look at and a later Save removes. Deleting an old checkpoint goes the other way round:
// it is renamed away first.
//
// # Trust
//
// A checkpoint may come from anywhere. Reading checks everything before it believes it: sizes
// against the file, headers against sizes, hashes against contents, names against a short alphabet,
// and allocates no more than a small multiple of the bytes that are really there. The reader is our
// own because the module at hand wants the file in memory twice over, decodes the header into a
// generic tree of ten times its size, and lets a name stand for two tensors.
package checkpoint
