package config

import (
	"os"
	"slices"
	"strings"
	"testing"
)

// What the chart takes for a setting or a part of a policy is what there is, but
// for the settings that are the chart's own.
func TestTheChartKnowsWhatThereIs(t *testing.T) {
	read := func(path string) string {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	list := func(name string) []string {
		_, text, found := strings.Cut(read("../../helm/templates/_known.tpl"), `{{- define "`+name+`" -}}`)
		text, _, closed := strings.Cut(text, "{{- end -}}")
		if !found || !closed {
			t.Fatalf("there is no %s", name)
		}
		return slices.Sorted(slices.Values(strings.Fields(text)))
	}
	own := read("../../helm/templates/_checks.tpl")
	settings := []string{keyChannels}
	for _, s := range Settings() {
		// Rights in development are for development.
		if s.YAML != "" && s.YAML != "devRights" && !strings.Contains(own, `"`+s.YAML+`" "`) {
			settings = append(settings, s.YAML)
		}
	}
	slices.Sort(settings)
	if got := list("gateway.knownSettings"); !slices.Equal(got, settings) {
		t.Errorf("the chart knows the settings\n%q, want\n%q", got, settings)
	}
	var keys []string
	for _, f := range policyFields {
		keys = append(keys, f.key)
	}
	slices.Sort(keys)
	if got := list("gateway.knownPolicyKeys"); !slices.Equal(got, keys) {
		t.Errorf("the chart knows the parts of a policy\n%q, want\n%q", got, keys)
	}
}
