package integration_test

import (
	"fmt"
	"strconv"
	"testing"

	"realtime-gateway/test/integration/harness"
)

const conflated = `channels:
  - {pattern: "price:live:**", bufferSize: 64, conflate: {by: data.symbol, window: 200ms}, subscribe: public}
  - {pattern: "price:kept:**", historySize: 10000, conflate: {by: data.symbol, window: 200ms}, subscribe: public}
`

// symbol is the key of the n-th price. Every seventh has none.
func symbol(n int) string {
	if n%7 == 0 {
		return "null"
	}
	return strconv.Quote(fmt.Sprint("S", n%7))
}

// prices publishes those from first to last at once.
func prices(t *testing.T, f *fixture, ch string, first, last int) {
	t.Helper()
	p := f.db().Pipeline()
	for n := first; n <= last; n++ {
		p.FCall(t.Context(), "gateway_publish", []string{"gw:" + ch}, fmt.Sprintf(`{"type":"price","n":%d,"data":{"symbol":%s}}`, n, symbol(n)))
	}
	if _, err := p.Exec(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// wantPrices checks that what was heard after the price before is in order,
// nothing twice, with every price that has no symbol, and with the last up to
// last of each symbol.
func wantPrices(t *testing.T, v harness.View, ch string, before, last int) {
	t.Helper()
	at, heard := before, make(map[int]bool)
	for _, e := range v.Of(ch) {
		if e.Own() || e.N <= at {
			t.Fatalf("after price %d came %s", at, e.Data)
		}
		at, heard[e.N] = e.N, true
	}
	for n := before + 1; n <= last; n++ {
		if (n%7 == 0 || n > last-7) && !heard[n] {
			t.Errorf("price %d of %s is missing after %d: %s", n, symbol(n), before, v)
		}
	}
}

func TestConflate(t *testing.T) {
	t.Parallel()
	f := own(t, setup{replicas: 1, config: conflated})
	const last = 2001
	superseded := 0
	for _, family := range []string{"price:live", "price:kept"} {
		ch := channel(family)
		s, other := open(t, f.url(0), on(ch)), open(t, f.url(0), on(ch, channel(family)))
		prices(t, f, ch, 1, last)
		v := waitNumber(t, s, ch, last)
		wantPrices(t, v, ch, 0, last)
		wantPrices(t, waitNumber(t, other, ch, last), ch, 0, last)
		heard := v.Published(ch)
		if len(heard) != len(other.Now().Published(ch)) {
			t.Errorf("one got %d, the other %d", len(heard), len(other.Now().Published(ch)))
		}
		if heard[0].N != 1 || len(heard) >= last {
			t.Errorf("%d of %d came, the first was %d", len(heard), last, heard[0].N)
		}
		superseded += last - len(heard)
		wantMetric(t, f.replicas[0], "gateway_events_conflated_total", strconv.Itoa(superseded))
	}
}

func TestConflateResume(t *testing.T) {
	t.Parallel()
	f := own(t, setup{config: conflated})
	ch := channel("price:kept")
	s, elsewhere := open(t, f.url(0), on(ch)), open(t, f.url(1), on(ch))
	last := 0
	for _, n := range []int{1, 20, 1, 40} {
		prices(t, f, ch, last+1, last+n)
		last += n
		waitNumber(t, s, ch, last)
	}
	waitNumber(t, elsewhere, ch, last)
	wantPrices(t, s.Now(), ch, 0, last)
	wantPrices(t, elsewhere.Now(), ch, 0, last)
	for i, e := range s.Now().Published(ch) {
		again := open(t, f.url(i), from(e.ID, ch))
		if e.N < last {
			waitNumber(t, again, ch, last)
		}
		wantPrices(t, again.Now(), ch, e.N, last)
		again.Close()
	}

	// A client whose replica dies goes on at the other.
	wanderer := follow(t, on(ch), f.urls()...)
	begun := last
	for range 10 {
		prices(t, f, ch, last+1, last+25)
		last += 25
		if last == begun+125 {
			waitNumber(t, wanderer, ch, last)
			must(t, f.replicas[0].Kill())
		}
	}
	waitNumber(t, wanderer, ch, last)
	wantPrices(t, wanderer.Now(), ch, begun, last)

	var page struct{ Events []any }
	a := ask(t, "GET", of(f.url(1), ch)+"?limit=1000", "", "")
	if unmarshal(a.body, &page); len(page.Events) != last {
		t.Errorf("history has %d events, want all %d", len(page.Events), last)
	}
}
