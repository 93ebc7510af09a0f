package integration_test

import (
	"errors"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"realtime-gateway/test/integration/harness"
)

// documentedCommand is one of redis-cli in a document, in a line or a block, up to
// what the shell does with it.
var documentedCommand = regexp.MustCompile("redis-cli [^`|;#)\n]*")

// operatorDocuments are those whose commands are the operator's.
var operatorDocuments = []string{"operations.md", "runbook.md", "upgrade.md"}

// The operator of the document is there after a restart and the default user is not,
// and it may do what the documents tell operators to do.
func TestOperatorIsNotLockedOut(t *testing.T) {
	t.Parallel()
	f := restricted(t, setup{replicas: 1}, "The gateway/gateway")
	must(t, f.redis.Stop())
	must(t, f.redis.Start())
	if err := asUser(t, f.redis.Addr, "default").Ping(t.Context()).Err(); err == nil {
		t.Error("after a restart the default user may come in")
	}
	ready(t, f)
	fcall(t, f, aclTasks, "x")

	url := as("operator:secret", "redis://"+f.redis.Addr)
	for _, name := range operatorDocuments {
		text, err := os.ReadFile("../../docs/" + name)
		must(t, err)
		found := documentedCommand.FindAllString(string(text), -1)
		if len(found) == 0 {
			t.Errorf("%s has no command of redis-cli", name)
		}
		for _, line := range found {
			if !regexp.MustCompile(`^redis-cli (-u \$(REDIS|OLD|NEW)|--cluster)\b`).MatchString(line) {
				t.Errorf("%s: %q does not say as whom", name, line)
				continue
			}
			words := strings.Fields(strings.NewReplacer("'", "", `"`, "").Replace(line))[1:]
			switch {
			case len(words) < 3: // it reads commands from a pipe
			case reads(words[2:]):
				out, err := exec.CommandContext(t.Context(), "redis-cli", append([]string{"-u", url}, words[2:]...)...).CombinedOutput()
				if err != nil || regexp.MustCompile("NOPERM|NOAUTH|WRONGPASS|ERR").Match(out) {
					t.Errorf("%s: %q fails: %v %s", name, line, err, out)
				}
			case !strings.HasPrefix(words[2], "-") && words[0] == "-u":
				args := []any{"ACL", "DRYRUN", "operator"}
				for _, w := range words[2:] {
					args = append(args, w)
				}
				if got, err := f.redis.DB.Do(t.Context(), args...).Text(); err != nil || got != "OK" {
					t.Errorf("%s: the operator may not %q: %v %s", name, line, err, got)
				}
			}
		}
	}
}

// reads tells whether a command ends by itself and changes nothing.
func reads(words []string) bool {
	return slices.Contains([]string{"PING", "INFO", "SLOWLOG", "LATENCY", "MEMORY", "XLEN"}, words[0]) ||
		slices.Contains([]string{"CLIENT LIST", "CONFIG GET", "FCALL gateway_info"}, strings.Join(words[:min(2, len(words))], " "))
}

// What the chart tests with is enough: its policy, its channel, and the gateway's
// own user with one right more.
func TestRightsForPing(t *testing.T) {
	t.Parallel()
	d, err := readACL()
	must(t, err)
	text, err := os.ReadFile("../../docs/redis-acl.md")
	must(t, err)
	const policy = "- {pattern: helm-test, subscribe: public, publish: none}\n"
	if !strings.Contains(string(text), policy) {
		t.Fatalf("docs/redis-acl.md lacks %s", policy)
	}
	users := []string{"The gateway/gateway", "With `gateway ping` and `helm test`/gateway"}
	f := restricted(t, setup{config: strings.Replace(d.policies, "channels:\n", "channels:\n  "+policy, 1)}, users...)
	out, err := command(t, nil, "ping", "helm-test", "--redis-url", as("gateway:secret", f.redis.URL()), "--url", f.url(0))
	if err != nil {
		t.Errorf("%v: %s", err, out)
	}
	wantNoDenials(t, f.redis.DB, "gateway")
}

// What Redis refuses is not reported as an outage, which nobody would look for in
// the password.
func TestRefusalsOfRedisAreNoOutage(t *testing.T) {
	t.Parallel()
	f := restricted(t, setup{replicas: 1}, "The gateway/gateway")
	for user, want := range map[string]string{
		"gateway:wrong": "redis does not take the user or the password of its URL",
		"notes:secret":  "redis denies the user of its URL a right, see docs/redis-acl.md",
	} {
		g, err := f.add(as(user, f.redis.URL()), nil, nil)
		must(t, err)
		must(t, g.Start())
		must(t, harness.Until("the log of "+user+" says what is refused", harness.Deadline, func() error {
			if log := g.Log.String(); !strings.Contains(log, want) {
				return errors.New(log)
			}
			return nil
		}))
		if strings.Contains(g.Log.String(), "redis is away") {
			t.Errorf("with %s the log speaks of an outage:\n%s", user, g.Log)
		}
	}
}
