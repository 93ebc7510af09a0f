package revocation

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"realtime-gateway/pkg/redisbus"
)

// From a user to their connections it takes the same, however many others there
// are.
func BenchmarkRevoked(b *testing.B) {
	for _, users := range []int{1, 1000, 100_000} {
		b.Run(fmt.Sprintf("users=%d", users), func(b *testing.B) {
			r := New(Options{Logger: slog.New(slog.DiscardHandler)})
			r.Use(&memory{})
			defer r.Close()
			names := make([]string, users)
			for i := range users {
				names[i] = fmt.Sprint("user-", i)
				for range 2 {
					if err := r.Enter(context.Background(), Who{User: names[i]}, &Visit{}); err != nil {
						b.Fatal(err)
					}
				}
			}
			e := redisbus.Revocation{Until: time.Now().Add(time.Hour)}
			at := time.Now()
			b.ReportAllocs()
			for n := 0; b.Loop(); n++ {
				e.User, e.At = names[n%users], at.Add(time.Duration(n)*time.Millisecond)
				r.Revoked(e)
			}
		})
	}
}

// Who was here lately comes back without a reading.
func BenchmarkEnter(b *testing.B) {
	r := New(Options{Logger: slog.New(slog.DiscardHandler)})
	r.Use(&memory{})
	defer r.Close()
	b.ReportAllocs()
	for n := 0; b.Loop(); n++ {
		v := &Visit{}
		if err := r.Enter(context.Background(), Who{User: "alice", TokenID: "t"}, v); err != nil {
			b.Fatal(err)
		}
		v.Leave()
	}
}
