package api

// Limits of what is accepted from the wire.
const (
	MaxMessage = 1 << 20   // bytes of one message
	MaxRecipe  = 256 << 10 // bytes of Spec.Recipe
	MaxMetrics = 64 << 10  // bytes of Score.Metrics
	MaxShards  = 1 << 16
)
