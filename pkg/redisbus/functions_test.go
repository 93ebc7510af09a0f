package redisbus

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"realtime-gateway/pkg/channels"
)

// loadFunctions loads a library into a server of its own. Other than a script,
// a library remembers from call to call.
func loadFunctions(t testing.TB, l *library, change ...string) *redisServer {
	t.Helper()
	s := startServer(t)
	s.do("function", "load", "replace", strings.NewReplacer(change...).Replace(l.functions(identity{stamp: 1})))
	return s
}

// calls is how often a command was executed.
func (s *redisServer) calls(command string) int {
	s.t.Helper()
	_, after, _ := strings.Cut(s.do("info", "commandstats").(string), "cmdstat_"+command+":calls=")
	text, _, _ := strings.Cut(after, ",")
	n, _ := strconv.Atoi(text)
	return n
}

func TestFunctionLooksAfterAStreamWhenThatIsDue(t *testing.T) {
	t.Parallel()
	const life, historyTTL = 1600 * time.Millisecond, 800 * time.Millisecond
	policies := policiesOf(t, channels.Policy{Pattern: patternOf(t, "a"), HistorySize: 1000, HistoryTTL: time.Second})
	s := loadFunctions(t, newLibrary("gw", 1000, policies, announceEverywhere), "life = 86400000", "life = 1600", "lives = '91800000'", "lives = '1700'", "ttl = 1000", "ttl = 800")
	publish := func() (left time.Duration, oldest, position channels.Position) {
		t.Helper()
		position, err := channels.ParsePosition(s.do("fcall", "gateway_publish", 1, "gw:a", "x").(string))
		if err != nil {
			t.Fatal(err)
		}
		if left = s.db.PTTL(t.Context(), "gw:a").Val(); left < life-100*time.Millisecond || left > life*17/16 {
			t.Errorf("the stream has %v left to live, want %v", left, life)
		}
		first := s.db.XRangeN(t.Context(), "gw:a", "-", "+", 1).Val()
		oldest, _ = channels.ParsePosition(first[0].ID)
		return left, oldest, position
	}
	published := 0
	for end := time.Now().Add(2 * time.Second); time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
		_, oldest, position := publish()
		if age := time.Duration(position.Millis-oldest.Millis) * time.Millisecond; age > historyTTL*17/16 {
			t.Errorf("an entry is still there after %v", age)
		}
		published++
	}
	// Fifty milliseconds are a sixteenth of the time that entries stay.
	if n := s.calls("pexpire"); published > 200 && (n < 10 || n > 45) {
		t.Errorf("with %d events the life was renewed %d times, want about 40", published, n)
	}
	// A stream that is made anew has nothing from before.
	s.do("del", "gw:a")
	publish()
	s.do("del", "gw:a")
	s.do("fcall", "gateway_open", 1, "gw:a")
	publish()
}

// BenchmarkFunctions reports what calls cost a redis-server on its own core,
// whatever else runs beside it, and how many it executes in a second.
func BenchmarkFunctions(b *testing.B) {
	long := func(text string) string { return strings.Repeat(text, 4096/len(text)) }
	short := `{"type":"task_created","title":"` + strings.Repeat("lorem ipsum ", 14)[:166] + `"}`
	for _, bb := range []struct {
		name     string
		function string
		payload  string
		eventID  bool
	}{
		{"publish/200B", fnPublish, short, false},
		{"publish/200B+id", fnPublish, short, true},
		{"publish/4KiB", fnPublish, long("lorem ipsum dolor "), false},
		{"publish/4KiB+id", fnPublish, long("lorem ipsum dolor "), true},
		{"publish/4KiB-latin", fnPublish, long("schöne Gärten für alle "), false},
		{"publish/4KiB-han", fnPublish, long("实时网关"), false},
		{"record/200B", fnRecord, short, false},
		{"open", fnOpen, "renew", false},
		{"last", fnLast, "", false},
	} {
		b.Run(bb.name, func(b *testing.B) {
			policies := policiesOf(b, channels.Policy{Pattern: patternOf(b, "**"), HistorySize: 1000, HistoryTTL: time.Hour})
			s := loadFunctions(b, newLibrary("gw", 1<<16, policies, announceEverywhere))
			sent := 0
			run := func(function string, n int) {
				for n > 0 {
					pipe := s.db.Pipeline()
					for range min(n, 200) {
						args := []any{"fcall", function, 1, "gw:bench:" + strconv.Itoa(sent%20), bb.payload}
						switch {
						case bb.eventID:
							args = append(args, "EVENTID", fmt.Sprintf("event-%012d", sent))
						case function == fnRecord:
							args[4] = bb.payload + strconv.Itoa(sent)
							args = append(args, "", "recorder")
						}
						pipe.Do(b.Context(), args...)
						sent++
					}
					if _, err := pipe.Exec(b.Context()); err != nil {
						b.Fatal(err)
					}
					n -= 200
				}
			}
			run(fnPublish, 20_000) // the histories are full
			before, begin := s.cpu(), time.Now()
			b.ResetTimer()
			run(bb.function, b.N)
			b.ReportMetric(float64((s.cpu()-before).Microseconds())/float64(b.N), "redis-µs/op")
			b.ReportMetric(float64(b.N)/time.Since(begin).Seconds(), "ops/s")
		})
	}
}

// cpu is the processor time that the server's threads have used.
func (s *redisServer) cpu() time.Duration {
	s.t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", s.cmd.Process.Pid))
	if err != nil {
		s.t.Fatal(err)
	}
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	var ticks int
	for _, f := range fields[11:13] {
		n, _ := strconv.Atoi(f)
		ticks += n
	}
	return time.Duration(ticks) * time.Second / 100
}
