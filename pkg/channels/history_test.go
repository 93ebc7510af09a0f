package channels

import (
	"context"
	"testing"
)

// racing publishes between the two questions of a history page.
type racing struct {
	*memory
	once func()
}

func (b *racing) Open(ctx context.Context, names []string) []Top {
	if b.once != nil {
		b.once()
		b.once = nil
	}
	return b.memory.Open(ctx, names)
}

func TestHistoryLosesNothingThatIsPublishedMeanwhile(t *testing.T) {
	s := newStore(100, 0)
	b := &racing{memory: s.broker()}
	hub := NewHub(Options{Broker: b, Policies: policies(t, history), Encode: encodePayload})
	b.hub = hub
	at := &Position{}
	*at = s.publish("a", "1")
	for name, after := range map[string]*Position{"a": at, "new": nil} {
		b.once = func() { s.publish(name, "2") }
		page, err := hub.History(t.Context(), name, after, 10)
		if err != nil || len(page.Entries) != 1 || page.Entries[0].Gap != nil {
			t.Fatalf("after %v: %+v, %v; want the event", after, page, err)
		}
		page, err = hub.History(t.Context(), name, &page.Last, 10)
		if err != nil || len(page.Entries) != 0 {
			t.Errorf("then %+v, %v", page, err)
		}
	}
}

func TestHistoryOfALostPositionKeepsTheCursor(t *testing.T) {
	s := newStore(100, 0)
	b := s.broker()
	b.hub = NewHub(Options{Broker: b, Policies: policies(t, history), Encode: encodePayload})
	top := s.publish("a", "1")
	ahead := Position{Millis: top.Millis + 1}
	page, err := b.hub.History(t.Context(), "a", &ahead, 10)
	if err != nil || page.Last != ahead || len(page.Entries) != 1 || page.Entries[0].Gap.Reason != GapLost {
		t.Errorf("%+v, %v", page, err)
	}
}
