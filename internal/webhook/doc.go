// Package webhook asks the application whether a user may read or publish a
// channel. It is the client's side of a small protocol, which docs/webhook.md
// describes for those who answer:
//
//	authorizer, err := webhook.New(webhook.Options{URL: url, Secret: secret})
//	…
//	defer authorizer.Close()
//	q := webhook.Question{User: "alice", Channel: "project:42:tasks", Action: webhook.Subscribe, Claims: payload, TokenExpires: exp}
//	until, err := authorizer.Ask(ctx, q)
//	switch {
//	case err == nil: // allowed, until then
//		stop := authorizer.Watch(q, until, lost) // for an open stream
//	case errors.Is(err, webhook.ErrDenied): // permanent, with a *DeniedError
//	default: // webhook.ErrUnavailable: temporary
//	}
//
// # What it promises
//
// It fails closed: nothing but the application's own allow, within its
// lifetime, is an allow. A hanging, flapping or lying application, an open
// circuit and a full queue are [ErrUnavailable].
//
// The application is asked as little as its answers permit. An answer is kept
// for its lifetime, under everything that it can depend on: user, channel,
// action, and the token's whole payload. Callers who ask the same at the same
// time share one question, which ends early only when all of them are gone. A
// number of questions is under way at a time, and a larger number waits, in the
// order in which they came; neither kind has a goroutine of its own while it
// waits. Leases, made by [Authorizer.Watch], cost one entry for each distinct
// question, however many streams hold it, and one goroutine for all together.
//
// # Limits
//
// Answers are kept by each replica for itself. Within its lifetime an answer
// stands: an application that must take rights away sooner gives shorter ones.
// One that fails for some questions and not for others, with 5xx or with what
// is not an answer, can open the circuit for all of them.
package webhook
