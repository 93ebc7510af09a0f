package main

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/alicebob/miniredis/v2"
	"github.com/alicebob/miniredis/v2/server"
)

// functions is a Redis that remembers what its functions are called with.
func functions(t *testing.T, answer func(c *server.Peer)) (address string, calls *[][]string) {
	t.Helper()
	redis := miniredis.RunT(t)
	calls = new([][]string)
	if err := redis.Server().Register("FCALL", func(c *server.Peer, _ string, args []string) {
		*calls = append(*calls, slices.Clone(args))
		answer(c)
	}); err != nil {
		t.Fatal(err)
	}
	return "redis://" + redis.Addr(), calls
}

func TestPublish(t *testing.T) {
	url, calls := functions(t, func(c *server.Peer) { c.WriteBulk("1700000000000-3") })
	env := []string{"GATEWAY_REDIS_URL=" + url}
	const body = `{"type":"task_created","data":{"id":7}}`
	out := execute(t, env, "publish", "project:42:tasks", body, "--event-id", "e1", "--ttl", "1m").must(t)
	if out != "1700000000000-3\n" {
		t.Errorf("printed %q", out)
	}
	execute(t, env, "publish", "a", "text", "--event-id=e2", "--type=note", "--redis-prefix=other").must(t)
	execute(t, env, "publish", "--event-id=e3", "--", "a", "-1").must(t)
	want := [][]string{
		{"gateway_publish", "1", "gw:project:42:tasks", body, "EVENTID", "e1", "TTL", "60000"},
		{"gateway_publish", "1", "other:a", "text", "EVENTID", "e2", "TYPE", "note"},
		{"gateway_publish", "1", "gw:a", "-1", "EVENTID", "e3"},
	}
	if !reflect.DeepEqual(*calls, want) {
		t.Errorf("called\n%q\nwant\n%q", *calls, want)
	}
}

func TestPublishIsRefused(t *testing.T) {
	url, calls := functions(t, func(c *server.Peer) { c.WriteError("ERR gateway: no") })
	env := []string{"GATEWAY_REDIS_URL=" + url}
	execute(t, env, "publish", "a", "b").wantError(t, exitFailure, `publish to "a": refused: no`)
	execute(t, env, "publish", "a", "b", "--event-id", "x\ny").wantError(t, exitUsage, "event")
	if len(*calls) != 1 {
		t.Errorf("called %q", *calls)
	}
}

func TestPayload(t *testing.T) {
	if got, err := payload("-", strings.NewReader("from stdin\n")); got != "from stdin\n" || err != nil {
		t.Errorf("payload - is %q, %v", got, err)
	}
	if got, err := payload("text", nil); got != "text" || err != nil {
		t.Errorf("payload is %q, %v", got, err)
	}
	for name, text := range map[string]string{"too large": strings.Repeat("x", maxStdin+1), "not UTF-8": "\xff"} {
		if _, err := payload("-", strings.NewReader(text)); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
