package recipe

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestEmptyRecipeIsTheDefault(t *testing.T) {
	r, err := Parse("x.yaml", nil, nil)
	require.NoError(t, err)
	require.Equal(t, Default(), r)
	require.NoError(t, r.Validate())
}

func TestCanonicalReadsBackTheSame(t *testing.T) {
	r := Default()
	r.Data.Path = `a "b" \ ü: #`
	r.Model.Pretrained = ""
	again, err := Parse("canonical", r.Canonical(), nil)
	require.NoError(t, err)
	require.Equal(t, r, again)
	require.Equal(t, r.Hash(), again.Hash())
}
