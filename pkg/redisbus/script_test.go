package redisbus

import (
	"fmt"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"realtime-gateway/pkg/channels"
)

// scripts runs the entry points of gateway.lua over a Redis in memory.
type scripts struct {
	t       testing.TB
	mini    *miniredis.Miniredis
	client  *redis.Client
	library *library
}

func newScripts(t testing.TB) *scripts {
	mini, client := miniRedis(t)
	mini.ClockTTL(false) // lives are compared exactly
	return &scripts{t, mini, client, newLibrary("gw", 1000, testPolicies(t), announceEverywhere)}
}

func (s *scripts) run(function string, keys []string, args ...any) (any, error) {
	s.t.Helper()
	script := redis.NewScript(s.library.scripts[function].source)
	return script.Run(s.t.Context(), s.client, keys, args...).Result()
}

func (s *scripts) mustRun(function, key string, args ...any) any {
	s.t.Helper()
	answer, err := s.run(function, []string{key}, args...)
	if err != nil {
		s.t.Fatalf("%s of %s: %v", function, key, err)
	}
	return answer
}

func (s *scripts) publish(channel string, args ...any) channels.Position {
	s.t.Helper()
	text, _ := s.mustRun(fnPublish, "gw:"+channel, args...).(string)
	p, err := channels.ParsePosition(text)
	if err != nil {
		s.t.Fatal(err)
	}
	return p
}

func (s *scripts) stream(channel string) []channels.Event {
	s.t.Helper()
	entries, err := s.client.XRange(s.t.Context(), "gw:"+channel, "-", "+").Result()
	if err != nil {
		s.t.Fatal(err)
	}
	return events(entries)
}

// wantLife checks that a stream outlives what is promised, and not by much.
func (s *scripts) wantLife(channel string, promised time.Duration) {
	s.t.Helper()
	// It is counted from the position, which a record may put ahead of the clock.
	if ttl := s.mini.TTL("gw:" + channel); ttl < promised || ttl > promised+91*time.Minute {
		s.t.Errorf("the stream lives for %v, want %v and up to a sixteenth of a day more", ttl, promised)
	}
}

// hear subscribes and returns what comes.
func (s *scripts) hear(names ...string) <-chan *redis.Message {
	s.t.Helper()
	sub := s.client.Subscribe(s.t.Context(), names...)
	s.t.Cleanup(func() { sub.Close() })
	for range names {
		if _, err := sub.Receive(s.t.Context()); err != nil {
			s.t.Fatal(err)
		}
	}
	return sub.Channel()
}

func TestScriptPublish(t *testing.T) {
	s := newScripts(t)
	heard := s.hear("gw:orders", "gw:status:a", "gw:small:a")
	announced := func() channels.Event {
		t.Helper()
		e, err := parseAnnouncement((<-heard).Payload)
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	wantTop := func(channel string, want channels.Event) {
		t.Helper()
		all := s.stream(channel)
		if got := all[len(all)-1]; got != want {
			t.Errorf("the stream ends with %+v, want %+v", got, want)
		}
		if got := announced(); got != want {
			t.Errorf("announced is %+v, want %+v", got, want)
		}
	}
	one := s.publish("orders", "payload\nof two lines")
	wantTop("orders", channels.Event{Position: one, Payload: "payload\nof two lines"})
	two := s.publish("orders", "x", "ttl", "1500", "Type", "order.created", "eventid", "id 7")
	wantTop("orders", channels.Event{Position: two, Prev: one, Payload: "x", TTL: 1500 * time.Millisecond, Type: "order.created", EventID: "id 7"})
	three := s.publish("orders", "")
	wantTop("orders", channels.Event{Position: three, Prev: two})

	// The same event id again gives the first position, and says nothing.
	if again := s.publish("orders", "other", "EVENTID", "id 7"); again != two {
		t.Errorf("published again at %v, want %v", again, two)
	}
	// It belongs to its channel.
	elsewhere := s.publish("small:a", "x", "EVENTID", "id 7")
	wantTop("small:a", channels.Event{Position: elsewhere, Payload: "x", EventID: "id 7"})
	if ttl := s.mini.TTL("gw.seen:{gw:orders}:id 7"); ttl != 5*time.Minute {
		t.Errorf("event ids are remembered for %v, want 5m", ttl)
	}
	s.wantLife("orders", 24*time.Hour)
	// An id that looks like the mark of a plain payload does not touch it.
	s.mustRun(fnRecord, "gw:orders", "plain", "", "me")
	announced()
	s.publish("orders", "y", "EVENTID", ":"+sha1hex("plain"))
	announced()
	if got := s.mustRun(fnRecord, "gw:orders", "plain", "", "me").([]any); got[0] != int64(1) {
		t.Errorf("a record after it answers %v", got)
	}
	announced()

	// Without history nothing is kept, not even a stream.
	e := channels.Event{Position: s.publish("status:a", "up", "EVENTID", "1"), Payload: "up", EventID: "1"}
	if got := announced(); got != e {
		t.Errorf("announced is %+v, want %+v", got, e)
	}
	if s.publish("status:a", "up", "EVENTID", "1") != e.Position {
		t.Error("idempotency needs no history")
	}
	if s.mini.Exists("gw:status:a") {
		t.Error("a channel without history has a stream")
	}
}

// Two masters that do not know of each other give two positions to two events
// of the same millisecond, or a client that has seen the one would pass for
// somebody who has seen the other.
func TestScriptPositionsTellMastersApart(t *testing.T) {
	now := time.UnixMilli(1795267154627)
	at := func(elapsed ...time.Duration) (all []channels.Position) {
		s := newScripts(t)
		for i, d := range elapsed {
			s.mini.SetTime(now.Add(d))
			all = append(all, s.publish("orders", fmt.Sprint(i)))
		}
		return all
	}
	old := at(0, 7*time.Millisecond+40*time.Microsecond)
	other := at(time.Millisecond, 7*time.Millisecond+41*time.Microsecond, 7*time.Millisecond+90*time.Microsecond, 3*time.Millisecond)
	if a, b := old[1], other[1]; a.Millis != b.Millis || a.Seq == b.Seq || a.Seq == 0 || b.Seq == 0 {
		t.Errorf("two masters gave %v and %v", a, b)
	}
	// In the same millisecond, and where the clock goes back, Redis counts on.
	if want := (channels.Position{Millis: other[1].Millis, Seq: other[1].Seq + 1}); other[2] != want {
		t.Errorf("%v is followed by %v", other[1], other[2])
	}
	if want := (channels.Position{Millis: other[1].Millis, Seq: other[1].Seq + 2}); other[3] != want {
		t.Errorf("with the clock going back, %v is followed by %v", other[2], other[3])
	}
}

func TestScriptTrims(t *testing.T) {
	s := newScripts(t)
	var at []channels.Position
	for i := range 5 {
		at = append(at, s.publish("small:a", fmt.Sprint(i)))
	}
	kept := s.stream("small:a")
	if len(kept) != 3 || kept[0].Payload != "2" || kept[0].Prev != at[1] {
		t.Errorf("kept are %+v, want the newest three", kept)
	}
	// By age: what is older than historyTTL goes when the channel is opened, and
	// the position stays known.
	s.mini.SetTime(time.Now().Add(2 * time.Hour))
	if got := s.mustRun(fnOpen, "gw:small:a"); got != at[4].String() {
		t.Errorf("opened at %v, want %v", got, at[4])
	}
	if kept := s.stream("small:a"); len(kept) > 0 {
		t.Errorf("still there: %+v", kept)
	}
	last := s.publish("small:a", "after")
	if got := s.stream("small:a"); len(got) != 1 || got[0].Prev != at[4] || got[0].Position != last {
		t.Errorf("the next event is %+v, want one that names %v", got, at[4])
	}
}

func TestScriptOpen(t *testing.T) {
	s := newScripts(t)
	first := s.mustRun(fnOpen, "gw:orders").(string)
	if again := s.mustRun(fnOpen, "gw:orders"); again != first || first == "0-0" {
		t.Errorf("opened at %v, then at %v", first, again)
	}
	at := s.publish("orders", "x")
	if got := s.stream("orders"); len(got) != 1 || got[0].Prev.String() != first {
		t.Errorf("the first event is %+v, want one that names %v", got, first)
	}
	if got := s.mustRun(fnOpen, "gw:orders"); got != at.String() {
		t.Errorf("opened at %v, want %v", got, at)
	}
	s.mini.SetTTL("gw:orders", time.Minute)
	s.mustRun(fnOpen, "gw:orders")
	s.wantLife("orders", 24*time.Hour)
	if got := s.mustRun(fnOpen, "gw:status:a"); got != "-" || s.mini.Exists("gw:status:a") {
		t.Errorf("without history opened at %v", got)
	}
}

// Where the last position is ahead of the clock, the stream's life is counted
// from the position: as long as positions do not move on, nothing renews it.
func TestScriptCountsLifeFromThePosition(t *testing.T) {
	t.Parallel()
	s := newScripts(t)
	now := time.Now().Truncate(time.Second)
	s.mini.SetTime(now)
	one := s.publish("orders", "x")
	s.wantLife("orders", 24*time.Hour)
	s.mini.SetTime(now.Add(-10 * time.Hour))
	for what, do := range map[string]func(){
		"publishing": func() { s.publish("orders", "y") },
		"opening":    func() { s.mustRun(fnOpen, "gw:orders") },
		"recording":  func() { s.mustRun(fnRecord, "gw:orders", "z", "", "me") },
		"a loss": func() {
			s.lost("orders", channels.Loss{After: one, Upto: channels.Position{Millis: one.Millis, Seq: 1 << 20}})
		},
	} {
		t.Log(what)
		s.mini.SetTTL("gw:orders", time.Minute)
		do()
		s.wantLife("orders", 34*time.Hour)
	}
}

func TestScriptRecord(t *testing.T) {
	s := newScripts(t)
	heard := s.hear("gw.recorded")
	record := func(payload, last, by string) (made bool, position, recorder string) {
		t.Helper()
		answer := s.mustRun(fnRecord, "gw:orders", payload, last, by).([]any)
		position = answer[1].(string)
		if answer[0] == int64(1) {
			if got, want := (<-heard).Payload, position+" "+by+" "+sha1hex(payload)+" orders"; got != want {
				t.Errorf("announced %q, want %q", got, want)
			}
			return true, position, by
		}
		return false, position, answer[2].(string)
	}
	made, one, _ := record("tick", "", "A")
	if !made {
		t.Fatal("the first is not recorded")
	}
	if made, at, by := record("tick", "", "B"); made || at != one || by != "A" {
		t.Errorf("B, who has not seen A's record: %v %v %v", made, at, by)
	}
	if made, _, _ := record("tock", "", "B"); !made {
		t.Error("another content is another matter")
	}
	made, two, _ := record("tick", one, "B")
	if !made {
		t.Error("B, who has seen A's record, is refused")
	}
	if made, at, _ := record("tick", one, "A"); made || at != two {
		t.Errorf("A, who has not seen B's: %v %v", made, at)
	}
	if made, _, _ := record("tick", "", "B"); !made {
		t.Error("B, whose record is the newest, is refused")
	}
	if n := len(s.stream("orders")); n != 4 {
		t.Errorf("%d entries, want 4", n)
	}
	if ttl := s.mini.TTL("gw.plain:{gw:orders}:" + sha1hex("tick")); ttl != plainWindow {
		t.Errorf("records are remembered for %v", ttl)
	}
	entries, _ := s.client.XRange(t.Context(), "gw:orders", two, two).Result()
	if _, by, ok := parseEntry(entries[0]); !ok || by != "B" {
		t.Errorf("the entry is by %q", by)
	}
}

func TestScriptJoin(t *testing.T) {
	s := newScripts(t)
	join := func(args ...any) (now int64, live []string) {
		t.Helper()
		for i, v := range s.mustRun(fnJoin, "gw.replicas", args...).([]any) {
			if i == 0 {
				fmt.Sscan(v.(string), &now)
				continue
			}
			live = append(live, v.(string))
		}
		return now, live
	}
	begin := time.UnixMilli(1_700_000_000_000)
	s.mini.SetTime(begin)
	if now, live := join("a", 5000); now != begin.UnixMilli() || fmt.Sprint(live) != "[a]" {
		t.Errorf("joined at %d: %q", now, live)
	}
	s.mini.SetTime(begin.Add(3 * time.Second))
	if _, live := join("b", 5000); fmt.Sprint(live) != "[a b]" {
		t.Errorf("live are %q", live)
	}
	s.mini.SetTime(begin.Add(5*time.Second + time.Millisecond))
	if _, live := join("b", 5000); fmt.Sprint(live) != "[b]" {
		t.Errorf("after a's lease live are %q", live)
	}
	join("a", 5000)
	if _, live := join("b", 5000, "leave"); fmt.Sprint(live) != "[a]" {
		t.Errorf("after b left live are %q", live)
	}
	if _, live := join("b", 5000, "leave"); fmt.Sprint(live) != "[a]" {
		t.Errorf("after b left twice live are %q", live)
	}
}
