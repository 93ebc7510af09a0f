package integration_test

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"realtime-gateway/test/integration/harness"
)

// documented is a row of docs/metrics.md.
type documented struct {
	name, kind string
	label      string
	values     []string
	only       bool // exists in some cases alone
}

var metricRow = regexp.MustCompile("(?m)^\\| `(gateway_[a-z_]+)` \\| (counter|gauge|histogram) \\| (?:`([a-z]+)`: ([^|]*))? ?\\| [a-z]* ?\\| (.*) \\|$")

func documentedMetrics(t *testing.T) map[string]documented {
	t.Helper()
	text, err := os.ReadFile("../../docs/metrics.md")
	must(t, err)
	out := make(map[string]documented)
	for _, m := range metricRow.FindAllStringSubmatch(string(text), -1) {
		d := documented{name: m[1], kind: m[2], label: m[3], only: strings.Contains(m[5], " Only with ")}
		for value := range strings.SplitSeq(m[4], ",") {
			if value = strings.Trim(value, " `"); value != "" {
				d.values = append(d.values, value)
			}
		}
		out[d.name] = d
	}
	if rows := strings.Count(string(text), "\n| `gateway_"); rows == 0 || len(out) != rows {
		t.Fatalf("read %d metrics of the document: %v", len(out), slices.Sorted(maps.Keys(out)))
	}
	return out
}

// buildInfo has labels of its own, with one value each.
const buildInfo = "gateway_build_info"

// scrape reads a replica's own metrics as Prometheus does.
func scrape(g *harness.Gateway) (map[string]*dto.MetricFamily, error) {
	_, body, err := g.Ops("/metrics")
	if err != nil {
		return nil, err
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(body))
	maps.DeleteFunc(families, func(name string, _ *dto.MetricFamily) bool { return !strings.HasPrefix(name, "gateway_") })
	return families, err
}

// moves tells whether a metric has a series that is not 0.
func moves(f *dto.MetricFamily) bool {
	return slices.ContainsFunc(f.GetMetric(), func(m *dto.Metric) bool {
		return m.GetCounter().GetValue() != 0 || m.GetGauge().GetValue() != 0 || m.GetHistogram().GetSampleCount() != 0
	})
}

// seriesOf counts all series of a replica, those of Go and the process aside.
func seriesOf(families map[string]*dto.MetricFamily) (n int) {
	for _, f := range families {
		n += len(f.Metric)
	}
	return n
}

const measured = policies + `
  - {pattern: "asked:**", historySize: 10, subscribe: webhook, publish: webhook}
  - {pattern: "price:**", conflate: {by: data.symbol, window: 200ms}, subscribe: public}
`

// Every metric of the document is there, with these series and no others, and
// moves when what it counts happens.
func TestEveryDocumentedMetricMoves(t *testing.T) {
	t.Parallel()
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"allow":true}`) }))
	t.Cleanup(app.Close)
	f := own(t, setup{replicas: 1, config: measured, flags: []string{
		"--max-connections", "4", "--log-memory", "16384", "--webhook-url", app.URL, "--webhook-secret", harness.Secret,
	}})
	g, want := f.replicas[0], documentedMetrics(t)
	families, err := scrape(g)
	must(t, err)
	for name, d := range want {
		got := families[name]
		switch {
		case got == nil && (d.kind == "histogram" || d.only):
			continue
		case got == nil:
			t.Errorf("from the start there is no %s", name)
			continue
		case strings.ToLower(got.GetType().String()) != d.kind:
			t.Errorf("%s is a %s", name, got.GetType())
		}
		var values []string
		for _, m := range got.Metric {
			for _, l := range m.Label {
				if name != buildInfo && l.GetName() != d.label {
					t.Errorf("%s has the label %s", name, l)
				}
				values = append(values, l.GetValue())
			}
		}
		slices.Sort(values)
		if name == buildInfo {
			continue
		}
		if want := slices.Sorted(slices.Values(d.values)); !slices.Equal(values, want) {
			t.Errorf("the series of %s are %v, want %v", name, values, want)
		}
	}

	alice, ch := someone(), channel("hist")
	// Who anybody is.
	private := "members:" + alice.name
	as := func(sub harness.Subscribe, h http.Header) harness.Subscribe { sub.Header = h; return sub }
	s := open(t, g.URL(), as(on(private), alice.token("t1", time.Minute)))
	connect(t, g.URL(), as(on(private), http.Header{"Authorization": {"Bearer nonsense"}})).Close()
	// Events, some of them plain, one that is too old, many for a small memory.
	fcall(t, f, private, harness.Counted(1))
	waitNumber(t, s, private, 1)
	disconnect(t, f, alice)
	waitEnd(t, s, harness.Deadline)
	connect(t, g.URL(), as(on(private), alice.token("t2", time.Minute))).Close()
	a := open(t, g.URL(), on(ch))
	publish(t, f, ch, harness.Counted(1))
	waitNumber(t, a, ch, 1)
	publish(t, f, "gw:"+ch, "oops")
	cursor := a.Now().Of(ch)[0].ID
	a.Close()
	fcall(t, f, ch, harness.Counted(2), "TTL", 1)
	for n := 3; n <= 100; n++ {
		fcall(t, f, ch, bulky(n))
	}
	back := open(t, g.URL(), harness.Subscribe{Channels: []string{ch}, From: cursor})
	waitNumber(t, back, ch, 100)
	prices := open(t, g.URL(), on("price:x"))
	for n := range 50 {
		fcall(t, f, "price:x", fmt.Sprintf(`{"type":"p","data":{"symbol":"a","n":%d}}`, n))
	}
	wait(t, prices, "a price", func(v harness.View) bool { return len(v.Of("price:x")) > 0 })
	// The application's word, and a replica that is full.
	open(t, g.URL(), as(on("asked:x"), someone().token("", time.Minute)))
	open(t, g.URL(), on(ch))
	waitEnd(t, connect(t, g.URL(), on(ch)), harness.Deadline)
	// A slow client.
	prices.Close()
	wantMetric(t, g, "gateway_connections", "3")
	crowded := channel("slow:oldest-kept")
	slow := open(t, g.URL(), harness.Subscribe{Channels: []string{crowded}, ReceiveBuffer: 8 << 10})
	slow.Pause()
	must(t, harness.Until("somebody is behind", 4*harness.Deadline, func() error {
		for n := 1; n <= 100; n++ {
			fcall(t, f, crowded, bulky(n))
		}
		return moved(g, "gateway_subscriptions_behind")
	}))
	// Connections that Redis cuts.
	must(t, f.db().Do(t.Context(), "CLIENT", "KILL", "TYPE", "pubsub").Err())

	must(t, harness.Until("every metric moves", 2*harness.Deadline, func() error {
		families, err := scrape(g)
		if err != nil {
			return err
		}
		var still []error
		for name, d := range want {
			if !d.only && !moves(families[name]) {
				still = append(still, fmt.Errorf("%s does not move", name))
			}
		}
		return errors.Join(still...)
	}))
	families, err = scrape(g)
	must(t, err)
	for name := range families {
		if _, ok := want[name]; !ok {
			t.Errorf("%s is not in the document", name)
		}
	}
	for _, d := range want {
		for _, m := range families[d.name].GetMetric() {
			for _, l := range m.Label {
				if d.name != buildInfo && !slices.Contains(d.values, l.GetValue()) {
					t.Errorf("%s has the series %s", d.name, l)
				}
			}
		}
	}
}

// A thousand channels and a thousand users make no series.
func TestSeriesDoNotGrow(t *testing.T) {
	t.Parallel()
	f := own(t, setup{replicas: 1, config: "channels:\n  - {pattern: \"many:**\", historySize: 10, subscribe: authenticated, publish: authenticated}\n"})
	g := f.replicas[0]
	use := func(from, to int) {
		t.Helper()
		var names []string
		for i := from; i < to; i++ {
			name := fmt.Sprintf("many:c%d", i)
			token := harness.Token{Sub: fmt.Sprintf("user-%d", i)}.Sign()
			if a := ask(t, http.MethodPost, of(g.URL(), name), token, harness.Counted(1)); a.status != http.StatusOK {
				t.Fatalf("answered %d %s", a.status, a.body)
			}
			if names = append(names, name); len(names) == 200 || i == to-1 {
				open(t, g.URL(), harness.Subscribe{Channels: names, Header: http.Header{"Authorization": {"Bearer " + token}}})
				names = nil
			}
		}
	}
	use(0, 10)
	must(t, harness.Until("the first probe is heard", harness.Deadline, func() error { // with which a histogram begins
		return moved(g, "gateway_redis_probe_round_trip_seconds_count")
	}))
	few, err := scrape(g)
	must(t, err)
	use(10, 1010)
	wantMetric(t, g, "gateway_channels", "1010")
	many, err := scrape(g)
	must(t, err)
	if seriesOf(many) != seriesOf(few) {
		t.Errorf("%d series became %d", seriesOf(few), seriesOf(many))
	}
}
