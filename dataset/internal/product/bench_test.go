package product

import (
	"testing"

	random "github.com/metrixml/metrix/internal/draw"
)

func BenchmarkPhotograph(b *testing.B) {
	for i := uint64(0); b.Loop(); i++ {
		p := New(int(i)%len(Kinds()), random.Of(1, random.Synth, i))
		p.Photograph(64, random.Of(1, random.Synth, i, 1))
	}
}
