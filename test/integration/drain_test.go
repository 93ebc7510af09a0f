package integration_test

import (
	"cmp"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"realtime-gateway/test/integration/harness"
)

// A replica that leaves closes its streams spread over the drain time, each
// with its own retry, and nobody loses an event by it.
func TestDrain(t *testing.T) {
	t.Parallel()
	f := own(t, setup{flags: []string{"--drain-time", "2s"}})
	ch := channel("many")
	var streams []*harness.Stream
	for range 30 {
		streams = append(streams, open(t, f.url(0), on(ch)))
	}
	followers := []*harness.Follower{follow(t, on(ch), f.url(0), f.url(1)), follow(t, on(ch), f.url(0), f.url(1))}
	stays := open(t, f.url(1), on(ch))
	p := harness.StartPublisher(f.db(), harness.ByFunction, 5*time.Millisecond, ch)
	for _, s := range streams {
		waitNumber(t, s, ch, 10)
	}
	start := time.Now()
	code, err := f.replicas[0].Process().Terminate()
	must(t, err)
	if code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
	wantLeftWithin(t, start, 2*time.Second)
	retries := map[int]bool{}
	var first, last time.Time
	for _, s := range streams {
		v := waitEnd(t, s, harness.Deadline)
		if v.EndErr != nil {
			t.Errorf("a stream broke: %v", v.EndErr)
		}
		c := wantClose(t, v, true)
		if c.Retry != nil {
			retries[*c.Retry] = true
		}
		if first.IsZero() || c.At.Before(first) {
			first = c.At
		}
		if c.At.After(last) {
			last = c.At
		}
		// In order up to its end, and goes on from there elsewhere.
		heard := v.Published(ch)
		wantNumbers(t, v.Of(ch), 1, len(heard))
		again := open(t, f.url(1), from(v.Cursor, ch))
		waitNumber(t, again, ch, len(heard)+5)
		wantNumbers(t, again.Now().Of(ch)[:5], len(heard)+1, len(heard)+5)
		again.Close()
	}
	if len(retries) < 10 {
		t.Errorf("%d streams got only %d different retry values", len(streams), len(retries))
	}
	if spread := last.Sub(first); spread < 500*time.Millisecond {
		t.Errorf("all streams ended within %v of a drain time of 2 s", spread)
	}
	n, err := p.Stop()
	must(t, err)
	for _, l := range []listener{followers[0], followers[1], stays} {
		waitNumber(t, l, ch, n)
		wantNumbers(t, l.Now().Of(ch), 1, n)
	}
	stillOpen(t, stays)
}

// From the first moment a replica that leaves is not ready, and sends newcomers
// on in a way after which a browser comes back.
func TestDrainRefusesNewcomers(t *testing.T) {
	t.Parallel()
	f := own(t, setup{replicas: 1, flags: []string{"--drain-time", "5s"}})
	g := f.replicas[0]
	ch := channel("hist")
	streams := make([]*harness.Stream, 20)
	for i := range streams {
		streams[i] = open(t, g.URL(), on(ch))
	}
	must(t, g.Process().Signal(syscall.SIGTERM))
	must(t, g.WaitStatus(harness.NotReady))
	for range 5 {
		s := connect(t, g.URL(), on(ch))
		if s.Status != http.StatusOK {
			t.Fatalf("status %d while draining, want 200: %s", s.Status, s.Problem)
		}
		v := waitEnd(t, s, harness.Deadline)
		if c := wantClose(t, v, true); c.Reason != "draining" || len(v.Events) != 1 || v.EndErr != nil {
			t.Errorf("want nothing but gateway.close, draining: %s", v)
		}
	}
	// A proxy may ask for a status on which it tries the next replica.
	for value, want := range map[string]int{"502": http.StatusBadGateway, "503": http.StatusOK} {
		sub := on(ch)
		sub.Header = http.Header{"X-Gateway-Draining": {value}}
		if s := connect(t, g.URL(), sub); s.Status != want {
			t.Errorf("with X-Gateway-Draining: %s a newcomer gets %d, want %d", value, s.Status, want)
		}
	}
	if status, _, err := g.Readiness(); err != nil || status != harness.NotReady {
		t.Errorf("it is %q while draining (%v)", status, err)
	}
	wantExit(t, g, 0)
}

// So does one whose last stream has ended, or that never had one: load balancers
// send newcomers until their checks have failed, and make a 502 of a refused
// connection.
func TestDrainAnswersNewcomersUntilItsEnd(t *testing.T) {
	t.Parallel()
	for _, streams := range []int{0, 1} {
		f := own(t, setup{replicas: 1, flags: []string{"--drain-time", "4s"}})
		g := f.replicas[0]
		var s *harness.Stream
		for range streams {
			s = open(t, g.URL(), on(channel("hist")))
		}
		must(t, g.Process().Signal(syscall.SIGTERM))
		must(t, g.WaitStatus(harness.NotReady))
		if s != nil {
			wantClose(t, waitEnd(t, s, harness.Deadline), true)
		}
		for range 5 {
			if c := wantClose(t, waitEnd(t, connect(t, g.URL(), on(channel("hist"))), harness.Deadline), true); c.Reason != "draining" {
				t.Errorf("after %d streams a newcomer is told %s", streams, c.Data)
			}
		}
		wantExit(t, g, 0)
	}
}

// wantExit waits until the replica has ended.
func wantExit(t *testing.T, g *harness.Gateway, want int) {
	t.Helper()
	code, err := g.Process().Wait(2 * harness.Deadline)
	must(t, err)
	if code != want {
		t.Errorf("exit code %d, want %d", code, want)
	}
}

// The ends are spread evenly over the drain time, and so are the times that
// clients are told to come back: what is compared is the distribution, as
// fractions of the time.
func TestDrainSpreadsTheEnds(t *testing.T) {
	t.Parallel()
	for _, path := range []string{"auto", "goroutine"} {
		t.Run(path, func(t *testing.T) {
			t.Parallel()
			const n, drain = 150, 5 * time.Second
			f := own(t, setup{replicas: 1, flags: []string{"--drain-time", drain.String(), "--stream-path", path}})
			var streams []*harness.Stream
			for range n {
				streams = append(streams, open(t, f.url(0), on(channel("hist"))))
			}
			begin := time.Now()
			must(t, f.replicas[0].Process().Signal(syscall.SIGTERM))
			var ends, retries []float64
			order := make([]int, n) // which stream ended at which place
			for i, s := range streams {
				c := wantClose(t, waitEnd(t, s, drain+harness.Deadline), true)
				if c.Reason != "draining" || c.Retry == nil {
					t.Fatalf("closed by %s", c.Data)
				}
				ends = append(ends, c.At.Sub(begin).Seconds()/drain.Seconds())
				retries = append(retries, (float64(*c.Retry)-500)/2500)
				order[i] = i
			}
			wantExit(t, f.replicas[0], 0)
			// 0.13 is what an even distribution of so many exceeds once in a hundred
			// times, and 1 what all at once is.
			if d := unevenness(ends); d > 0.2 {
				t.Errorf("the ends are spread unevenly, by %.2f: %.2f", d, ends)
			}
			if d := unevenness(retries); d > 0.2 {
				t.Errorf("the retries are spread unevenly, by %.2f: %.2f", d, retries)
			}
			slices.SortFunc(order, func(a, b int) int { return cmp.Compare(ends[a], ends[b]) })
			if slices.IsSorted(order) {
				t.Error("the streams ended in the order in which they began")
			}
		})
	}
}

// unevenness is the statistic of Kolmogorov and Smirnov: how far the share of
// values below x is from x, at most. 0 is even between 0 and 1, 1 is all at one end.
func unevenness(values []float64) (d float64) {
	sorted := slices.Sorted(slices.Values(values))
	for i, x := range sorted {
		d = max(d, float64(i+1)/float64(len(sorted))-x, x-float64(i)/float64(len(sorted)))
	}
	return d
}

// A stream that gets too old ends like one of a replica that leaves.
func TestOldStreamsEndAsInADrain(t *testing.T) {
	t.Parallel()
	f := own(t, setup{replicas: 1, flags: []string{"--max-connection-age", "1s"}})
	ch := channel("hist")
	s := open(t, f.url(0), on(ch))
	count(t, f, ch, 1, 2)
	v := waitEnd(t, s, harness.Deadline)
	if c := wantClose(t, v, true); c.Reason != "max_age" || v.EndErr != nil {
		t.Errorf("closed by %s (%v)", c.Data, v.EndErr)
	}
	count(t, f, ch, 3, 4)
	again := open(t, f.url(0), from(v.Cursor, ch))
	waitNumber(t, again, ch, 4)
	wantNumbers(t, append(v.Of(ch), again.Now().Of(ch)...), 1, 4)
}

// Whoever asks twice does not wait.
func TestSecondSignalEndsAtOnce(t *testing.T) {
	t.Parallel()
	for _, sig := range []os.Signal{syscall.SIGTERM, os.Interrupt} {
		f := own(t, setup{replicas: 1, flags: []string{"--drain-time", "10m"}})
		g := f.replicas[0]
		s := open(t, g.URL(), on(channel("hist")))
		open(t, g.URL(), on(channel("hist")))
		must(t, g.Process().Signal(sig))
		must(t, g.WaitStatus(harness.NotReady))
		stillOpen(t, s)
		must(t, g.Process().Signal(sig))
		wantExit(t, g, 1)
		waitEnd(t, s, harness.Deadline)
	}
}

// What was counted and traced last is at the collector when the process has
// ended, though nothing was due to be sent.
func TestDrainFlushesTelemetry(t *testing.T) {
	t.Parallel()
	collector, err := harness.NewCollector()
	must(t, err)
	t.Cleanup(func() { must(t, collector.Close()) })
	f := own(t, setup{replicas: 1, flags: []string{"--drain-time", "1s"}, env: []string{
		"OTEL_EXPORTER_OTLP_ENDPOINT=" + collector.URL(), "OTEL_BSP_SCHEDULE_DELAY=3600000", "OTEL_METRIC_EXPORT_INTERVAL=3600000",
	}})
	const n, trace = 10, "0af7651916cd43dd8448eb211c80319c"
	ch := channel("hist")
	var streams []*harness.Stream
	for range n {
		streams = append(streams, open(t, f.url(0), on(ch)))
	}
	fcall(t, f, ch, `{"type":"count","n":1,"traceparent":"00-`+trace+`-b7ad6b7169203331-01"}`)
	for _, s := range streams {
		waitNumber(t, s, ch, 1)
	}
	if spans := collector.Spans(""); len(spans) > 0 {
		t.Errorf("%d spans were sent already", len(spans))
	}
	code, err := f.replicas[0].Process().Terminate()
	must(t, err)
	if code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
	if spans := named(collector.Spans(trace), "fan-out"); len(spans) != 1 {
		t.Errorf("%d spans of the fan-out arrived, want 1", len(spans))
	}
	for name, want := range map[string]float64{"gateway.streams.closed": n, "gateway.events.out": n, "gateway.connections": 0} {
		if got, ok := collector.Metric(name); !ok || got != want {
			t.Errorf("%s is %v at the end (%t), want %v", name, got, ok, want)
		}
	}
}

// A collector that takes nothing, and a Redis that answers nothing, cannot keep a
// replica for longer than is promised.
func TestDrainWhileNothingAnswers(t *testing.T) {
	t.Parallel()
	hanging, err := net.Listen("tcp", "127.0.0.1:0") // takes connections, and nobody serves them
	must(t, err)
	t.Cleanup(func() { must(t, hanging.Close()) })
	f := own(t, setup{replicas: 1, flags: []string{"--drain-time", "1s"}, env: []string{"OTEL_EXPORTER_OTLP_ENDPOINT=http://" + hanging.Addr().String()}})
	open(t, f.url(0), on(channel("hist")))
	must(t, f.redis.Freeze())
	begin := time.Now()
	must(t, f.replicas[0].Process().Signal(syscall.SIGTERM))
	wantExit(t, f.replicas[0], 0)
	wantLeftWithin(t, begin, time.Second)
	must(t, f.redis.Thaw())
}

// wantLeftWithin checks what README.md promises of how long leaving takes.
func wantLeftWithin(t *testing.T, begin time.Time, drain time.Duration) {
	t.Helper()
	if took := time.Since(begin); took > drain+10*time.Second {
		t.Errorf("leaving took %v with a drain time of %v, promised are 10 s more at most", took, drain)
	}
}

// Clients that do not read cannot keep a replica from leaving in order.
func TestDrainWithClientsThatDoNotRead(t *testing.T) {
	t.Parallel()
	f := own(t, setup{replicas: 1, flags: []string{"--drain-time", "1s", "--write-timeout", "1m"}})
	ch := channel("many")
	stuck := harness.Subscribe{Channels: []string{ch}, ReceiveBuffer: 4096}
	for range 3 {
		open(t, f.url(0), stuck).Pause()
	}
	big := strings.Repeat("x", 100_000)
	for range 40 {
		fcall(t, f, ch, big)
	}
	begin := time.Now()
	must(t, f.replicas[0].Process().Signal(syscall.SIGTERM))
	wantExit(t, f.replicas[0], 0)
	wantLeftWithin(t, begin, time.Second)
}
