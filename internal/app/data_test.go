package app

import (
	"encoding/json"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/metrixml/metrix/dataset"
	"github.com/metrixml/metrix/internal/cli"
)

// A fixture of each published layout can be made, described and verified; compared with the set that
// it imitates, every count is a sentence and the command fails.
func TestDataInEveryPublishedLayout(t *testing.T) {
	for layout, name := range map[string]string{
		"sop": "Stanford Online Products", "cub": "CUB-200-2011", "cars": "Cars196", "inshop": "In-Shop Clothes Retrieval",
	} {
		dir := filepath.Join(t.TempDir(), layout)
		out, _, _, err := execute(NewMetrix(), "data", "synth", dir, "--layout", layout, "--classes", "3", "--images", "3", "--side", "16")
		require.NoError(t, err)
		require.Contains(t, out, "is ready")
		out, _, _, err = execute(NewMetrix(), "data", "info", dir)
		require.NoError(t, err)
		require.Contains(t, out, layout+" layout")
		out, _, _, err = execute(NewMetrix(), "data", "verify", dir)
		require.NoError(t, err)
		require.Contains(t, out, "the set can be used")

		out, _, code, err := execute(NewMetrix(), "data", "verify", dir, "--as", layout)
		require.ErrorContains(t, err, "is not "+name+" as published")
		require.Equal(t, 1, code)
		require.Contains(t, out, "train has 3 classes, ")
		require.Contains(t, out, " of "+name+"\n")
		out, _, _, err = execute(NewMetrix(), "data", "verify", dir, "--as", layout, "--json")
		require.Error(t, err)
		var r dataset.Report
		require.NoError(t, json.Unmarshal([]byte(out), &r))
		require.Equal(t, name, r.Published)
		require.GreaterOrEqual(t, len(r.Differences), 4)
	}
}

func TestDataRefusesWrongLayouts(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "set")
	require.NoError(t, dataset.Synth(dir, dataset.SynthConfig{Classes: 2, Images: 2, Side: 16}, nil))
	for want, args := range map[string][]string{
		"it must be sop, cub, cars or inshop":                          {"synth", dir + "2", "--layout", "coco"},
		"it must be as many as classes":                                {"synth", dir + "2", "--layout", "cars", "--test-classes", "7"},
		"use sop, cub, cars, inshop":                                   {"verify", dir, "--as", "coco"},
		"holds no images.txt and image_class_labels.txt":               {"verify", dir, "--as", "cub"},
		"unknown layout \"coco\"; use auto, sop, cub, cars, inshop, f": {"info", dir, "--layout", "coco"},
	} {
		_, _, code, err := execute(NewMetrix(), append([]string{"data"}, args...)...)
		require.ErrorContains(t, err, want)
		require.Equal(t, cli.ExitUsage, code, want)
	}
}
