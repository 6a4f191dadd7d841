package dataset

import (
	"context"
	"errors"
)

// SynthConfig says what Synth makes. The same config gives the same set.
type SynthConfig struct {
	Classes     int    // training classes
	TestClasses int    // test classes; 0 means as many as Classes
	Images      int    // most images a class has; a class has Images-2 to Images, at least 2
	Side        int    // width and height, pixels
	Seed        uint64 // everything is drawn from it
}

// Synth makes a set of product-like images in dir, see SynthContext.
func Synth(dir string, cfg SynthConfig, progress func(done, total int)) error {
	return SynthContext(context.Background(), dir, cfg, progress)
}

// SynthContext is to be written.
func SynthContext(ctx context.Context, dir string, cfg SynthConfig, progress func(done, total int)) error {
	return errors.New("dataset: synth is not written yet")
}
