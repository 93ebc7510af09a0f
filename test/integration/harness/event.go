package harness

import (
	"encoding/json"
	"strings"
	"time"
)

// Event is what an EventSource hands to the page.
type Event struct {
	// ID is the last event id when the event was dispatched.
	ID   string
	Name string
	Data string
	At   time.Time

	Fields
}

// Fields are the parts of an event's data that tests look at most, of
// published events and of the gateway's own alike.
type Fields struct {
	Channel   string `json:"channel"`
	EventID   string `json:"event_id"`
	Type      string `json:"type"`
	Timestamp string `json:"timestamp"`
	N         int    `json:"n"` // the number of a counted event

	Reason    string `json:"reason"`
	From      any    `json:"from"`
	To        any    `json:"to"`
	Count     *int   `json:"count"`
	Reconnect *bool  `json:"reconnect"`
	Retry     *int   `json:"retry"`
	Heartbeat *int   `json:"heartbeat"`
}

// Own tells whether the gateway itself is speaking.
func (e Event) Own() bool { return strings.HasPrefix(e.Name, "gateway.") }

func newEvent(id, name, data string) Event {
	e := Event{ID: id, Name: name, Data: data, At: time.Now()}
	// Data that is not of this shape is judged by the test that reads it.
	_ = json.Unmarshal([]byte(data), &e.Fields)
	return e
}
