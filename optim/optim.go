package optim

import (
	"fmt"
	"slices"
)

// Group is the range [Lo, Hi) of the parameter block.
type Group struct {
	Lo, Hi      int
	LRScale     float64 // the group's learning rate is LRScale x the schedule's; > 0
	WeightDecay float64 // >= 0
}

// Range is the range [Lo, Hi) of the parameter block.
type Range struct{ Lo, Hi int }

// Named is a view of a part of an optimizer's state.
type Named struct {
	Name string
	Data []float32
}

// Optimizer applies gradients to parameters. It is used from one goroutine at a time.
type Optimizer interface {
	// Step updates the groups that lie in active, with learning rate lr, from grads (read only).
	// Groups outside active keep their parameters, their state and their own count of steps: a
	// frozen trunk's weights do not decay and its bias correction starts when it does. Params and
	// grads have the length given to New. A group that active cuts in two is an error, and then
	// nothing has changed.
	Step(params, grads []float32, lr float64, active Range) error
	// Block is the whole state in one block, shared with the optimizer: overwriting it restores
	// another optimizer's state of the same configuration, groups and length.
	Block() []float32
	// State names the parts of Block: one value per parameter each, and "steps" with the number
	// of updates of each group.
	State() []Named
}

// Config chooses an optimizer.
type Config struct {
	Name     string     // "adamw", "adam" or "sgd"
	Momentum float64    // of sgd, in [0, 1); the buffer is momentum x buffer + gradient
	Betas    [2]float64 // of adam and adamw, each in [0, 1)
	Eps      float64    // of adam and adamw, > 0
	Threads  int        // goroutines of a Step, >= 1
}

// DefaultConfig is AdamW with PyTorch's constants on one thread.
func DefaultConfig() Config {
	return Config{Name: "adamw", Momentum: 0.9, Betas: [2]float64{0.9, 0.999}, Eps: 1e-8, Threads: 1}
}

// Validate says which value is impossible.
func (c Config) Validate() error {
	inUnit := func(x float64) bool { return x >= 0 && x < 1 }
	switch {
	case !slices.Contains([]string{"adamw", "adam", "sgd"}, c.Name):
		return fmt.Errorf("optim: the optimizer is %q; it must be one of adamw, adam, sgd", c.Name)
	case !inUnit(c.Momentum):
		return fmt.Errorf("optim: momentum is %v; it must be at least 0 and below 1", c.Momentum)
	case !inUnit(c.Betas[0]) || !inUnit(c.Betas[1]):
		return fmt.Errorf("optim: betas are %v; each must be at least 0 and below 1", c.Betas)
	case !(c.Eps > 0):
		return fmt.Errorf("optim: eps is %v; it must be above 0", c.Eps)
	case c.Threads < 1:
		return fmt.Errorf("optim: threads is %d; it must be at least 1", c.Threads)
	}
	return nil
}

// Active returns the groups that a step of a range is about as indices [lo, hi). A range that cuts a
// group in two is an error.
func Active(groups []Group, active Range) (lo, hi int, err error) {
	lo, hi = len(groups), 0
	for i, g := range groups {
		switch {
		case g.Hi <= active.Lo || g.Lo >= active.Hi:
			continue
		case g.Lo < active.Lo || g.Hi > active.Hi:
			return 0, 0, fmt.Errorf("optim: step of [%d, %d) cuts group %d, which covers [%d, %d); a group moves as a whole",
				active.Lo, active.Hi, i, g.Lo, g.Hi)
		}
		lo, hi = min(lo, i), i+1
	}
	return min(lo, hi), hi, nil
}

// New returns an optimizer for n parameters with zero state. Groups must be in ascending order and
// cover [0, n) without gaps.
func New(c Config, n int, groups []Group) (Optimizer, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	if err := checkGroups(n, groups); err != nil {
		return nil, err
	}
	moments, rule := 2, newAdam
	if c.Name == "sgd" {
		moments, rule = 1, newSGD
	}
	f := flat{
		n: n, moments: moments, groups: slices.Clone(groups), threads: c.Threads,
		block: make([]float32, moments*n+len(groups)),
	}
	return rule(c, f), nil
}

func checkGroups(n int, groups []Group) error {
	next := 0
	for i, g := range groups {
		switch {
		case g.Lo != next || g.Hi <= g.Lo:
			return fmt.Errorf("optim: group %d covers [%d, %d); it must start at %d, where the one before ends, and not be empty", i, g.Lo, g.Hi, next)
		case !(g.LRScale > 0):
			return fmt.Errorf("optim: group %d has learning-rate scale %v; it must be above 0", i, g.LRScale)
		case !(g.WeightDecay >= 0):
			return fmt.Errorf("optim: group %d has weight decay %v; it must be at least 0", i, g.WeightDecay)
		}
		next = g.Hi
	}
	if next != n {
		return fmt.Errorf("optim: the groups cover %d of %d parameters; they must cover all", next, n)
	}
	return nil
}
