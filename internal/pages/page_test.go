package pages

import (
	"maps"
	"reflect"
	"slices"
	"testing"
)

func TestPage(t *testing.T) {
	p := parse(t, "page.md", []byte("# Redis: one server, `Sentinel` or Cluster\n\n"+
		"See [a](b.md#c), ![i](i.svg), [r] and `[no](link)`.\n\n[r]: ../r.md\n\n| [cell](t.md) |\n| --- |\n\n"+
		"## snake_case and-dash\n\n## Same\n\n## Same\n\n```sh ignored\ngateway\n  --dev\n```\n\n```\n# no heading [no](link)\n```\n"))
	if want := []string{"b.md#c", "i.svg", "../r.md", "t.md"}; !slices.Equal(p.Links, want) {
		t.Errorf("links are %q, want %q", p.Links, want)
	}
	want := []string{"redis-one-server-sentinel-or-cluster", "same", "same-1", "snake_case-and-dash"}
	if got := slices.Sorted(maps.Keys(p.Anchors)); !slices.Equal(got, want) {
		t.Errorf("anchors are %q, want %q", got, want)
	}
	blocks := []Block{{"sh", []string{"gateway", "  --dev"}}, {"", []string{"# no heading [no](link)"}}}
	if !reflect.DeepEqual(p.Blocks, blocks) {
		t.Errorf("blocks are %q, want %q", p.Blocks, blocks)
	}
}
