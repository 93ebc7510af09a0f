package helm

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// value is one value of values.yaml that can be set.
type value struct{ path, def, meaning string }

// readValues lists the values of values.yaml. What is written in braces or
// brackets is one value.
func readValues(t *testing.T) []value {
	t.Helper()
	text, err := os.ReadFile(chart + "/values.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(text, &doc); err != nil {
		t.Fatal(err)
	}
	var list []value
	var walk func(prefix string, n *yaml.Node)
	walk = func(prefix string, n *yaml.Node) {
		for i := 0; i < len(n.Content); i += 2 {
			key, v := n.Content[i], n.Content[i+1]
			path := prefix + key.Value
			comments := strings.Split(key.HeadComment, "\n\n")
			meaning := strings.Join(strings.Fields(strings.ReplaceAll(comments[len(comments)-1], "#", " ")), " ")
			if meaning == "" {
				t.Errorf("%s has no comment", path)
			}
			if v.Kind == yaml.MappingNode && v.Style&yaml.FlowStyle == 0 {
				walk(path+".", v)
				continue
			}
			v.HeadComment, v.LineComment, v.FootComment = "", "", ""
			def, err := yaml.Marshal(v)
			if err != nil {
				t.Fatal(err)
			}
			list = append(list, value{path, strings.Join(strings.Fields(string(def)), " "), meaning})
		}
	}
	walk("", doc.Content[0])
	return list
}

// The schema knows each value, and no other.
func TestSchemaKnowsTheValues(t *testing.T) {
	text, err := os.ReadFile(chart + "/values.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	var root map[string]any
	if err := json.Unmarshal(text, &root); err != nil {
		t.Fatal(err)
	}
	has := map[string]bool{}
	var inner []string
	for _, v := range readValues(t) {
		has[v.path] = true
	}
	var walk func(prefix string, schema map[string]any)
	walk = func(prefix string, schema map[string]any) {
		properties, _ := schema["properties"].(map[string]any)
		for name, of := range properties {
			path := prefix + name
			switch {
			case path == "global": // Helm's own
			case has[path]:
				delete(has, path)
				inner = append(inner, path)
			default:
				of := of.(map[string]any)
				if of["properties"] == nil || of["additionalProperties"] != false {
					t.Errorf("the schema has %s, values.yaml has not, or the schema lets anything into it", path)
				}
				walk(path+".", of)
			}
		}
	}
	if root["additionalProperties"] != false {
		t.Error("the schema lets anything in")
	}
	walk("", root)
	for path := range has {
		t.Errorf("values.yaml has %s, the schema has not", path)
	}
	if len(inner) < 100 {
		t.Errorf("only %d values were compared", len(inner))
	}
}

const (
	tableBegins = "<!-- The table is written by make helm-golden from values.yaml. -->\n"
	tableEnds   = "<!-- The end of the table. -->\n"
)

// The table of helm/README.md is what values.yaml says.
func TestValuesTable(t *testing.T) {
	path := chart + "/README.md"
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(text), tableBegins)
	had, after, ok2 := strings.Cut(rest, tableEnds)
	if !ok || !ok2 {
		t.Fatalf("%s has no place for the table", path)
	}
	var b strings.Builder
	b.WriteString("\n| value | default | meaning |\n| --- | --- | --- |\n")
	for _, v := range readValues(t) {
		fmt.Fprintf(&b, "| `%s` | `%s` | %s |\n", v.path, strings.ReplaceAll(v.def, "|", `\|`), strings.ReplaceAll(v.meaning, "|", `\|`))
	}
	b.WriteString("\n")
	if *update {
		if err := os.WriteFile(path, []byte(before+tableBegins+b.String()+tableEnds+after), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want := strings.Split(b.String(), "\n")
	if lines := strings.Split(had, "\n"); !slices.Equal(lines, want) {
		for i := range min(len(lines), len(want)) {
			if lines[i] != want[i] {
				t.Fatalf("%s has\n%s\nvalues.yaml says\n%s\nrun make helm-golden", path, lines[i], want[i])
			}
		}
		t.Fatalf("%s has %d lines, values.yaml makes %d: run make helm-golden", path, len(lines), len(want))
	}
}
