package chaos

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// mutated is where the mutations are, seen from here.
const mutated = "../../../pkg/channels"

// mutations are bugs that a gateway of ours could have, and what of them must
// be found. from is a piece of the file that is there exactly once. One binary
// has all of them, and the variable mutation says which one it has today.
var mutations = []struct {
	name, file, from, to string
	faults               []string
	want                 []kindOfViolation
}{
	{
		name: "the first event of each reading is dropped at the seam",
		file: "fill.go",
		from: "for _, e := range t.chain(after, events) {",
		to:   "for i, e := range t.chain(after, events) {\nif HAS && i == 0 {\ncontinue\n}",
		// What comes while a subscription is away is read.
		faults: []string{"subscriptions killed"},
		want:   []kindOfViolation{missing, unfinished},
	},
	{
		name: "what was read already is appended again at the seam",
		file: "fill.go",
		from: "case e.Prev == t.log.end",
		to:   "case HAS && !t.log.end.Less(e.Position), e.Prev == t.log.end",
		// Announcements that wait while the stream is read need a reading that
		// takes its time.
		faults: []string{"subscriptions killed", "link slow"},
		// A subscription skips what it has, and then tells of a loss.
		want: []kindOfViolation{duplicate, gapUnfounded},
	},
	{
		name:   "a broken chain makes no gap",
		file:   "topic.go",
		from:   "if e.Prev != after && e.Lost == nil {",
		to:     "if !(HAS) && e.Prev != after && e.Lost == nil {",
		faults: []string{"link cut"},
		want:   []kindOfViolation{missing},
	},
	{
		name:   "who resumes in the log goes on one event too late",
		file:   "subscription.go",
		from:   "s.stage, s.index, s.seq, s.due = following, index, t.log.seqBefore(index), t.log.next()",
		to:     "if HAS && s.begin.Resume != nil && index < t.log.next() {\nindex++\n}\ns.stage, s.index, s.seq, s.due = following, index, t.log.seqBefore(index), t.log.next()",
		faults: []string{"subscriptions killed"},
		want:   []kindOfViolation{missing},
	},
}

// attempts is how many seconds-long runs a bug gets to show itself: on a busy
// machine little happens in one.
const attempts = 6

// The checker finds what it is for.
func TestMutationsAreFound(t *testing.T) {
	mutant, err := buildMutant(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for i, m := range mutations {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			for seed := range uint64(attempts) {
				report, err := Run(Config{
					Binary: mutant, Env: []string{fmt.Sprintf("MUTATION=%d", i)}, Dir: t.TempDir(),
					Topology: "single", Seed: 1 + seed, Time: 3 * time.Second,
					Clients: 20, Pause: 200 * time.Millisecond, Patience: time.Second, Faults: m.faults,
				})
				if err != nil {
					t.Fatal(err)
				}
				t.Log(report)
				if slices.ContainsFunc(report.Violations, func(v violation) bool { return slices.Contains(m.want, v.kind) }) {
					return
				}
			}
			t.Errorf("the gateway has the bug %q, and none of %v was found", m.name, m.want)
		})
	}
}

// buildMutant builds a gateway with the mutations and leaves the source as it
// is.
func buildMutant(dir string) (string, error) {
	source, err := filepath.Abs(mutated)
	if err != nil {
		return "", err
	}
	texts := map[string]string{
		"mutation.go": "package channels\n\nimport \"os\"\n\nvar mutation = os.Getenv(\"MUTATION\")\n",
	}
	for i, m := range mutations {
		if texts[m.file] == "" {
			text, err := os.ReadFile(filepath.Join(source, m.file))
			if err != nil {
				return "", fmt.Errorf("a mutation is of a file that is gone, adapt the table: %w", err)
			}
			texts[m.file] = string(text)
		}
		if n := strings.Count(texts[m.file], m.from); n != 1 {
			return "", fmt.Errorf("the mutation %q no longer fits, adapt the table: %s has %d times %q", m.name, m.file, n, m.from)
		}
		to := strings.Replace(m.to, "HAS", fmt.Sprintf("mutation == \"%d\"", i), 1)
		texts[m.file] = strings.Replace(texts[m.file], m.from, to, 1)
	}
	replace := map[string]string{}
	for name, text := range texts {
		replace[filepath.Join(source, name)] = filepath.Join(dir, name)
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			return "", err
		}
	}
	overlay, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return "", err
	}
	list, binary := filepath.Join(dir, "overlay.json"), filepath.Join(dir, "gateway")
	if err := os.WriteFile(list, overlay, 0o600); err != nil {
		return "", err
	}
	// With the race detector, like the gateway of the other tests, of which
	// most is compiled already.
	out, err := exec.Command("go", "build", "-race", "-overlay", list, "-o", binary, "realtime-gateway/cmd/gateway").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("build the mutant: %w\n%s", err, out)
	}
	return binary, nil
}
