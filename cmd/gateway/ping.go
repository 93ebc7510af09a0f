package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"realtime-gateway/internal/config"
	"realtime-gateway/pkg/redisbus"
	"realtime-gateway/pkg/retry"
)

// pingType is the type of the event that ping publishes.
const pingType = "ping"

func (p *program) pingCommand() *cobra.Command {
	var base, token string
	var timeout time.Duration
	cmd := &cobra.Command{
		Use:   "ping CHANNEL",
		Short: "Publish one event to Redis and wait until a gateway delivers it",
		Long: "Opens a stream of the channel at a gateway, publishes one event of type " + pingType + " straight to Redis,\n" +
			"waits for it on the stream, and prints how long it took. Everybody who reads the channel gets it.",
		Example: "  gateway ping status:ping --url http://gateway:8080 --redis-url redis://redis:6379",
		Args:    exactly("CHANNEL"),
	}
	fs := cmd.Flags()
	fs.StringVar(&base, "url", "", "`URL` of the gateway; also "+config.ClientURLEnv+" (default "+defaultURL+")")
	fs.StringVar(&token, "token", "", "`token` to show; also "+config.ClientTokenEnv)
	config.DurationVar(fs, &timeout, "timeout", 10*time.Second, time.Second, time.Hour, "how long all of it may take")
	loader := config.NewLoader(fs, redisSettings...)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		cfg, _, err := loader.Resolve(p.environ)
		if err != nil {
			return err
		}
		address, err := eventsURL(cmp.Or(base, p.env(config.ClientURLEnv), defaultURL), args)
		if err != nil {
			return err
		}
		publisher, err := openPublisher(cfg)
		if err != nil {
			return err
		}
		// What was published is published, whatever closing says.
		defer func() { _ = publisher.Close() }()
		took, err := ping(cmd.Context(), pingOptions{
			publisher: publisher, channel: args[0], url: address, token: cmp.Or(token, p.env(config.ClientTokenEnv)), timeout: timeout,
		})
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(p.out, "%s: received after %v\n", args[0], took.Round(10*time.Microsecond))
		return err
	}
	return cmd
}

type pingOptions struct {
	publisher           *redisbus.Publisher
	channel, url, token string
	timeout             time.Duration
}

var (
	errArrived = errors.New("arrived")
	errLate    = errors.New("late")
)

// ping returns how long an event took from before it was published until the
// gateway delivered it.
func ping(ctx context.Context, o pingOptions) (time.Duration, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, o.timeout, errLate)
	defer cancel()
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)

	id := "ping-" + rand.Text()
	var published time.Time
	var took time.Duration
	var notice lastLine
	t := &tail{
		url: o.url, token: o.token, client: &http.Client{}, notice: &notice, silence: firstSilence, wait: wait,
		// Again after each reconnect: where there is no history, what came in
		// between is gone, and where there is, the same id is no second event.
		opened: func() {
			published = time.Now()
			_, err := o.publisher.Publish(ctx, redisbus.Message{
				Channel: o.channel, Payload: `{"type":"` + pingType + `"}`, EventID: id, TTL: o.timeout,
			})
			if err != nil {
				end(err)
			}
		},
		out: arrival{id, func() { took = time.Since(published); end(errArrived) }},
	}
	t.backoff.Policy = retry.Policy{Initial: 100 * time.Millisecond, Max: time.Second}
	if err := t.follow(ctx); err != nil {
		return 0, err
	}
	switch cause := context.Cause(ctx); {
	case errors.Is(cause, errArrived):
		return took, nil
	case !errors.Is(cause, errLate):
		return 0, cause
	case published.IsZero():
		return 0, fmt.Errorf("no stream was opened within %v: %s", o.timeout, notice)
	}
	return 0, fmt.Errorf("the event was published, and not received within %v: %s", o.timeout, notice)
}

// arrival is a writer of what tail prints, that waits for one event.
type arrival struct {
	id  string
	got func()
}

func (a arrival) Write(p []byte) (int, error) {
	var printed struct {
		Data struct {
			ID string `json:"event_id"`
		} `json:"data"`
	}
	// Other events may have any data.
	if json.Unmarshal(p, &printed) == nil && printed.Data.ID == a.id {
		a.got()
	}
	return len(p), nil
}

// lastLine keeps the last notice of a tail, for when it explains a failure.
type lastLine struct{ text string }

func (l *lastLine) Write(p []byte) (int, error) {
	l.text = strings.TrimSpace(strings.TrimPrefix(string(p), noticePrefix))
	return len(p), nil
}

func (l lastLine) String() string { return cmp.Or(l.text, "the gateway said nothing") }
