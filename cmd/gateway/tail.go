package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"realtime-gateway/internal/config"
	"realtime-gateway/pkg/channels"
	"realtime-gateway/pkg/retry"
)

func (p *program) tailCommand() *cobra.Command {
	var base, token, cursor string
	cmd := &cobra.Command{
		Use:   "tail CHANNEL…",
		Short: "Print the events of channels as they come",
		Long: "Prints each event as a JSON line: its id (the cursor), its event name and its data. Notices go to\n" +
			"standard error. It reconnects where it stopped until it is interrupted or refused for good.",
		Example: "  gateway tail project:42:tasks | jq .data",
		Args:    exactly("CHANNEL…"),
	}
	fs := cmd.Flags()
	fs.StringVar(&base, "url", "", "`URL` of the gateway; also "+config.ClientURLEnv+" (default "+defaultURL+")")
	fs.StringVar(&token, "token", "", "`token` to show; also "+config.ClientTokenEnv)
	fs.StringVar(&cursor, "last-event-id", "", "`cursor` to continue after")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		address, err := eventsURL(cmp.Or(base, p.env(config.ClientURLEnv), defaultURL), args)
		if err != nil {
			return err
		}
		t := &tail{
			url:     address,
			token:   cmp.Or(token, p.env(config.ClientTokenEnv)),
			cursor:  cursor,
			client:  &http.Client{},
			out:     p.out,
			notice:  p.errOut,
			silence: firstSilence,
			wait:    wait,
		}
		t.backoff.Policy = retry.Policy{Initial: time.Second, Max: 15 * time.Second}
		return t.run(cmd.Context())
	}
	return cmd
}

const defaultURL = "http://127.0.0.1:8080"

// env returns a variable of the environment, or "".
func (p *program) env(name string) string {
	for _, pair := range p.environ {
		if text, ok := strings.CutPrefix(pair, name+"="); ok {
			return text
		}
	}
	return ""
}

// eventsURL is where the events of the channels are. Errors do not repeat the
// base, which may hold a password.
func eventsURL(base string, names []string) (string, error) {
	u, err := url.Parse(base)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return "", usagef("--url or %s is not a URL of a gateway: allowed is http://HOST:PORT or https://HOST:PORT", config.ClientURLEnv)
	}
	u = u.JoinPath("/v1/events")
	query := u.Query()
	for _, name := range names {
		if err := channels.CheckName(name); err != nil {
			return "", usagef("%v", err)
		}
		query.Add("channel", name)
	}
	u.RawQuery, u.Fragment = query.Encode(), ""
	return u.String(), nil
}

// run follows, and tells in the end how to go on.
func (t *tail) run(ctx context.Context) error {
	defer t.noticeCursor()
	return t.follow(ctx)
}

// follow streams until ctx is done, which is no error, or the gateway refuses
// for good.
func (t *tail) follow(ctx context.Context) error {
	for {
		delay, err := t.stream(ctx)
		var refused *refusal
		var output *outputError
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.As(err, &refused), errors.As(err, &output):
			return err
		}
		if delay <= 0 {
			delay = t.backoff.Next()
		}
		t.noticef("reconnecting in %v: %v", delay.Round(time.Millisecond), err)
		if t.wait(ctx, delay) != nil {
			return nil
		}
	}
}

func (t *tail) noticeCursor() {
	if t.cursor != "" {
		t.noticef("stopped; to continue, add --last-event-id %s", t.cursor)
	}
}

const noticePrefix = "tail: "

func (t *tail) noticef(format string, args ...any) {
	fmt.Fprintln(t.notice, noticePrefix+oneLine(fmt.Sprintf(format, args...)))
}

// wait returns nil after d, or ctx's error.
func wait(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
