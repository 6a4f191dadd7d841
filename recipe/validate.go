package recipe

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/metrixml/metrix/model"
)

// problem is what is wrong with a recipe.
type problem struct {
	keys []string // paths of the keys involved, the likeliest culprit first
	text string
}

// place says where the problem stands: at the first of its keys that an override gave, else at the
// first that the file gave.
func (p *problem) place(file string, given map[string]string) string {
	place := file
	for i := len(p.keys) - 1; i >= 0; i-- {
		where := given[p.keys[i]]
		if where != "" && (isOverride(where) || !isOverride(place)) {
			place = where
		}
	}
	return place
}

// Validate checks every field and the rules between fields. Its error is one sentence that names
// the key, its value and what it may be.
func (r *Recipe) Validate() error {
	if p := r.problem(); p != nil {
		return errors.New("recipe: " + p.text)
	}
	return nil
}

func (r *Recipe) problem() *problem {
	if p := checkFields(r, ""); p != nil {
		return p
	}
	for _, rule := range []func(*Recipe) *problem{
		microIsAShard, batchFitsShards, workersFitShards, batchFitsMemory, resizeCoversSize, synthFillsBatch,
		lossExists, batchHasPairs, mixIsPossible, memoryIsPossible, networkExists, minimumBelowPeak, engineHasPrecision, semiIsPossible,
	} {
		if p := rule(r); p != nil {
			return p
		}
	}
	return nil
}

// checkFields checks each field of a section by itself.
func checkFields(s section, path string) *problem {
	for _, f := range s.fields() {
		key := join(path, f.key)
		if sub, ok := f.value.(section); ok {
			if p := checkFields(sub, key); p != nil {
				return p
			}
		} else if f.ok != nil && !f.ok() {
			return &problem{[]string{key}, fmt.Sprintf("%s is %s; it must be %s", key, clip(encodeValue(f.value)), f.valid)}
		}
	}
	return nil
}

func batchFitsShards(r *Recipe) *problem {
	if b := r.Batch; b.Classes%b.Shards != 0 {
		return &problem{[]string{"batch.shards", "batch.classes"}, fmt.Sprintf(
			"batch.shards is %d; it must divide batch.classes, which is %d", b.Shards, b.Classes)}
	}
	return nil
}

// microIsAShard: the gradient cache embeds shard by shard, so a micro-batch is one.
func microIsAShard(r *Recipe) *problem {
	b, rows := r.Batch, r.rows()
	switch {
	case b.Micro == 0:
		return nil
	case rows%b.Micro != 0 || b.Classes%(rows/b.Micro) != 0:
		return &problem{[]string{"batch.micro", "batch.images", "batch.classes"}, fmt.Sprintf(
			"batch.micro is %d; it must cut the batch's %d rows into equal parts of whole classes, of which there are %d", b.Micro, rows, b.Classes)}
	case b.Shards != rows/b.Micro:
		return &problem{[]string{"batch.micro", "batch.shards"}, fmt.Sprintf(
			"batch.micro is %d and batch.shards %d; a micro-batch is a shard, so leave one of them out or set batch.shards to %d", b.Micro, b.Shards, rows/b.Micro)}
	case b.GradientCache != "on":
		return &problem{[]string{"batch.micro", "batch.gradient_cache"}, fmt.Sprintf(
			"batch.micro is %d; it needs batch.gradient_cache on, not off", b.Micro)}
	}
	return nil
}

func workersFitShards(r *Recipe) *problem {
	if r.Workers > r.Batch.Shards {
		return &problem{[]string{"workers", "batch.shards", "batch.classes"}, fmt.Sprintf(
			"workers is %d; it must be at most batch.shards, which is %d, since each worker owns a shard", r.Workers, r.Batch.Shards)}
	}
	return nil
}

func batchFitsMemory(r *Recipe) *problem {
	if rows := r.Batch.Classes * r.Batch.Images; rows > maxShards {
		return &problem{[]string{"batch.images", "batch.classes"}, fmt.Sprintf(
			"batch.classes x batch.images is %d rows; it must be at most %d, since the loss compares all pairs of them", rows, maxShards)}
	}
	return nil
}

func resizeCoversSize(r *Recipe) *problem {
	if r.Data.Resize < r.Data.Size {
		return &problem{[]string{"data.resize", "data.size"}, fmt.Sprintf(
			"data.resize is %d; it must be at least data.size, which is %d, since the crop is taken from it", r.Data.Resize, r.Data.Size)}
	}
	return nil
}

func networkExists(r *Recipe) *problem {
	m := r.Model
	spec := model.Spec{Arch: m.Arch, Side: r.Data.Size, Dim: m.Dim, Norm: m.Norm, Width: m.Width}
	if err := spec.Validate(); err != nil { // what is left after the fields: the side an architecture needs
		return &problem{[]string{"data.size", "model.arch"}, "data.size and model.arch do not go together: " +
			strings.TrimPrefix(err.Error(), "model: ")}
	}
	if spec.Cut = m.Cut; m.Cut != "" {
		if err := spec.Validate(); err != nil {
			return &problem{[]string{"model.cut", "model.arch"}, "model.cut is " + quote(m.Cut) + ": " + strings.TrimPrefix(err.Error(), "model: ")}
		}
		if r.Schedule.HeadOnlyEpochs > 0 {
			return &problem{[]string{"model.cut", "schedule.head_only_epochs"}, fmt.Sprintf(
				"model.cut is %s; it does not go with schedule.head_only_epochs, which is %s, since layers after the cut are part of the head",
				quote(m.Cut), number(r.Schedule.HeadOnlyEpochs))}
		}
	}
	return nil
}

func synthFillsBatch(r *Recipe) *problem {
	if n := r.Data.Synth.Classes; n > 0 && n < r.Batch.Classes {
		return &problem{[]string{"data.synth.classes", "batch.classes"}, fmt.Sprintf(
			"data.synth.classes is %d; it must be 0 for none, or at least batch.classes, which is %d", n, r.Batch.Classes)}
	}
	return nil
}

func minimumBelowPeak(r *Recipe) *problem {
	if r.Schedule.MinLR > r.Optimizer.LR {
		return &problem{[]string{"schedule.min_lr", "optimizer.lr"}, fmt.Sprintf(
			"schedule.min_lr is %s; it must be at most optimizer.lr, which is %s", number(r.Schedule.MinLR), number(r.Optimizer.LR))}
	}
	return nil
}

func engineHasPrecision(r *Recipe) *problem {
	able := map[string][]string{"bf16": {"onednn", "cuda", "auto"}, "tf32": {"cuda", "auto"}}
	names, special := able[r.Engine.Precision]
	if !special || slices.Contains(names, r.Engine.Name) {
		return nil
	}
	return &problem{[]string{"engine.precision", "engine.name"}, fmt.Sprintf("engine.precision is %s; it needs engine.name %s or %s, not %s",
		r.Engine.Precision, strings.Join(names[:len(names)-1], ", "), names[len(names)-1], r.Engine.Name)}
}
