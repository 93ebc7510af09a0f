package main

import (
	"io"
	"path/filepath"
	"strings"
	"testing"

	"mvdan.cc/sh/v3/syntax"

	"realtime-gateway/internal/pages"
)

// Every call of the gateway in the code blocks of the documents has a command
// and flags that exist, and values that these take.
func TestCommandsInTheDocumentsParse(t *testing.T) {
	calls := 0
	for _, glob := range []string{"../../*.md", "../../docs/*.md", "../../helm/*.md"} {
		paths, err := filepath.Glob(glob)
		if err != nil || len(paths) == 0 {
			t.Fatalf("%s: %v", glob, err)
		}
		for _, path := range paths {
			for _, block := range pages.Read(t, path).Blocks {
				if block.Language != "sh" {
					continue
				}
				for _, words := range gatewayCalls(t, path, block) {
					calls++
					if err := parses(words); err != nil {
						t.Errorf("%s: gateway %s: %v", path, strings.Join(words, " "), err)
					}
				}
			}
		}
	}
	if calls < 10 {
		t.Errorf("only %d calls were found", calls)
	}
}

// gatewayCalls returns the arguments of each call of the gateway in a block of
// shell.
func gatewayCalls(t *testing.T, path string, block pages.Block) (calls [][]string) {
	t.Helper()
	file, err := syntax.NewParser().Parse(strings.NewReader(strings.Join(block.Lines, "\n")), path)
	if err != nil {
		t.Errorf("a block of shell cannot be read: %v", err)
		return nil
	}
	syntax.Walk(file, func(n syntax.Node) bool {
		call, ok := n.(*syntax.CallExpr)
		if !ok {
			return true
		}
		words := make([]string, len(call.Args))
		for i, word := range call.Args {
			words[i] = plain(word.Parts)
		}
		for _, own := range [][]string{{"gateway"}, {"bin/gateway"}, {"./gateway"}, {"go", "run", "./cmd/gateway"}} {
			if len(words) >= len(own) && strings.Join(words[:len(own)], " ") == strings.Join(own, " ") {
				calls = append(calls, words[len(own):])
			}
		}
		return true
	})
	return calls
}

// plain is a word without its quotes. For what a shell would put in there stands
// an x, and a URL for the one of Redis.
func plain(parts []syntax.WordPart) string {
	var b strings.Builder
	for _, part := range parts {
		switch part := part.(type) {
		case *syntax.Lit:
			b.WriteString(part.Value)
		case *syntax.SglQuoted:
			b.WriteString(part.Value)
		case *syntax.DblQuoted:
			b.WriteString(plain(part.Parts))
		case *syntax.ParamExp:
			if part.Param.Value == "REDIS" {
				b.WriteString("redis://")
			}
			b.WriteString("x")
		default:
			b.WriteString("x")
		}
	}
	return b.String()
}

// parses tells what is wrong with a command line, and runs nothing.
func parses(words []string) error {
	root := (&program{out: io.Discard, errOut: io.Discard}).command()
	cmd, rest, err := root.Find(words)
	if err != nil {
		return err
	}
	if err := cmd.ParseFlags(rest); err != nil {
		return err
	}
	return cmd.ValidateArgs(cmd.Flags().Args())
}
