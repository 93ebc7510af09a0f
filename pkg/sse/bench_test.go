package sse

import (
	"fmt"
	"testing"

	"realtime-gateway/pkg/channels"
)

// What it costs to make an event's bytes, once for all who follow its channel.
func BenchmarkEncodeEvent(b *testing.B) {
	for name, payload := range map[string]string{
		"event": fmt.Sprintf(`{"type":"task_updated","data":{"id":17,"title":"%0120d","done":false}}`, 1),
		"text":  fmt.Sprintf("%0200d", 1),
	} {
		b.Run(name, func(b *testing.B) {
			e := channels.Event{Position: channels.Position{Millis: 1_700_000_000_000}, Payload: payload}
			b.ReportAllocs()
			for b.Loop() {
				EncodeEvent("project:17:tasks", &e)
			}
		})
	}
}
