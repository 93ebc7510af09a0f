package integration_test

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"realtime-gateway/test/integration/harness"
)

// A stream lasts over many answers of the application without a gap. With a
// denial it loses that channel, before anything that is published afterwards,
// and no other.
func TestApplicationTakesAChannelBack(t *testing.T) {
	t.Parallel()
	app := newApplication(t)
	onBothPaths(t, app.setup(setup{replicas: 1}), func(t *testing.T, f *fixture) {
		lost, kept, public := channel("w"), channel("w"), channel("hist")
		app.answers(lost, allows(1))
		app.answers(kept, allows(1))
		token := harness.Token{Sub: "alice"}.Sign()
		all := harness.Subscribe{Channels: []string{lost, kept, public}, Header: bearer(token)}
		s := open(t, f.url(0), all)
		only := open(t, f.url(0), harness.Subscribe{Channels: []string{lost}, Header: bearer(token)})
		nobody := open(t, f.url(0), on(lost))
		polled := make(chan answer, 1)
		const asks = 5
		for n := 1; n <= asks; n++ {
			app.waitAsked(t, lost, 2*n) // of alice and of nobody
			app.waitAsked(t, kept, n)
			count(t, f, lost, n, n)
			count(t, f, kept, n, n)
			if n == asks {
				// Nothing is published before its answer.
				cursor := waitNumber(t, only, lost, n).Cursor
				go func() {
					a, _ := tryAsk(context.Background(), http.MethodGet, events(f.url(0), url.Values{"channel": {lost}, "mode": {"poll"}, "lastEventId": {cursor}}), token, "")
					polled <- a
				}()
				wantMetric(t, f.replicas[0], "gateway_connections", "4")
			}
		}
		app.answers(lost, denies(0, "left the project"))
		wait(t, s, "the channel is lost", func(v harness.View) bool { return len(v.Named("gateway.error")) > 0 })
		wantOut(t, only, "left the project", lost, asks)
		wantOut(t, nobody, "left the project", lost, asks)
		wantProblem(t, <-polled, http.StatusForbidden)
		count(t, f, lost, asks+1, asks+3)
		count(t, f, public, 1, 1)
		renewed := len(app.about(kept))
		app.waitAsked(t, kept, renewed+2)
		count(t, f, kept, asks+1, asks+2)
		waitNumber(t, s, public, 1)
		v := waitNumber(t, s, kept, asks+2)
		wantNumbers(t, v.Of(lost), 1, asks)
		wantNumbers(t, v.Of(kept), 1, asks+2)
		told := v.Named("gateway.error")
		if len(told) != 1 || told[0].Channel != lost || told[0].Reason != "left the project" {
			t.Errorf("told was %+v", told)
		}
		stillOpen(t, s)

		refused := connect(t, f.url(0), all)
		wantProblem(t, answer{refused.Status, refused.Header, refused.Problem}, http.StatusForbidden)
		if !strings.Contains(refused.Problem, ": left the project") {
			t.Errorf("refused with %s", refused.Problem)
		}
		wantStatus(t, f.url(0), on(lost), http.StatusUnauthorized)

		// With the right again, it goes on where it was lost.
		app.answers(lost, allows(1))
		all.From = v.Cursor
		back := open(t, f.url(0), all)
		waitNumber(t, back, lost, asks+3)
		wantNumbers(t, back.Now().Of(lost), asks+1, asks+3)
	})
}

// Where nobody can tell any more, a stream ends when its answer does, and comes
// back to all that it missed when somebody can.
func TestApplicationHangsWhenItIsAskedAgain(t *testing.T) {
	t.Parallel()
	app := newApplication(t)
	onBothPaths(t, app.setup(setup{replicas: 1, flags: []string{"--webhook-timeout", "250ms"}}), func(t *testing.T, f *fixture) {
		ch, public := channel("w"), channel("hist")
		app.answers(ch, allows(1))
		sub := harness.Subscribe{Channels: []string{ch, public}, Header: bearer(harness.Token{Sub: "alice"}.Sign())}
		s, stays := open(t, f.url(0), sub), open(t, f.url(0), on(public))
		count(t, f, ch, 1, 2)
		waitNumber(t, s, ch, 2)
		app.waitAsked(t, ch, 3)
		app.answers(ch, hangs(""))
		v := waitEnd(t, s, harness.Deadline)
		if end := wantClose(t, v, true); end.Reason != "unavailable" || len(v.Named("gateway.error")) > 0 {
			t.Errorf("want unavailable and no error: %s", v)
		}
		count(t, f, ch, 3, 5)
		count(t, f, public, 1, 3)
		wantUnavailable(t, f.url(0), sub)
		wantNumbers(t, v.Of(ch), 1, 2)
		waitNumber(t, stays, public, 3)
		stillOpen(t, stays)

		app.answers(ch, allows(60))
		sub.From = v.Cursor
		back := follow(t, sub, f.url(0))
		waitNumber(t, back, ch, 5)
		w := waitNumber(t, back, public, 3)
		wantNumbers(t, w.Of(ch), 3, 5)
		wantNumbers(t, w.Of(public), 1, 3)
	})
}

// A stream whose token ends is told so, not that a right was lost, and its right
// is not asked about any more.
func TestTokenEndsBeforeTheAnswer(t *testing.T) {
	t.Parallel()
	app := newApplication(t)
	onBothPaths(t, app.setup(setup{replicas: 1}), func(t *testing.T, f *fixture) {
		renewed, kept, other := channel("w"), channel("w"), channel("w")
		app.answers(renewed, allows(1))
		app.answers(kept, allows(600))
		app.answers(other, allows(1))
		clock := open(t, f.url(0), on(other))
		// At least two seconds, at most three.
		token := harness.Token{Sub: "alice", Expires: time.Now().Add(3 * time.Second)}.Sign()
		sub := func(channels ...string) harness.Subscribe {
			return harness.Subscribe{Channels: channels, Header: bearer(token)}
		}
		streams := []*harness.Stream{open(t, f.url(0), sub(renewed)), open(t, f.url(0), sub(kept)), open(t, f.url(0), sub(kept, renewed))}
		app.waitAsked(t, renewed, 2)
		for _, s := range streams {
			v := waitEnd(t, s, harness.Deadline)
			if closes := v.Named("gateway.close"); len(closes) != 1 || closes[0].Reason != "token_expired" || len(v.Named("gateway.error")) > 0 {
				t.Errorf("want token_expired and no error: %s", v)
			}
		}
		once, often := len(app.about(kept)), len(app.about(renewed))
		app.waitAsked(t, other, len(app.about(other))+3)
		if n := len(app.about(kept)); n != 1 || once != 1 {
			t.Errorf("%d questions, then %d, about what stood longer than the token; want 1", once, n)
		}
		if n := len(app.about(renewed)); n != often {
			t.Errorf("%d questions after the token's end", n-often)
		}
		stillOpen(t, clock)
	})
}
