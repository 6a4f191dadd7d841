// Package model describes networks as data.
package model

// Stage is one of the two parts of a network between which features can be mixed.
type Stage int

const (
	// Trunk maps images to features.
	Trunk Stage = iota
	// Head maps features to unit embeddings.
	Head
)
