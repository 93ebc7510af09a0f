package main

import (
	"encoding/json"
	"runtime/debug"
	"strings"
	"testing"
)

func TestVersion(t *testing.T) {
	line := execute(t, nil, "version").must(t)
	if !strings.HasPrefix(line, "gateway ") || strings.Count(line, "\n") != 1 || !strings.Contains(line, " go1.") {
		t.Errorf("version is %q", line)
	}
	if flag := execute(t, nil, "--version").must(t); flag != line {
		t.Errorf("--version is %q, version is %q", flag, line)
	}
	var b build
	if err := json.Unmarshal([]byte(execute(t, nil, "version", "--json").must(t)), &b); err != nil {
		t.Fatal(err)
	}
	if b != readBuild() || b.Version == "" || b.Commit == "" || b.Date == "" {
		t.Errorf("version is %+v", b)
	}
}

// What the linker was told about the commit is not mixed with what the Go
// command found.
func TestBuildComplete(t *testing.T) {
	info := &debug.BuildInfo{Main: debug.Module{Version: "v1.2.3"}, Settings: []debug.BuildSetting{
		{Key: "vcs.revision", Value: "abc"}, {Key: "vcs.time", Value: "2026-11-01T00:00:00Z"}, {Key: "vcs.modified", Value: "true"},
	}}
	for name, test := range map[string]struct{ b, want build }{
		"nothing was told": {build{}, build{Version: "v1.2.3", Commit: "abc", Dirty: true, Date: "2026-11-01T00:00:00Z"}},
		"all was told":     {build{Version: "v9", Commit: "def", Date: "then"}, build{Version: "v9", Commit: "def", Date: "then"}},
		"version alone":    {build{Version: "v9"}, build{Version: "v9", Commit: "abc", Dirty: true, Date: "2026-11-01T00:00:00Z"}},
		"commit alone":     {build{Commit: "def"}, build{Version: "v1.2.3", Commit: "def"}},
	} {
		t.Run(name, func(t *testing.T) {
			if test.b.complete(info); test.b != test.want {
				t.Errorf("%+v, want %+v", test.b, test.want)
			}
		})
	}
}
