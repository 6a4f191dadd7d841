// Package matfile reads and writes the part of MATLAB's version 5 format that indexes of image
// collections use: numbers, one line of text, cells and structs.
//
// A file is a header of 128 bytes and one element for each variable, mostly compressed with zlib. An
// element is a tag (type and length, 8 bytes; or both and up to 4 bytes of data in 8) and its data,
// padded to 8 bytes. A variable is an element of type matrix, which holds elements in turn: flags
// with the class, dimensions, name, and then the numbers, the characters, or a matrix for each cell
// or field.
//
// # Invariants
//
// No input makes Read panic; what it may allocate is bounded by limits on the bytes of a file, before
// and after unpacking, and on the number of matrices. What it does not know (objects, functions,
// sparse matrices, text of several lines) it passes over as an Array of kind Other; what contradicts
// itself is an error.
package matfile
