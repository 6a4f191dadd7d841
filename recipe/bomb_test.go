package recipe

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Sources made to exhaust a parser end in a sentence before anything recursive sees them.
func TestBombs(t *testing.T) {
	laughs := "a: &a [x,x,x,x,x,x,x,x,x]\n"
	for c := 'b'; c < 'k'; c++ {
		laughs += string(c) + ": &" + string(c) + " [" + strings.Repeat("*"+string(c-1)+",", 9) + "]\n"
	}
	for name, c := range map[string]struct{ src, want string }{
		"aliases":   {laughs, "which recipes do not use"},
		"brackets":  {strings.Repeat("[", 7_000), "nested deeper than 16 levels"},
		"braces":    {strings.Repeat("{a: ", 2_000), "nested deeper than 16 levels"},
		"dashes":    {strings.Repeat("- ", 7_000), "nested deeper than 16 levels"},
		"questions": {strings.Repeat("? ", 3_000), `"?" is a YAML mappingkey`},
		"steps":     {staircase(300), "nested deeper than 16 levels"},
		"lines":     {"a: |\n" + strings.Repeat("\n", 50_000), "more than 2000 lines"},
		"returns":   {"a: |\n" + strings.Repeat("\r", 50_000), "more than 2000 lines"},
		"keys":      {"{" + strings.Repeat("a: b,", 10_000) + "}", "more than 8000 words and signs"},
		"size":      {strings.Repeat("# comment ", 7_000), "has 70000 bytes; at most 65536 are read"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Parse("r.yaml", []byte(c.src), nil)
			require.ErrorContains(t, err, c.want)
		})
	}
}

// staircase nests block mappings by indentation.
func staircase(depth int) string {
	var b strings.Builder
	for i := range depth {
		b.WriteString(strings.Repeat(" ", i) + "a:\n")
	}
	return b.String()
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("name: demo\nbatch: {classes: 8}\n"), "seed=3")
	f.Add(Default().Canonical(), "eval.recall=[1, 2]")
	f.Add([]byte("loss:\n  form: contrastive\n  params: {margin: 0.5} # why\n"), "data.path='a b'")
	f.Add([]byte("- ? [ {"), "x")
	f.Add([]byte("name: \"\\x00\\u2028\"\n--- |\n  t\n..."), `loss.params={"beta": 1}`)
	f.Add([]byte("a: &x {<<: *x}\n!!t {}\n%YAML 1.2"), "workers=~")
	f.Add([]byte("data:\r\n  augment:\r\n\t scale: [ 0.3,\n 1 ]"), "data.augment={}")
	f.Fuzz(func(t *testing.T, src []byte, set string) {
		r, err := Parse("fuzz", src, []string{set})
		if err != nil {
			require.NotEmpty(t, err.Error())
			require.Less(t, len(err.Error()), 2000)
			return
		}
		require.NoError(t, r.Validate())
		again, err := Parse("canonical", r.Canonical(), nil)
		require.NoError(t, err)
		require.Equal(t, r, again)
	})
}
