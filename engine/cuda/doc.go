// Package cuda is the engine for NVIDIA GPUs: one card per process, convolutions by cuDNN, matrix
// products by cuBLAS, everything between them by kernels of its own.
//
// It is part of programs built with the tag gpu alone (make gpu). In all others Find says so.
package cuda
