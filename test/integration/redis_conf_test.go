package integration_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"realtime-gateway/internal/pages"
)

// The redis.conf of docs/operations.md is one that Redis takes, and that the
// gateway works with.
func TestRedisConfOfTheDocument(t *testing.T) {
	t.Parallel()
	var args []string
	for _, block := range pages.Read(t, "../../docs/operations.md").Blocks {
		if block.Language != "conf" || !strings.HasPrefix(block.Lines[0], "maxmemory ") {
			continue
		}
		for _, line := range block.Lines {
			words := strings.Fields(line)
			if words[0] == "aclfile" {
				words[1] = filepath.Join(t.TempDir(), filepath.Base(words[1]))
				must(t, os.WriteFile(words[1], nil, 0o600))
			}
			args = append(args, "--"+words[0])
			args = append(args, words[1:]...)
		}
	}
	if len(args) == 0 {
		t.Fatal("the document has no redis.conf")
	}
	f := own(t, setup{redisArgs: args})
	if policy := f.db().ConfigGet(t.Context(), "maxmemory-policy").Val()["maxmemory-policy"]; policy != "noeviction" {
		t.Errorf("Redis has the policy %q", policy)
	}
	ch := channel("hist")
	s := open(t, f.url(0), on(ch))
	count(t, f, ch, 1, 3)
	waitNumber(t, s, ch, 3)
	wantNumbers(t, s.Now().Of(ch), 1, 3)
}
