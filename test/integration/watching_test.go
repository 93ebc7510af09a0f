package integration_test

import (
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/prometheus/common/model"

	"realtime-gateway/test/integration/harness"
)

const (
	dashboardFile = "../../helm/dashboards/overview.json"
	alertsFile    = "../../helm/alerts/gateway.yaml"
)

// shown is one query of a dashboard's panel, with values for the variables, and
// what it gave.
type shown struct {
	panel, legend, query string
	counts               bool // it is of counters alone, and no ratio of them

	idle, peak string
	series     int  // that had a value in the run
	moved      bool // one was more than 0
}

func readDashboard(t *testing.T) (list []*shown) {
	t.Helper()
	text, err := os.ReadFile(dashboardFile)
	must(t, err)
	var d struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr, LegendFormat string }
		}
	}
	must(t, json.Unmarshal(text, &d))
	kinds := documentedMetrics(t)
	name := regexp.MustCompile(`\b(gateway|go|process)_[a-z_]+`)
	variables := strings.NewReplacer("$__rate_interval", "15s", "$namespace", ".*", "$job", ".*", "$instance", ".*")
	for _, p := range d.Panels {
		for _, target := range p.Targets {
			s := &shown{panel: p.Title, legend: target.LegendFormat, query: variables.Replace(target.Expr)}
			s.counts = !strings.Contains(s.query, " / ")
			for _, n := range name.FindAllString(s.query, -1) {
				s.counts = s.counts && kinds[n].kind == "counter"
			}
			list = append(list, s)
		}
	}
	return list
}

// idly takes what an instant gives: a panel of counters shows 0 and not nothing.
func (s *shown) idly(t *testing.T, p *harness.Prometheus) {
	t.Helper()
	v, err := p.Query(s.query)
	must(t, err)
	s.idle = "-"
	for i, sample := range v {
		if value := float64(sample.Value); i == 0 || value > 0 {
			s.idle = fmt.Sprintf("%.4g", value)
		}
		if s.counts && math.IsNaN(float64(sample.Value)) {
			t.Errorf("idle, %q shows %v: %s", s.panel, sample, s.query)
		}
	}
	if s.counts && len(v) == 0 {
		t.Errorf("idle, %q shows nothing: %s", s.panel, s.query)
	}
}

// over takes what the whole run gives.
func (s *shown) over(t *testing.T, p *harness.Prometheus, begun time.Time) {
	t.Helper()
	m, err := p.QueryRange(s.query, begun)
	must(t, err)
	peak := 0.0
	for _, series := range m {
		points := slices.DeleteFunc(series.Values, func(p model.SamplePair) bool { return math.IsNaN(float64(p.Value)) })
		if len(points) > 0 {
			s.series++
		}
		for _, point := range points {
			peak = max(peak, float64(point.Value))
		}
	}
	s.peak, s.moved = fmt.Sprintf("%.4g", peak), peak > 0
}

// What an operator looks at has something to show: two replicas are scraped by a
// real Prometheus while nothing happens, while everything happens, while Redis
// goes, and while one of them leaves. No panel stays empty, no alert is up while
// all is well, and those are that should be.
func TestWatching(t *testing.T) {
	t.Parallel()
	var failing atomic.Bool
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if failing.Load() {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		fmt.Fprint(w, `{"allow":true}`)
	}))
	t.Cleanup(app.Close)
	keys := newIssuer(t, keySet(jwk(ecKey().Public(), "known")))
	flags := []string{
		"--max-connections", "8", "--log-memory", "524288", "--webhook-url", app.URL, "--webhook-secret", harness.Secret, "--jwks-url", keys.URL,
		"--max-publish-rate-per-user", "1", "--write-timeout", "1m", "--drain-time", "4s",
	}
	env := []string{"GOMEMLIMIT=1GiB"}
	f := own(t, setup{replicas: 1, config: measured, flags: flags, env: env})
	c, err := harness.NewCertificate(t.TempDir(), time.Now().Add(90*24*time.Hour))
	must(t, err)
	second, err := f.join(f.redis.URL(), append(slices.Clone(flags), "--tls-cert-file", c.CertFile, "--tls-key-file", c.KeyFile), env)
	must(t, err)
	must(t, second.WaitReady())
	first := f.replicas[0]

	begun := time.Now()
	p, err := harness.NewPrometheus(t.TempDir(), alertsFile, first, second)
	must(t, err)
	t.Cleanup(func() { must(t, p.Close()) })
	must(t, p.WaitFor(`min(count_over_time(gateway_ready{job="gateway"}[1m])) >= 3`))
	must(t, p.WaitFor(`sum(gateway_recorder_patterns{role="first"}) == sum(gateway_recorder_patterns{role="second"}) > 0`))
	panels := readDashboard(t)
	for _, s := range panels {
		s.idly(t, p)
	}
	alerts, err := p.Rules()
	must(t, err)
	if len(alerts) == 0 {
		t.Fatalf("Prometheus loaded no alerts:\n%s", p.Log)
	}
	for _, a := range alerts {
		v, err := p.Query(a.Query)
		must(t, err)
		if len(v) > 0 {
			t.Errorf("while all is well, %s is up: %v", a.Name, v)
		}
	}

	beginHistograms(t, f)
	must(t, p.Scraped())
	slow := makeBusy(t, f, second, c, func(fail bool) {
		failing.Store(fail)
		if fail {
			keys.answer(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) })
		}
	})
	must(t, p.Scraped())
	slow.Resume()
	wait(t, slow, "a gap", func(v harness.View) bool { return len(v.Named("gateway.gap")) > 0 })

	must(t, f.redis.Kill())
	must(t, p.WaitFor(`max(gateway_redis_up) == 0`))
	must(t, p.Scraped())
	must(t, f.redis.Start())
	must(t, p.WaitFor(`min(gateway_redis_up) == 1`))

	for range 4 {
		open(t, "https://"+second.Addr, harness.Subscribe{Channels: []string{channel("hist")}, TLS: c.Client()})
	}
	if code, err := second.Process().Terminate(); err != nil || code != 0 {
		t.Errorf("the second replica left with %d, %v", code, err)
	}
	must(t, p.WaitFor(`up{job="gateway"} == 0`))
	must(t, p.Scraped())

	var table strings.Builder
	w := tabwriter.NewWriter(&table, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "panel\tlegend\tseries\tidle\tpeak")
	for _, s := range panels {
		s.over(t, p, begun)
		fmt.Fprintf(w, "%s\t%s\t%d\t%s\t%s\n", s.panel, s.legend, s.series, s.idle, s.peak)
		if s.series == 0 {
			t.Errorf("%q shows nothing of the run: %s", s.panel, s.query)
		} else if !s.moved {
			t.Errorf("%q shows 0 throughout the run: %s", s.panel, s.query)
		}
	}
	up := map[string]bool{}
	alerts, err = p.Rules()
	must(t, err)
	fmt.Fprintln(w, "\nalert\tseverity\tseconds\t\tlast value")
	for _, a := range alerts {
		if a.Health != "ok" {
			t.Errorf("%s is not evaluated: %s", a.Name, a.LastError)
		}
		m, err := p.QueryRange(a.Query, begun)
		must(t, err)
		longest, last := 0, "-"
		for _, series := range m {
			longest, last = max(longest, len(series.Values)), fmt.Sprintf("%.4g", float64(series.Values[len(series.Values)-1].Value))
		}
		up[a.Name] = longest > 0
		fmt.Fprintf(w, "%s\t%s\t%.1f\t\t%s\n", a.Name, a.Labels["severity"], float64(longest)/2, last)
	}
	must(t, w.Flush())
	harness.Figure(t, "\n%s", table.String())
	for _, name := range []string{
		"GatewayWithoutRedis", "GatewayRedisLinksMissing", "GatewayEventsLost", "GatewayReplicaDown",
		"GatewayPlainRejected", "GatewayFull", "GatewayNearlyFull", "GatewayWebhookFails", "GatewayWebhookCircuitOpen", "GatewayTokensUnverified",
	} {
		if !up[name] {
			t.Errorf("%s was not up in a run that has what it is for", name)
		}
	}
}

// beginHistograms gives each histogram a first value, with which it appears.
// Prometheus sees what comes after that one.
func beginHistograms(t *testing.T, f *fixture) {
	t.Helper()
	ch := channel("hist")
	s := open(t, f.url(0), on(ch))
	fcall(t, f, ch, harness.Counted(1))
	waitNumber(t, s, ch, 1)
	s.Close()
	asked := on("asked:x")
	asked.Header = someone().token("", time.Minute)
	open(t, f.url(0), asked).Close()
	must(t, harness.Until("a stream has ended", harness.Deadline, func() error {
		return moved(f.replicas[0], "gateway_stream_lifetime_seconds_count")
	}))
}

// makeBusy does everything at the first replica that a gateway is for, good and
// bad, and what takes TLS at the second. It returns a client that is behind.
func makeBusy(t *testing.T, f *fixture, second *harness.Gateway, c *harness.Certificate, fail func(bool)) *harness.Stream {
	t.Helper()
	g, base := f.replicas[0], f.url(0)
	as := func(sub harness.Subscribe, h http.Header) harness.Subscribe { sub.Header = h; return sub }

	// Rights: a good token and bad ones, and rights that are taken back.
	alice := someone()
	private := "members:" + alice.name
	s := open(t, base, as(on(private), alice.token("t1", time.Minute)))
	connect(t, base, as(on(private), bearer("nonsense"))).Close()
	connect(t, base, as(on(private), bearer(harness.Token{Sub: alice.name, Expires: time.Now().Add(-time.Hour)}.Sign()))).Close()
	disconnect(t, f, alice)
	waitEnd(t, s, harness.Deadline)

	// Events by all ways, one that is too old, one that is none.
	ch := channel("hist")
	s = open(t, base, on(ch))
	fcall(t, f, ch, harness.Counted(1))
	publish(t, f, ch, harness.Counted(2))
	waitNumber(t, s, ch, 2)
	publish(t, f, "gw:"+ch, "oops")
	fcall(t, f, ch, harness.Counted(3), "TTL", 1)
	cursor := s.Now().Of(ch)[0].ID
	s.Close()
	for n := 4; n <= 60; n++ {
		fcall(t, f, ch, bulky(n)) // more than the logs may hold
	}
	back := open(t, base, harness.Subscribe{Channels: []string{ch}, From: cursor})
	waitNumber(t, back, ch, 60)
	again := open(t, base, harness.Subscribe{Channels: []string{ch}, From: back.Now().Cursor})
	prices := open(t, base, on("price:x"))
	for n := range 50 {
		fcall(t, f, "price:x", fmt.Sprintf(`{"type":"p","data":{"symbol":"a","n":%d}}`, n))
	}
	wait(t, prices, "a price", func(v harness.View) bool { return len(v.Of("price:x")) > 0 })
	secure := open(t, "https://"+second.Addr, harness.Subscribe{Channels: []string{ch}, TLS: c.Client()})
	for n := 61; n <= 80; n++ {
		fcall(t, f, ch, harness.Counted(n))
		waitNumber(t, secure, ch, n)
	}

	// A poll, a history, and publishing until it is too much.
	query := "?channel=" + ch + "&mode=poll&lastEventId=" + cursor
	readPoll(t, ask(t, http.MethodGet, base+"/v1/events"+query, "", ""))
	if a := ask(t, http.MethodGet, of(base, ch), "", ""); a.status != http.StatusOK {
		t.Fatalf("history: %d %s", a.status, a.body)
	}
	bob := someone()
	for range 1000 { // one a second, and 20 at once
		a := ask(t, http.MethodPost, of(base, "members:"+bob.name), strings.TrimPrefix(bob.token("", 0).Get("Authorization"), "Bearer "), harness.Counted(1))
		if a.status == http.StatusTooManyRequests {
			break
		}
	}

	// The application's word, and its silence, in which nobody can tell who has
	// the new key either.
	open(t, base, as(on("asked:x"), someone().token("", time.Minute))).Close()
	fail(true)
	wantTemporary(t, base, es256(nextKey(), "unknown"))
	must(t, harness.Until("the circuit opens", 2*harness.Deadline, func() error {
		s := connect(t, base, as(on("asked:x"), someone().token("", time.Minute)))
		s.Close()
		return moved(g, `gateway_webhook_questions_total{result="circuit"}`)
	}))
	fail(false)

	// Connections that Redis cuts, and what is announced meanwhile.
	must(t, f.redis.KillPubSub(t.Context()))
	fcall(t, f, ch, harness.Counted(81))
	waitNumber(t, again, ch, 81)

	// A client that is too slow, and as many as there may be.
	crowded := channel("slow:oldest-kept")
	slow := open(t, base, harness.Subscribe{Channels: []string{crowded}, ReceiveBuffer: 8 << 10})
	slow.Pause()
	must(t, harness.Until("somebody is behind", 4*harness.Deadline, func() error {
		for n := 1; n <= 100; n++ {
			fcall(t, f, crowded, bulky(n))
		}
		return moved(g, "gateway_subscriptions_behind")
	}))
	must(t, harness.Until("the replica is full", harness.Deadline, func() error {
		connect(t, base, on(ch))
		return moved(g, `gateway_limited_total{limit="replica_connections"}`)
	}))
	return slow
}
