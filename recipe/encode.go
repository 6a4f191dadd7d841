package recipe

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Canonical writes the recipe as YAML with every key, in a fixed order, defaults included. Parsing
// it gives the same recipe, and equal recipes give equal bytes.
func (r *Recipe) Canonical() []byte {
	var b bytes.Buffer
	encode(&b, r, "", true)
	return b.Bytes()
}

// Hash identifies what decides a run: the SHA-256, in hexadecimal, of the canonical form without
// workers, engine.threads, data.path and compare. Two recipes with one hash train the same parameters.
func (r *Recipe) Hash() string {
	var b bytes.Buffer
	encode(&b, r, "", false)
	sum := sha256.Sum256(b.Bytes())
	return hex.EncodeToString(sum[:])
}

func encode(b *bytes.Buffer, s section, indent string, outside bool) {
	for _, f := range s.fields() {
		if f.outside && !outside {
			continue
		}
		if sub, ok := f.value.(section); ok {
			fmt.Fprintf(b, "%s%s:\n", indent, f.key)
			encode(b, sub, indent+"  ", outside)
			continue
		}
		fmt.Fprintf(b, "%s%s: %s\n", indent, f.key, encodeValue(f.value))
	}
}

func encodeValue(value any) string {
	switch v := value.(type) {
	case *string:
		return encodeText(*v)
	case *int:
		return strconv.Itoa(*v)
	case *int64:
		return strconv.FormatInt(*v, 10)
	case *uint64:
		return strconv.FormatUint(*v, 10)
	case *float64:
		return number(*v)
	case *[]float64:
		return encodeList(*v, number)
	case *[]int:
		return encodeList(*v, strconv.Itoa)
	case *map[string]float64:
		return encodeParams(*v)
	}
	return fmt.Sprintf("%v", value)
}

func encodeList[T any](list []T, one func(T) string) string {
	parts := make([]string, 0, len(list))
	for _, x := range list {
		parts = append(parts, one(x))
	}
	return "[" + strings.Join(parts, ", ") + "]"
}

func encodeParams(m map[string]float64) string {
	names := make([]string, 0, len(m))
	for k := range m {
		names = append(names, k)
	}
	slices.Sort(names)
	parts := make([]string, 0, len(m))
	for _, k := range names {
		parts = append(parts, k+": "+number(m[k]))
	}
	return "{" + strings.Join(parts, ", ") + "}"
}

// encodeText writes words of letters, digits, '-', '_', '/' and '.' bare, other text in quotes.
func encodeText(s string) string {
	bare := s != "" && isText(&node{kind: scalar, text: s}) && !strings.ContainsFunc(s, func(r rune) bool {
		letter := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
		return !letter && !(r >= '0' && r <= '9') && !strings.ContainsRune("_/.", r)
	})
	switch strings.ToLower(s) {
	case "null", "yes", "no", "on", "off", "y", "n":
		bare = false
	}
	if bare {
		return s
	}
	return doubleQuote(s)
}

// doubleQuote writes a YAML double-quoted scalar.
func doubleQuote(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r < ' ' || r == 0x7f:
			fmt.Fprintf(&b, `\x%02x`, r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}
