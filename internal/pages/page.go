package pages

import (
	"os"
	"strconv"
	"strings"
	"testing"
	"unicode"

	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/extension"
	"github.com/yuin/goldmark/text"
)

// Page is what a Markdown file says.
type Page struct {
	// Path is the file's, as it was given.
	Path string
	// Links are the destinations of its links and images, as they are written.
	Links []string
	// Anchors are the names of its headings, as GitHub gives them.
	Anchors map[string]bool
	// Blocks are its fenced blocks of code.
	Blocks []Block
}

// Block is a fenced block of code.
type Block struct {
	Language string   // the first word behind the fence, or empty
	Lines    []string // without their ends
}

// Read reads the page at a path.
func Read(t testing.TB, path string) *Page {
	t.Helper()
	source, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return parse(t, path, source)
}

func parse(t testing.TB, path string, source []byte) *Page {
	t.Helper()
	p := &Page{Path: path, Anchors: map[string]bool{}}
	root := goldmark.New(goldmark.WithExtensions(extension.GFM)).Parser().Parse(text.NewReader(source))
	err := ast.Walk(root, func(n ast.Node, entering bool) (ast.WalkStatus, error) {
		if !entering {
			return ast.WalkContinue, nil
		}
		switch n := n.(type) {
		case *ast.Link:
			p.Links = append(p.Links, string(n.Destination))
		case *ast.Image:
			p.Links = append(p.Links, string(n.Destination))
		case *ast.Heading:
			p.addAnchor(anchor(words(n, source)))
		case *ast.FencedCodeBlock:
			p.Blocks = append(p.Blocks, Block{string(n.Language(source)), lines(n, source)})
		}
		return ast.WalkContinue, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// addAnchor adds a heading's name, with a number where it is not the first.
func (p *Page) addAnchor(name string) {
	unique := name
	for i := 1; p.Anchors[unique]; i++ {
		unique = name + "-" + strconv.Itoa(i)
	}
	p.Anchors[unique] = true
}

// anchor is the name that GitHub gives to a heading: small letters, without
// punctuation, with - for a space.
func anchor(heading string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == ' ':
			return '-'
		case r == '-', r == '_', unicode.IsLetter(r), unicode.IsNumber(r):
			return unicode.ToLower(r)
		}
		return -1
	}, heading)
}

// words are the text of a node without its markup.
func words(n ast.Node, source []byte) string {
	var b strings.Builder
	_ = ast.Walk(n, func(n ast.Node, entering bool) (ast.WalkStatus, error) {
		if t, ok := n.(*ast.Text); ok && entering {
			b.Write(t.Segment.Value(source))
		}
		return ast.WalkContinue, nil
	})
	return b.String()
}

func lines(n *ast.FencedCodeBlock, source []byte) []string {
	var out []string
	for i := range n.Lines().Len() {
		line := n.Lines().At(i)
		out = append(out, strings.TrimRight(string(line.Value(source)), "\n"))
	}
	return out
}
