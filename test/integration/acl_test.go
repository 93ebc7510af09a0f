package integration_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"realtime-gateway/test/integration/harness"
)

// aclDocument is docs/redis-acl.md: what it tells people to type is what these
// tests apply.
type aclDocument struct {
	policies string             // the first
	commands map[string][][]any // by heading and user, without redis-cli
}

func readACL() (*aclDocument, error) {
	text, err := os.ReadFile("../../docs/redis-acl.md")
	if err != nil {
		return nil, err
	}
	d := &aclDocument{commands: make(map[string][][]any)}
	heading, block, code := "", "", ""
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSuffix(line, "\n")
		fence := strings.TrimSpace(line) // it may be part of a list
		switch {
		case strings.HasPrefix(fence, "```"):
			if block == "yaml" && d.policies == "" {
				d.policies = code
			}
			block, code = strings.TrimPrefix(fence, "```"), ""
		case block == "yaml":
			code += line + "\n"
		case block == "sh":
			if before, more := strings.CutSuffix(line, `\`); more {
				code += before
				continue
			}
			words := strings.Fields(strings.ReplaceAll(code+line, "'", ""))
			// What stands in quotes has spaces in selectors alone.
			words = joinSelectors(words)
			at := ""
			if slices.Contains(words, "26379") {
				at = " at the Sentinels"
			}
			code = ""
			for len(words) > 0 && words[0] != "ACL" {
				words = words[1:]
			}
			var args []any
			for _, w := range words {
				args = append(args, w)
			}
			key := heading + "/save"
			switch {
			case slices.Equal(words, []string{"ACL", "SAVE"}):
			case len(words) >= 4 && words[1] == "SETUSER":
				key = heading + "/" + words[2] + at
			default:
				return nil, fmt.Errorf("docs/redis-acl.md has a command that is neither ACL SETUSER nor ACL SAVE: %s", line)
			}
			d.commands[key] = append(d.commands[key], args)
		case strings.HasPrefix(line, "#"):
			heading = strings.TrimSpace(strings.TrimLeft(line, "#"))
		}
	}
	return d, nil
}

func joinSelectors(words []string) []string {
	var out []string
	inside := false
	for _, w := range words {
		if inside {
			out[len(out)-1] += " " + w
		} else {
			out = append(out, w)
		}
		inside = (inside || strings.HasPrefix(w, "(")) && !strings.HasSuffix(w, ")")
	}
	return out
}

// apply gives a server the rights of the document's commands, in this order.
func (d *aclDocument) apply(db *redis.Client, keys ...string) error {
	for _, key := range keys {
		if len(d.commands[key]) == 0 {
			return fmt.Errorf("docs/redis-acl.md has no command for %q", key)
		}
		for _, command := range d.commands[key] {
			if err := db.Do(context.Background(), command...).Err(); err != nil {
				return fmt.Errorf("%v: %w", command, err)
			}
		}
	}
	return nil
}

// as puts user and password into a URL.
func as(user, url string) string {
	if user == "" {
		return url
	}
	scheme, rest, _ := strings.Cut(url, "://")
	if name, password, _ := strings.Cut(user, ":"); strings.HasSuffix(scheme, "sentinel") {
		rest += "?sentinel_username=" + name + "&sentinel_password=" + password
	}
	return scheme + "://" + user + "@" + rest
}

// asUser talks to a server as a user of the document.
func asUser(t *testing.T, addr, user string) *redis.Client {
	t.Helper()
	db := redis.NewClient(&redis.Options{Addr: addr, Username: user, Password: "secret", Protocol: 2, DisableIdentity: true, MaxRetries: -1})
	t.Cleanup(func() { db.Close() })
	return db
}

// restricted is a single Redis on which nobody has more rights than the document
// gives, made in its order. The test itself is the operator.
func restricted(t *testing.T, s setup, users ...string) *fixture {
	t.Helper()
	d, err := readACL()
	must(t, err)
	users = append(users, "By PUBLISH alone/notes")
	s.user = "gateway:secret"
	if s.config == "" {
		s.config = d.policies
	}
	file := filepath.Join(t.TempDir(), "users.acl")
	must(t, os.WriteFile(file, nil, 0o600))
	s.redisArgs = append(append([]string{"--aclfile", file}, harness.Durable...), s.redisArgs...)
	s.prepare = func(f *fixture) error {
		const order = "In which order/"
		if err := d.apply(f.redis.DB, order+"operator"); err != nil {
			return err
		}
		o := *f.redis.DB.Options()
		o.Username, o.Password = "operator", "secret"
		before := f.redis.DB
		f.redis.DB = redis.NewClient(&o)
		return errors.Join(before.Close(), d.apply(f.redis.DB, append(users, order+"default", order+"save")...))
	}
	f := own(t, s)
	if err := asUser(t, f.redis.Addr, "default").Ping(t.Context()).Err(); err == nil {
		t.Fatal("the default user may still come in")
	}
	return f
}

// wantNoDenials checks that a user has tried nothing that it may not.
func wantNoDenials(t *testing.T, db *redis.Client, user string) {
	t.Helper()
	log, err := db.Do(t.Context(), "ACL", "LOG").Slice()
	must(t, err)
	for _, entry := range log {
		if text := fmt.Sprint(entry); strings.Contains(text, "username "+user+" ") {
			t.Errorf("denied: %v", text)
		}
	}
}

const (
	aclTasks  = "project:42:tasks"
	aclStatus = "project:42:status"
)

// The gateway's whole life with the documented rights: each way to publish,
// replay, plain PUBLISH, restarts of Redis and of replicas, lost data.
func TestRightsOfTheGatewaySuffice(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		setup setup
		users []string
	}{
		"functions": {setup{}, []string{"The gateway/gateway", "A publisher/tasks", "Who takes rights back/admin"}},
		"scripts":   {setup{redisArgs: harness.Legacy}, []string{"Redis without functions/gateway", "Redis without functions/tasks", "Redis without functions/admin"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := tt.setup
			s.flags = []string{"--check-interval", "1s", "--drain-time", "1s"}
			f := restricted(t, s, tt.users...)
			streams := []listener{follow(t, on(aclTasks, aclStatus), f.url(0), f.url(1)), follow(t, on(aclTasks, aclStatus), f.url(1), f.url(0))}
			n := 0
			publishAll := func() {
				t.Helper()
				publishEachWay(t, f, name == "scripts", &n, func() {
					t.Helper()
					for _, s := range streams {
						for _, ch := range []string{aclTasks, aclStatus} {
							waitNumber(t, s, ch, n)
							wantNumbers(t, s.Now().Published(ch), 1, n)
						}
					}
				})
			}
			publishAll()
			waitRecorded(t, f, aclTasks, n)
			back := open(t, f.url(1), from(streams[0].Now().Events[0].ID, aclTasks))
			waitNumber(t, back, aclTasks, n)
			wantNumbers(t, back.Now().Of(aclTasks), 1, n)

			alice := someone()
			mine := harness.Subscribe{Channels: []string{aclTasks}, Header: alice.token("a", time.Minute)}
			lost, stays := open(t, f.url(0), mine), open(t, f.url(0), harness.Subscribe{Channels: []string{aclTasks}, Header: alice.token("b", -time.Minute)})
			for _, narrow := range [][]string{{"--channel", "other:**"}, {}} { // the second takes the place of the first
				_, err := command(t, nil, append([]string{"disconnect", alice.name, "--redis-url", as("admin:secret", f.redis.URL())}, narrow...)...)
				must(t, err)
			}
			wantOut(t, lost, "revoked", aclTasks, 0)
			wantStatus(t, f.url(1), mine, 401)
			stays.Close()

			wantNoDenials(t, f.redis.DB, "tasks")
			wantNoDenials(t, f.redis.DB, "notes")
			wantNoDenials(t, f.redis.DB, "admin")

			used := make(usedCommands)
			used.note(t, f.redis.DB)
			must(t, f.redis.Stop())
			must(t, f.redis.Start())
			ready(t, f)
			publishAll()

			must(t, f.redis.FlushAll(t.Context()))
			must(t, f.redis.FlushScripts(t.Context()))
			if name == "functions" {
				must(t, f.redis.FlushFunctions(t.Context()))
			}
			must(t, harness.Until("the code is there again", harness.Deadline, func() error {
				_, err := command(t, nil, "publish", aclTasks, harness.Counted(n+1), "--event-id", "again", "--redis-url", as("tasks:secret", f.redis.URL()))
				return err
			}))
			n++
			publish(t, f, aclStatus, harness.Counted(n))
			for _, s := range streams {
				waitNumber(t, s, aclTasks, n)
				waitNumber(t, s, aclStatus, n)
				wait(t, s, "what was lost is told", func(v harness.View) bool { return len(v.Gaps(aclTasks)) > 0 })
			}

			// The roles of a replica that leaves in order, and of one that dies.
			g := f.replicas[0]
			if _, err := g.Process().Terminate(); err != nil {
				t.Fatal(err)
			}
			must(t, g.Start())
			ready(t, f)
			must(t, f.replicas[1].Kill())
			must(t, f.replicas[1].Start())
			ready(t, f)
			publish(t, f, aclTasks, harness.Counted(n+1))
			n++
			for _, s := range streams {
				waitNumber(t, s, aclTasks, n)
			}
			wantNoDenials(t, f.redis.DB, "gateway")
			used.note(t, f.redis.DB)
			used.wantAll(t, tt.users[0])
		})
	}
}

// usedCommands are those that a server has executed.
type usedCommands map[string]bool

func (u usedCommands) note(t *testing.T, db *redis.Client) {
	t.Helper()
	text, err := db.Info(t.Context(), "commandstats").Result()
	must(t, err)
	for line := range strings.Lines(text) {
		if name, _, ok := strings.Cut(strings.TrimPrefix(line, "cmdstat_"), ":"); ok {
			u[name] = true
		}
	}
}

// wantAll checks that a rule of the document has no right too many.
func (u usedCommands) wantAll(t *testing.T, rule string) {
	t.Helper()
	d, err := readACL()
	must(t, err)
	for _, right := range d.commands[rule][0] {
		name, isCommand := strings.CutPrefix(right.(string), "+")
		// A replica gives up a pattern when there are three, and a channel a while
		// after its last client.
		if isCommand && !u[name] && name != "punsubscribe" && name != "unsubscribe" {
			t.Errorf("%s has +%s, and nobody used it", rule, name)
		}
	}
}

// publishEachWay publishes the next numbers on both channels, as those users who
// may, and waits for each.
func publishEachWay(t *testing.T, f *fixture, scripts bool, n *int, heard func()) {
	t.Helper()
	ctx := t.Context()
	tasks, notes := asUser(t, f.redis.Addr, "tasks"), asUser(t, f.redis.Addr, "notes")
	token := harness.Token{Sub: "service", Publish: []string{"project:**"}}.Sign()
	for name, publish := range map[string]func(ch, payload string) error{
		"PUBLISH by tasks": func(ch, payload string) error { return tasks.Publish(ctx, ch, payload).Err() },
		"PUBLISH by notes": func(ch, payload string) error { return notes.Publish(ctx, ch, payload).Err() },
		"gateway publish": func(ch, payload string) error {
			_, err := command(t, nil, "publish", ch, payload, "--redis-url", as("tasks:secret", f.redis.URL()))
			return err
		},
		"POST": func(ch, payload string) error {
			if a := ask(t, http.MethodPost, of(f.url(0), ch), token, payload); a.status/100 != 2 {
				return fmt.Errorf("status %d: %s", a.status, a.body)
			}
			return nil
		},
		"FCALL or EVALSHA": func(ch, payload string) error {
			args := []any{payload, "EVENTID", ch + payload, "TTL", 60000}
			if !scripts {
				return tasks.FCall(ctx, "gateway_publish", []string{"gw:" + ch}, args...).Err()
			}
			// A Redis that was just restarted has the script a moment later.
			return harness.Until("the script is there", harness.Deadline, func() error {
				sha, err := tasks.HGet(ctx, "gw.script", "sha").Result()
				if err != nil {
					return err
				}
				return tasks.EvalSha(ctx, sha, []string{"gw:" + ch}, args...).Err()
			})
		},
	} {
		*n++
		for _, ch := range []string{aclTasks, aclStatus} {
			if err := publish(ch, harness.Counted(*n)); err != nil {
				t.Fatalf("%s to %s: %v", name, ch, err)
			}
		}
		heard()
	}
}

// What a publisher's rights do not say is refused, each thing by itself.
func TestPublishersMayNothingElse(t *testing.T) {
	t.Parallel()
	const own, other = "gw:project:42:tasks", "gw:project:43:tasks"
	everybody := [][]any{
		{"PUBLISH", "project:43:tasks", "x"}, {"PUBLISH", "project:4:tasks", "x"}, {"PUBLISH", "project:42", "x"},
		{"PUBLISH", own, "1 5-1 0-0 0 0 0\nforged"}, {"PUBLISH", other, "x"}, {"SPUBLISH", own, "x"}, {"SPUBLISH", "project:42:tasks", "x"},
		{"PUBLISH", "gw.recorded", "x"}, {"PUBLISH", "gw.probe:x", "x"}, {"PUBLISH", "gw.revoked", "x"},
		{"SUBSCRIBE", "project:42:tasks"}, {"PSUBSCRIBE", "project:42:*"}, {"PSUBSCRIBE", "*"}, {"SSUBSCRIBE", own},
		{"FCALL", "gateway_publish", 1, other, "x"},
		{"FCALL", "gateway_record", 1, own, "x", "", "me"}, {"FCALL", "gateway_open", 1, own}, {"FCALL", "gateway_last", 1, own},
		{"FCALL", "gateway_lost", 1, own, "9-0", "1-0"}, {"FCALL", "gateway_announce", 1, own, "1-0"}, {"FCALL", "gateway_join", 1, "gw.replicas", "me", 1},
		{"XRANGE", own, "-", "+"}, {"XREAD", "STREAMS", own, "0"}, {"XREVRANGE", other, "+", "-"}, {"XADD", other, "*", "a", "b"},
		{"XTRIM", other, "MAXLEN", 0}, {"PEXPIRE", other, 1}, {"XINFO", "STREAM", other}, {"EXISTS", other}, {"EXISTS", "gw.script"},
		{"SET", own, "x"}, {"GET", own}, {"SET", other, "x"}, {"SET", "gw.seen:{" + other + "}:id", "x"}, {"GET", "gw.seen:{" + other + "}:id"},
		{"SET", "gw.script", "x"}, {"HSET", "gw.script", "source", "x"}, {"HGETALL", "gw.script"}, {"PEXPIRE", "gw.script", 1}, {"XADD", "gw.script", "*", "a", "b"},
		{"SET", "gw.replicas", "x"}, {"ZADD", "gw.replicas", 1, "x"}, {"SET", "gw.user:alice", "x"}, {"HSET", "gw.user:alice", "a", "b"}, {"SET", "anything", "x"},
		{"DEL", own}, {"UNLINK", own}, {"RENAME", own, "x"}, {"COPY", own, other}, {"MIGRATE", "h", 1, own, 0, 1}, {"RESTORE", own, 0, "x"},
		{"KEYS", "*"}, {"SCAN", 0}, {"DBSIZE"}, {"FLUSHALL"}, {"FLUSHDB"}, {"SWAPDB", 0, 1}, {"CONFIG", "GET", "*"}, {"CONFIG", "SET", "maxmemory", 1},
		{"FUNCTION", "LIST"}, {"FUNCTION", "DELETE", "gateway"}, {"FUNCTION", "FLUSH"}, {"SCRIPT", "LOAD", "return 1"}, {"SCRIPT", "FLUSH"}, {"EVAL", "return 1", 0},
		{"ACL", "LIST"}, {"ACL", "SETUSER", "tasks", "allkeys"}, {"CLIENT", "KILL", "TYPE", "pubsub"}, {"MONITOR"}, {"SHUTDOWN"},
	}
	for _, tt := range []struct {
		name  string
		setup setup
		users []string
		more  map[string][][]any
	}{
		{"functions", setup{}, []string{"The gateway/gateway", "A publisher/tasks"}, map[string][][]any{
			"tasks": {{"EVALSHA", strings.Repeat("0", 40), 1, own, "x"}, {"HGET", "gw.script", "sha"}},
			"notes": {{"FCALL", "gateway_publish", 1, own, "x"}, {"XADD", own, "*", "a", "b"}},
		}},
		{"scripts", setup{redisArgs: harness.Legacy}, []string{"Redis without functions/gateway", "Redis without functions/tasks"}, map[string][][]any{
			"tasks": {{"EVALSHA", strings.Repeat("0", 40), 1, other, "x"}},
			"notes": {{"EVALSHA", strings.Repeat("0", 40), 1, own, "x"}, {"HGET", "gw.script", "sha"}},
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			f := restricted(t, tt.setup, tt.users...)
			for _, key := range []string{own, other} {
				must(t, f.redis.DB.XAdd(t.Context(), &redis.XAddArgs{Stream: key, ID: "1-0", Values: []any{"p", "0-0", "d", "x"}}).Err())
			}
			before := contents(t, f.redis.DB)
			for user, more := range tt.more {
				db := asUser(t, f.redis.Addr, user)
				for _, command := range append(more, everybody...) {
					err := db.Do(t.Context(), command...).Err()
					if tt.setup.redisArgs != nil && err != nil && strings.Contains(err.Error(), "unknown command") {
						continue
					}
					if !redis.IsPermissionError(err) {
						t.Errorf("%s may do %q: %v", user, command, err)
					}
				}
			}
			if after := contents(t, f.redis.DB); after != before {
				t.Errorf("what is in Redis was\n%s\nand now is\n%s", before, after)
			}
		})
	}
}

// contents lists all keys, but what the gateways change by themselves.
func contents(t *testing.T, db *redis.Client) string {
	t.Helper()
	keys, err := db.Keys(t.Context(), "*").Result()
	must(t, err)
	slices.Sort(keys)
	out := ""
	for _, key := range keys {
		dump := ""
		if key != "gw.replicas" {
			dump = db.Dump(t.Context(), key).Val()
		}
		out += fmt.Sprintf("%s %q\n", key, dump)
	}
	return out
}

// A publisher that appends by hand spoils its own channel at most: who reads
// another one beside it goes on, and nothing forged is delivered.
func TestPublisherThatAppendsByHandStaysWithinItsChannels(t *testing.T) {
	t.Parallel()
	f := restricted(t, setup{flags: []string{"--check-interval", "1s"}}, "The gateway/gateway", "A publisher/tasks")
	const neighbour = "project:43:tasks"
	tasks := asUser(t, f.redis.Addr, "tasks")
	s := open(t, f.url(0), on(aclTasks, neighbour))
	n := 0
	goesOn := func(s *harness.Stream) {
		t.Helper()
		n++
		fcall(t, f, neighbour, harness.Counted(n))
		v := waitNumber(t, s, neighbour, n)
		if v.Ended {
			t.Fatal("the stream ended")
		}
		for _, e := range v.Events {
			if strings.Contains(e.Data, "forged") || e.Name == "gateway.close" || e.Name == "gateway.error" {
				t.Errorf("delivered: %s %s", e.Name, e.Data)
			}
		}
	}
	add := func(values ...any) {
		t.Helper()
		position, err := tasks.XAdd(t.Context(), &redis.XAddArgs{Stream: "gw:" + aclTasks, ID: "*", Values: values}).Result()
		must(t, err)
		must(t, tasks.Publish(t.Context(), aclTasks, "\xffgateway at "+position).Err())
		goesOn(s)
	}
	count := func(number int) {
		t.Helper()
		must(t, tasks.FCall(t.Context(), "gateway_publish", []string{"gw:" + aclTasks}, harness.Counted(number)).Err())
		waitNumber(t, s, aclTasks, number)
	}
	count(1)
	add("p", "0-0", "d", "forged", "t", "gateway.close")
	add("p", "0-0", "d", "forged", "t", "a\nevent: gateway.close")
	add("p", "0-0", "d", "forged", "e", "a\r\nid: 1")
	add("p", "0-0", "d", "forged\xff")
	add("p", "9999999999999-0", "d", "forged")
	add("p", "0-0", "l", "forged", "f", "1-0")
	add("what", "forged")
	add("p", "0-0", "m", "1e300", "d", `{"type":"harmless"}`)
	count(2)
	// The loss of all that there will ever be, and a stream that nobody can
	// append to any more.
	add("p", "0-0", "l", "1-0", "f", "0-0")
	count(3)
	must(t, tasks.XAdd(t.Context(), &redis.XAddArgs{Stream: "gw:" + aclTasks, ID: "18446744073709551615-18446744073709551615", Values: []any{"p", "0-0", "d", "last"}}).Err())
	goesOn(s)
	must(t, tasks.Publish(t.Context(), aclTasks, "plain").Err())
	for i := range 2 {
		goesOn(open(t, f.url(i), on(neighbour)))
	}
	goesOn(s)
	must(t, f.redis.DB.Del(t.Context(), "gw:"+aclTasks).Err())
	goesOn(s)
	wantNoDenials(t, f.redis.DB, "gateway")
}

// With Sentinels the gateway needs a little more, at them too, and they and the
// replicas have users of their own.
func TestRightsWithSentinels(t *testing.T) {
	t.Parallel()
	d, err := readACL()
	must(t, err)
	s := setup{sentinel: &harness.SentinelOptions{}, config: d.policies, user: "gateway:secret"}
	s.prepare = func(f *fixture) error {
		ctx := context.Background()
		for _, n := range f.sentinel.Nodes {
			if err := d.apply(n.DB, "The gateway/gateway", "With Sentinels/gateway", "With Sentinels/sentinel", "With Sentinels/replica"); err != nil {
				return err
			}
			if err := n.DB.ConfigSet(ctx, "masteruser", "replica").Err(); err != nil {
				return err
			}
			if err := n.DB.ConfigSet(ctx, "masterauth", "secret").Err(); err != nil {
				return err
			}
		}
		for _, n := range f.sentinel.Sentinels {
			if err := d.apply(n.DB, "With Sentinels/gateway at the Sentinels"); err != nil {
				return err
			}
			if err := n.DB.Do(ctx, "SENTINEL", "SET", "mymaster", "auth-user", "sentinel", "auth-pass", "secret").Err(); err != nil {
				return err
			}
		}
		return nil
	}
	f := own(t, s)
	stream := follow(t, on(aclTasks, aclStatus), f.url(0), f.url(1))
	n := 0
	publishBoth := func() {
		t.Helper()
		for _, way := range []func(ch string){
			func(ch string) { fcall(t, f, ch, harness.Counted(n)) },
			func(ch string) { publish(t, f, ch, harness.Counted(n)) },
		} {
			n++
			for _, ch := range []string{aclTasks, aclStatus} {
				way(ch)
				waitNumber(t, stream, ch, n)
			}
		}
	}
	publishBoth()
	must(t, f.sentinel.Replicated())
	_, err = f.sentinel.Failover()
	must(t, err)
	ready(t, f)
	publishBoth()
	master, err := f.sentinel.Master()
	must(t, err)
	for _, user := range []string{"gateway", "sentinel", "replica"} {
		must(t, harness.Until(user+" is connected", 2*harness.Deadline, func() error {
			list, err := master.DB.ClientList(t.Context()).Result()
			if err == nil && !strings.Contains(list, "user="+user+" ") {
				err = fmt.Errorf("no connection of it in\n%s", list)
			}
			return err
		}))
	}
	for _, n := range append(slices.Clone(f.sentinel.Nodes), f.sentinel.Sentinels...) {
		for _, user := range []string{"gateway", "sentinel", "replica"} {
			wantNoDenials(t, n.DB, user)
		}
	}
}

// In a Cluster the gateway needs a little more, and its publishers nothing.
func TestRightsInACluster(t *testing.T) {
	t.Parallel()
	d, err := readACL()
	must(t, err)
	s := setup{cluster: &harness.ClusterOptions{}, config: d.policies, user: "gateway:secret"}
	s.prepare = func(f *fixture) error {
		for _, n := range f.cluster.Nodes {
			if err := d.apply(n.DB, "The gateway/gateway", "In a Cluster/gateway", "A publisher/tasks"); err != nil {
				return err
			}
			if err := n.DB.Do(context.Background(), "ACL", "SETUSER", "tasks", "+cluster|slots", "+command").Err(); err != nil {
				return err
			}
		}
		return nil
	}
	f := own(t, s)
	chs := []string{aclTasks, aclStatus}
	streams := []listener{open(t, f.url(0), on(chs...)), open(t, f.url(1), on(chs...))}
	for n := 1; n <= 6; n += 3 {
		for _, ch := range chs {
			_, err := command(t, nil, "publish", ch, harness.Counted(n), "--redis-url", as("tasks:secret", f.cluster.URL()))
			must(t, err)
			for _, s := range streams {
				waitNumber(t, s, ch, n)
			}
			publish(t, f, ch, harness.Counted(n+1))
			for _, s := range streams {
				waitNumber(t, s, ch, n+1)
			}
			fcall(t, f, ch, harness.Counted(n+2))
			for _, s := range streams {
				waitNumber(t, s, ch, n+2)
			}
		}
		// The second round is by redirection, and at the new owner.
		if n == 1 {
			slot, err := f.cluster.Slot(aclTasks)
			must(t, err)
			from, err := f.cluster.Owner(aclTasks)
			must(t, err)
			to := f.cluster.Nodes[0]
			if to == from {
				to = f.cluster.Nodes[1]
			}
			must(t, f.cluster.MoveSlot(slot, from, to, harness.Move{Emptied: func() { publish(t, f, aclTasks, "while it moves") }}))
		}
	}
	for _, s := range streams {
		for _, ch := range chs {
			wait(t, s, "everything", func(v harness.View) bool { return len(v.Published(ch)) >= 6 })
		}
		noGaps(t, s)
	}
	for _, n := range f.cluster.Nodes {
		wantNoDenials(t, n.DB, "gateway")
		wantNoDenials(t, n.DB, "tasks")
	}
}

// A right that the gateway lacks is no fault of who publishes.
func TestPublishingWithoutARightOfTheGateway(t *testing.T) {
	t.Parallel()
	f := restricted(t, setup{replicas: 1}, "The gateway/gateway")
	must(t, f.redis.DB.Do(t.Context(), "ACL", "SETUSER", "gateway", "-xadd").Err())
	token := harness.Token{Sub: "service", Publish: []string{"project:**"}}.Sign()
	for range 2 {
		a := ask(t, http.MethodPost, of(f.url(0), aclTasks), token, "x")
		wantProblem(t, a, 503)
		for _, internal := range []string{"gateway_publish", "script", "ACL", "Redis URL"} {
			if strings.Contains(a.body, internal) {
				t.Errorf("the publisher is told of %q: %s", internal, a.body)
			}
		}
	}
	lines := 0
	for line := range strings.Lines(f.replicas[0].Log.String()) {
		if strings.Contains(line, "cannot be published") {
			lines++
			if !strings.Contains(line, "WARN") || !strings.Contains(line, "docs/redis-acl.md") {
				t.Errorf("the log says %s", line)
			}
		}
	}
	if lines != 1 {
		t.Errorf("the log says it %d times, want once", lines)
	}
	must(t, f.redis.DB.Do(t.Context(), "ACL", "SETUSER", "gateway", "+xadd").Err())
	if a := ask(t, http.MethodPost, of(f.url(0), aclTasks), token, "x"); a.status/100 != 2 {
		t.Errorf("with the right it is answered with %d: %s", a.status, a.body)
	}
}
