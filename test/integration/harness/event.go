package harness

import (
	"encoding/json"
	"fmt"
	"strconv"
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

// InOrder returns an error unless the events are the counted ones first to
// last, each once and in order.
func InOrder(events []Event, first, last int) error {
	var got []string
	right := len(events) == last-first+1
	for i, e := range events {
		right = right && e.N == first+i && !e.Own()
		switch e.Name {
		case "count":
			got = append(got, strconv.Itoa(e.N))
		default:
			got = append(got, e.Name)
		}
	}
	if right {
		return nil
	}
	return fmt.Errorf("heard %s; want %d to %d, each once and in order", summary(got), first, last)
}

// summary writes consecutive numbers as ranges.
func summary(list []string) string {
	var out []string
	for i := 0; i < len(list); {
		j := i + 1
		first, err := strconv.Atoi(list[i])
		for ; err == nil && j < len(list); j++ {
			if n, err := strconv.Atoi(list[j]); err != nil || n != first+j-i {
				break
			}
		}
		if j-i > 2 {
			out = append(out, list[i]+".."+list[j-1])
		} else {
			out = append(out, list[i:j]...)
		}
		i = j
	}
	return "[" + strings.Join(out, " ") + "]"
}
