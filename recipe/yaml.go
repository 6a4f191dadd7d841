package recipe

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// Bounds on the source. A recipe is about 2 KiB, 60 lines, 300 tokens and 3 levels deep; the library
// takes time and memory quadratic in lines and in keys.
const (
	maxSource = 64 << 10 // bytes
	maxLines  = 2000
	maxTokens = 8000
	maxDepth  = 16 // levels, and entries opened on one line
	maxKey    = 64 // bytes
)

// kind is what a node of the source is.
type kind string

const (
	null     kind = "nothing"
	scalar   kind = "a single value"
	mapping  kind = "a mapping"
	sequence kind = "a list"
)

// node is one value of a recipe, free of the YAML library, with where it stands.
type node struct {
	kind    kind
	where   string // "demo.yaml:12", or "--set optimizer.lr=x"
	text    string // of a scalar, without quotes
	quoted  bool   // the scalar cannot be a number
	literal bool   // the scalar is text as it stands: from --set
	entries []entry
	items   []*node
}

type entry struct {
	key   string
	where string
	value *node
}

// parseYAML reads the subset of YAML that recipes use: one document of mappings, lists and
// scalars. Anchors, aliases, merge keys, tags and directives are refused: they make a file mean
// something else than it shows, and aliases can expand without bound.
func parseYAML(file string, src []byte) (root *node, err error) {
	if len(src) > maxSource {
		return nil, fmt.Errorf("%s: the recipe has %d bytes; at most %d are read", file, len(src), maxSource)
	}
	if lines := bytes.Count(src, []byte("\n")) + bytes.Count(src, []byte("\r")); lines > maxLines {
		return nil, fmt.Errorf("%s: the recipe has more than %d lines", file, maxLines)
	}
	defer func() { // the library indexes tokens without checking in places
		if p := recover(); p != nil {
			root, err = nil, fmt.Errorf("%s: the recipe is not valid YAML (the parser gave up: %s)", file, clip(fmt.Sprint(p)))
		}
	}()
	tokens := lexer.Tokenize(string(src))
	if err := checkTokens(file, tokens); err != nil {
		return nil, err
	}
	tree, err := parser.Parse(tokens, 0, parser.AllowDuplicateMapKey()) // refused below, with our sentence
	if err != nil {
		return nil, syntaxError(file, err)
	}
	bodies := tree.Docs[:0:0]
	for _, d := range tree.Docs {
		if d.Body != nil {
			bodies = append(bodies, d)
		}
	}
	switch len(bodies) {
	case 0:
		return &node{kind: mapping, where: file}, nil
	case 1:
		return convert(file, bodies[0].Body, 0)
	}
	return nil, fmt.Errorf("%s: the file holds %d YAML documents; a recipe is one", at(file, bodies[1].Body.GetToken()), len(bodies))
}

// checkTokens refuses, before anything recursive runs, what recipes do not use and what nests too
// deeply.
func checkTokens(file string, tokens token.Tokens) error {
	if len(tokens) > maxTokens {
		return fmt.Errorf("%s: the recipe has more than %d words and signs", at(file, tokens[maxTokens]), maxTokens)
	}
	flow, line, opened := 0, -1, 0
	for _, t := range tokens {
		if t.Position != nil && t.Position.Line != line {
			line, opened = t.Position.Line, 0
		}
		switch t.Type {
		case token.AnchorType, token.AliasType, token.MergeKeyType, token.TagType, token.DirectiveType, token.MappingKeyType:
			return fmt.Errorf("%s: %q is a YAML %s, which recipes do not use; write the value out", at(file, t), clip(t.Value), strings.ToLower(t.Type.String()))
		case token.SequenceStartType, token.MappingStartType:
			flow++
		case token.SequenceEndType, token.MappingEndType:
			flow--
		case token.SequenceEntryType:
			opened++
		}
		if flow > maxDepth || opened > maxDepth {
			return fmt.Errorf("%s: the recipe is nested deeper than %d levels", at(file, t), maxDepth)
		}
	}
	return nil
}

func syntaxError(file string, err error) error {
	var y yaml.Error
	if errors.As(err, &y) {
		return fmt.Errorf("%s: the recipe is not valid YAML: %s", at(file, y.GetToken()), clip(y.GetMessage()))
	}
	return fmt.Errorf("%s: the recipe is not valid YAML: %w", file, err)
}

func at(file string, t *token.Token) string {
	if t == nil || t.Position == nil {
		return file
	}
	return fmt.Sprintf("%s:%d", file, t.Position.Line)
}

// convert turns the library's tree into nodes.
func convert(file string, n ast.Node, depth int) (*node, error) {
	where := file
	if n != nil {
		where = at(file, n.GetToken())
	}
	if depth > maxDepth {
		return nil, fmt.Errorf("%s: the recipe is nested deeper than %d levels", where, maxDepth)
	}
	out := &node{kind: scalar, where: where}
	switch n := n.(type) {
	case nil, *ast.NullNode:
		out.kind = null
	case *ast.MappingNode:
		return out, out.fill(file, n.Values, depth)
	case *ast.MappingValueNode:
		return out, out.fill(file, []*ast.MappingValueNode{n}, depth)
	case *ast.SequenceNode:
		out.kind = sequence
		for _, v := range n.Values {
			item, err := convert(file, v, depth+1)
			if err != nil {
				return nil, err
			}
			out.items = append(out.items, item)
		}
	case *ast.StringNode:
		out.text = n.Value
		out.quoted = n.Token.Type == token.SingleQuoteType || n.Token.Type == token.DoubleQuoteType
	case *ast.LiteralNode:
		out.text, out.quoted = n.Value.Value, true
	case *ast.BoolNode, *ast.IntegerNode, *ast.FloatNode, *ast.InfinityNode, *ast.NanNode:
		out.text = strings.TrimSpace(n.GetToken().Value)
	default:
		return nil, fmt.Errorf("%s: recipes do not use a YAML %s", where, strings.ToLower(n.Type().String()))
	}
	return out, nil
}

// fill makes n a mapping of the entries.
func (n *node) fill(file string, values []*ast.MappingValueNode, depth int) error {
	n.kind = mapping
	seen := map[string]string{}
	for _, v := range values {
		where := at(file, v.Key.GetToken())
		key := strings.TrimSpace(v.Key.GetToken().Value)
		if len(key) > maxKey {
			return fmt.Errorf("%s: %s is no key of a recipe", where, quote(key))
		}
		if first, ok := seen[key]; ok {
			return fmt.Errorf("%s: %q is given twice, first at %s", where, key, first)
		}
		seen[key] = where
		value, err := convert(file, v.Value, depth+1)
		if err != nil {
			return err
		}
		n.entries = append(n.entries, entry{key, where, value})
	}
	return nil
}

// String shows the node's value in an error, cut to a line.
func (n *node) String() string {
	switch n.kind {
	case scalar:
		return quote(n.text)
	case sequence:
		parts := make([]string, 0, len(n.items))
		for _, item := range n.items {
			parts = append(parts, item.String())
		}
		return clip("[" + strings.Join(parts, ", ") + "]")
	}
	return string(n.kind)
}

// quote shows text bare if it reads as one word, else in quotes.
func quote(text string) string {
	if text == "" || strings.ContainsFunc(text, func(r rune) bool {
		return r <= ' ' || r > '~' || r == '"' || r == ','
	}) {
		return clip(fmt.Sprintf("%q", text))
	}
	return clip(text)
}

func clip(s string) string {
	const most = 80
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}
