package app

import (
	"errors"
	"fmt"
	"log/slog"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/metrixml/metrix/engine/cuda"
	"github.com/metrixml/metrix/internal/cli"
	"github.com/metrixml/metrix/recipe"
)

func TestAutoTakesTheFirstEngineThatCanBeUsed(t *testing.T) {
	silent := slog.New(slog.DiscardHandler)
	eng, faster, err := findEngine(recipe.Engine{Name: "auto", Precision: "f32"}, rankDevice, silent)
	require.NoError(t, err, "the portable engine is always there")
	require.Equal(t, engineNames[len(faster)], eng.Name())
	for i, s := range faster {
		require.Equal(t, engineNames[i], s.name)
		require.Error(t, s.reason)
		_, err := openNamed(s.name, "f32", rankDevice, silent)
		require.Error(t, err, "auto skipped an engine that can be used")
	}
	_, _, err = findEngine(recipe.Engine{Name: "cudnn", Precision: "f32"}, rankDevice, silent)
	require.ErrorContains(t, err, "use auto, cuda, onednn or gorgonia")
}

// Processes of a host take the cards in turn, as those of torchrun do.
func TestEachRankTakesItsCard(t *testing.T) {
	four := func() int { return 4 }
	for rank, want := range map[string]int{"": 0, "0": 0, "3": 3, "4": 0, "9": 1} {
		got, err := deviceOfRank(rank, four)
		require.NoError(t, err)
		require.Equal(t, want, got, "rank %q", rank)
	}
	got, err := deviceOfRank("2", func() int { return 0 })
	require.NoError(t, err, "that there is no card is for the engine to say")
	require.Zero(t, got)
	for _, wrong := range []string{"first", "-1", "1.5"} {
		_, err := deviceOfRank(wrong, four)
		require.ErrorContains(t, err, envLocalRank)
	}
}

// A machine whose card or driver has failed must not stop a Job for good, as a wrong recipe does.
func TestAFailedMachineIsNotTheUsersMistake(t *testing.T) {
	for _, failure := range []cuda.Failure{cuda.Lost, cuda.Unavailable} {
		err := fmt.Errorf("opening: %w", &cuda.Error{Failure: failure, Sentence: "the card does not answer"})
		require.Equal(t, cli.ExitFailure, cli.ExitCode(engineError(err)))
	}
	tooSmall := &cuda.Error{Failure: cuda.OutOfMemory, Sentence: "the card is too small"}
	for _, err := range []error{cuda.ErrNotBuilt, errors.New("no such precision"), tooSmall} {
		require.Equal(t, cli.ExitUsage, cli.ExitCode(engineError(err)))
	}
}
