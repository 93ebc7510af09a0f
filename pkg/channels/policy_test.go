package channels

import (
	"strings"
	"testing"
	"time"
)

func TestNewPoliciesFillsDefaults(t *testing.T) {
	ps := policies(t, Policy{Pattern: pattern(t, "a"), HistorySize: 1}, Policy{Pattern: pattern(t, "b")})
	if p := ps.For("a"); p.OnFull != CatchUp || p.BufferSize != DefaultBufferSize || p.HistoryTTL != DefaultHistoryTTL || p.Subscribe != AccessToken || p.Publish != AccessToken || p.IdempotencyWindow != DefaultIdempotencyWindow {
		t.Errorf("with history: %+v", p)
	}
	if p := ps.For("b"); p.OnFull != DropOldest || p.History() {
		t.Errorf("without history: %+v", p)
	}
	if ps.For("c") != nil {
		t.Error("a channel without policy has one")
	}
}

func TestFirstMatchWinsWhoeverAsks(t *testing.T) {
	ps := policies(t, Policy{Pattern: pattern(t, "user:{sub}"), HistorySize: 7}, Policy{Pattern: pattern(t, "**")})
	if p := ps.For("user:anyone"); p.HistorySize != 7 {
		t.Errorf("the policy of user:anyone is %q", p.Pattern)
	}
}

func TestNewPoliciesRefuses(t *testing.T) {
	a := pattern(t, "a")
	for want, p := range map[string]Policy{
		"pattern is missing":        {},
		"bufferSize is -1":          {Pattern: a, BufferSize: -1},
		"historySize is 1000001":    {Pattern: a, HistorySize: MaxHistorySize + 1},
		"lastN is 5001":             {Pattern: a, HistorySize: 1, LastN: MaxLastN + 1},
		"messageTTL is -1s":         {Pattern: a, MessageTTL: -time.Second},
		"whole milliseconds":        {Pattern: a, HistorySize: 1, HistoryTTL: time.Microsecond},
		"onFull is \"x\"":           {Pattern: a, OnFull: "x"},
		"catch-up, which needs":     {Pattern: a, OnFull: CatchUp},
		"lastN and maxAge":          {Pattern: a, LastN: 1},
		"subscribe is \"everyone\"": {Pattern: a, Subscribe: "everyone"},
		"subscribe is \"none\"":     {Pattern: a, Subscribe: AccessNone},
		"publish is \"public\"":     {Pattern: a, Publish: AccessPublic},
	} {
		if _, err := NewPolicies([]Policy{p}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want an error that says %q", err, want)
		}
	}
}
