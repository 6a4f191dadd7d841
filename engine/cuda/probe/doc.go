// Package probe asks a machine what it has for the CUDA engine: the driver and its cards, cuDNN and
// cuBLAS. It loads the libraries at run time, so that a program built without GPU support can say what
// it is missing too.
package probe
