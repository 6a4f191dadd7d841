package app

import (
	"fmt"
	"math"

	"github.com/metrixml/metrix/metrix"
	"github.com/metrixml/metrix/retrieval"
	"github.com/metrixml/metrix/run"
)

// dryTraffic is one collective of a step: the payload that a worker sends, without the 64 bytes of
// each frame. Workers that own more or fewer shards differ; the most is given. Integers count with all of
// their 8 bytes, fewer of which travel between machines.
type dryTraffic struct {
	What       string `json:"what"`
	Collective string `json:"collective"`
	Bytes      int64  `json:"bytes"`
	When       string `json:"when"` // "every step", or of what steps
	Estimate   bool   `json:"estimate,omitempty"`
}

// everyStep is when most collectives happen.
const everyStep = "every step"

// collective is one operation of the ring: parts[r] numbers belong to rank r.
type collective struct {
	what, name string
	size       int64 // bytes of a number
	parts      []int
}

// sent is what a rank sends: in an all-gather all parts but its successor's, which comes to it last;
// in a reduce-scatter all but its own. See package allreduce.
func (c collective) sent(rank int) int64 {
	total, kept := 0, c.parts[rank]
	for _, n := range c.parts {
		total += n
	}
	if c.name == allGather {
		kept = c.parts[(rank+1)%len(c.parts)]
	}
	return c.size * int64(total-kept)
}

const (
	allGather     = "all-gather"
	reduceScatter = "reduce-scatter"
	exchange      = "exchange"
)

// rowParts is the numbers of each rank's rows, width numbers a row.
func (p *dryPlan) rowParts(width int) []int {
	parts := make([]int, len(p.shards))
	for r, s := range p.shards {
		parts[r] = s.Count * p.shardRows() * width
	}
	return parts
}

// collectives are those of every step, in their order.
func (p *dryPlan) collectives() []collective {
	even := make([]int, len(p.shards))
	for r := range even {
		lo, hi := retrieval.Range(p.reduced(), run.Rank(r), len(even))
		even[r] = hi - lo
	}
	return []collective{
		{"embeddings", allGather, 4, p.rowParts(p.network.Dim)},
		{"embedding gradients", reduceScatter, 8, p.rowParts(p.network.Dim)},
		{"gradients", reduceScatter, 8, even},
		{"gradients", allGather, 4, even},
	}
}

// mixedCollectives are those that a step at a level adds.
func (p *dryPlan) mixedCollectives(level string) []collective {
	k := p.hardest(level)
	if k == 0 {
		return nil
	}
	parts := p.rowParts(k * p.network.Dim)
	return []collective{
		{"mixed embeddings", allGather, 4, parts},
		{"mixed embedding gradients", reduceScatter, 8, parts},
	}
}

// sentEveryStep is what a rank sends in a step that makes no mixed rows.
func (p *dryPlan) sentEveryStep(rank int) (bytes int64) {
	for _, c := range p.collectives() {
		bytes += c.sent(rank)
	}
	return bytes
}

// traffic lists the collectives of a step. A world of one sends nothing.
func (p *dryPlan) traffic() []dryTraffic {
	out := []dryTraffic{}
	add := func(cs []collective, when string) {
		for _, c := range cs {
			t := dryTraffic{What: c.what, Collective: c.name, When: when}
			for rank := range p.shards {
				t.Bytes = max(t.Bytes, c.sent(rank))
			}
			out = append(out, t)
		}
	}
	add(p.collectives(), everyStep)
	for _, level := range p.levels() {
		when := everyStep
		if p.recipe.Mix.Level == metrix.LevelRandom {
			when = fmt.Sprintf("steps that mix at %s level", level)
		}
		add(p.mixedCollectives(level), when)
		out = append(out, p.exchanges(level, when)...)
	}
	return out
}

// exchanges estimates what mixing sends from rank to rank: feature maps to where they are mixed, each
// once, and a gradient back for every mix; images where they are fetched. Which rows are partners
// follows from the embeddings; here each row is as likely as another to be somebody's hardest negative.
func (p *dryPlan) exchanges(level, when string) []dryTraffic {
	size, whats := 4.0, []string{"feature maps", "feature gradients"}
	switch {
	case level == metrix.LevelInput && p.recipe.Mix.Images == "fetch":
		whats = []string{"images"}
	case level != metrix.LevelFeature:
		return nil
	case p.recipe.Mix.Wire == "bfloat16":
		size = 2
	}
	var partners, mixes float64 // most of a rank that live elsewhere
	for _, s := range p.shards {
		own := float64(s.Count * p.shardRows())
		others := float64(p.sampler.Rows()) - own
		if others == 0 || p.recipe.Mix.Partners == "shard" {
			continue
		}
		drawn := own * float64(p.hardest(level)) * others / (own + others)
		mixes = max(mixes, drawn)
		partners = max(partners, others*(1-math.Pow(1-1/others, drawn)))
	}
	rows := map[string]float64{"images": partners, "feature maps": partners, "feature gradients": mixes}
	var out []dryTraffic
	for _, what := range whats {
		bytes := int64(math.Round(rows[what] * size * float64(p.width(level))))
		out = append(out, dryTraffic{What: what, Collective: exchange, Bytes: bytes, When: when, Estimate: true})
	}
	return out
}
