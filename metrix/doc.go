// Package metrix computes the generalised mixup loss of deep metric learning; full text follows.
package metrix
