package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"
)

// Set by the release build, which knows what the Go command cannot see:
// -ldflags "-X main.version=… -X main.commit=… -X main.date=…".
var (
	version string
	commit  string // ends in dirtyMark where what was built is not what was committed
	date    string // of the commit, in RFC 3339
)

// dirtyMark is what git describe --dirty appends.
const dirtyMark = "-dirty"

// build is what this binary was made from.
type build struct {
	Version string `json:"version"`
	Commit  string `json:"commit"`
	// Dirty tells that there were changes that no commit has.
	Dirty    bool   `json:"dirty"`
	Date     string `json:"date"` // of the commit, in RFC 3339; "unknown" where nobody said it
	Go       string `json:"go"`
	Platform string `json:"platform"` // GOOS/GOARCH
}

const unknown = "unknown"

// readBuild returns what the linker was told, and otherwise what the Go
// command recorded.
func readBuild() build {
	b := build{Version: version, Date: date, Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	b.Commit, b.Dirty = strings.CutSuffix(commit, dirtyMark)
	if info, ok := debug.ReadBuildInfo(); ok {
		b.complete(info)
	}
	b.Version, b.Commit, b.Date = cmp.Or(b.Version, "(devel)"), cmp.Or(b.Commit, unknown), cmp.Or(b.Date, unknown)
	return b
}

// complete fills in from the Go command's record. Commit, date and changes
// belong together, so they come from there only where the linker named no
// commit.
func (b *build) complete(info *debug.BuildInfo) {
	b.Version = cmp.Or(b.Version, info.Main.Version)
	if b.Commit != "" {
		return
	}
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			b.Commit = s.Value
		case "vcs.time":
			b.Date = s.Value
		case "vcs.modified":
			b.Dirty = s.Value == "true"
		}
	}
}

// String is the line that "gateway version" prints.
func (b build) String() string {
	mark := ""
	if b.Dirty {
		mark = dirtyMark
	}
	return fmt.Sprintf("gateway %s (commit %s%s of %s, %s, %s)", b.Version, b.Commit, mark, b.Date, b.Go, b.Platform)
}

func (p *program) versionCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Show version, commit and Go version",
		Args:  exactly(),
		RunE: func(*cobra.Command, []string) error {
			b := readBuild()
			if asJSON {
				return json.NewEncoder(p.out).Encode(b)
			}
			_, err := fmt.Fprintln(p.out, b)
			return err
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "as JSON")
	return cmd
}
