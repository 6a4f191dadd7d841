package cuda

import (
	"fmt"
	"log/slog"
)

// Precision is what convolutions and matrix products compute in. Parameters, their gradients and the
// loss are single precision in all of them.
type Precision uint8

const (
	// F32 multiplies and adds in single precision.
	F32 Precision = iota
	// TF32 rounds the factors of a product to 10 bits of mantissa and adds in single precision.
	TF32
	// BF16 keeps activations and products' factors in bfloat16 and adds in single precision.
	BF16
)

// String is what a recipe calls the precision.
func (p Precision) String() string {
	switch p {
	case F32:
		return "f32"
	case TF32:
		return "tf32"
	case BF16:
		return "bf16"
	}
	return fmt.Sprintf("Precision(%d)", uint8(p))
}

// Options choose a card and how it computes.
type Options struct {
	// Device is the card, counted from 0 among those that CUDA_VISIBLE_DEVICES leaves visible.
	Device int
	// Precision of convolutions and products.
	Precision Precision
	// Graphs starts kernels by CUDA graphs where they can be captured, which frees the host's processor.
	Graphs bool
	// CacheDir keeps the convolution algorithms that were measured; empty means metrix in the user's
	// cache folder.
	CacheDir string
	// Logger hears what is found and chosen; nil means nobody.
	Logger *slog.Logger
}
