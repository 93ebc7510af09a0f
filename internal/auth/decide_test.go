package auth

import (
	"encoding/json"
	"testing"

	"realtime-gateway/pkg/channels"
)

func TestDecide(t *testing.T) {
	holder := func(subject string, patterns ...string) *Claims {
		c := &Claims{Subject: subject, fields: map[string]json.RawMessage{"org": []byte("7"), "teams": []byte(`["red","blue","**"]`)}}
		for _, p := range patterns {
			c.Subscribe = append(c.Subscribe, must(channels.ParsePattern(p)))
		}
		return c
	}
	const (
		token  = channels.AccessToken
		authed = channels.AccessAuthenticated
		public = channels.AccessPublic

		webhook = channels.AccessWebhook
	)
	for _, tt := range []struct {
		name    string
		pattern string
		access  channels.Access
		claims  *Claims
		channel string
		want    Decision
	}{
		{"public, nobody", "news", public, nil, "news", Allowed},
		{"public, anybody", "news", public, holder("alice"), "news", Allowed},
		{"authenticated, nobody", "news", authed, nil, "news", NeedToken},
		{"authenticated, without rights", "news", authed, holder("alice"), "news", Allowed},
		{"authenticated, without subject", "news", authed, holder(""), "news", Allowed},
		{"token, nobody", "project:*", token, nil, "project:1", NeedToken},
		{"token, right", "project:*", token, holder("alice", "project:1"), "project:1", Allowed},
		{"token, second right", "project:*", token, holder("alice", "a", "project:*"), "project:1", Allowed},
		{"token, right on another", "project:*", token, holder("alice", "project:2"), "project:1", Forbidden},
		{"token, no right", "project:*", token, holder("alice"), "project:1", Forbidden},
		{"token, right on own", "user:*", token, holder("alice", "user:{sub}"), "user:alice", Allowed},
		{"token, right on own, another's", "user:*", token, holder("alice", "user:{sub}"), "user:bob", Forbidden},
		{"access left empty, nobody", "a", "", nil, "a", NeedToken},
		{"access left empty, right", "a", "", holder("", "a"), "a", Allowed},
		{"access left empty, no right", "a", "", holder("", "b"), "a", Forbidden},
		{"unknown access", "a", "everyone", holder("alice", "**"), "a", Forbidden},
		{"access to publish", "a", channels.AccessNone, holder("alice", "**"), "a", Forbidden},
		{"webhook, nobody", "a", webhook, nil, "a", Ask},
		{"webhook, without rights", "a", webhook, holder("alice"), "a", Ask},
		{"webhook, policy of another channel", "a", webhook, holder("alice"), "b", Forbidden},
		{"own channel, webhook, nobody", "user:{sub}", webhook, nil, "user:alice", NeedToken},
		{"own channel, webhook, owner", "user:{sub}", webhook, holder("alice"), "user:alice", Ask},
		{"own channel, webhook, another with every right", "user:{sub}", webhook, holder("bob", "**"), "user:alice", Forbidden},
		{"policy of another channel", "a", public, nil, "b", Forbidden},

		{"own channel, public, nobody", "user:{sub}", public, nil, "user:alice", NeedToken},
		{"own channel, public, owner", "user:{sub}", public, holder("alice"), "user:alice", Allowed},
		{"own channel, public, another", "user:{sub}", public, holder("bob"), "user:alice", Forbidden},
		{"own channel, authenticated, nobody", "user:{sub}", authed, nil, "user:alice", NeedToken},
		{"own channel, authenticated, owner", "user:{sub}", authed, holder("alice"), "user:alice", Allowed},
		{"own channel, authenticated, another", "user:{sub}", authed, holder("bob"), "user:alice", Forbidden},
		{"own channel, token, nobody", "user:{sub}", token, nil, "user:alice", NeedToken},
		{"own channel, token, owner with right", "user:{sub}", token, holder("alice", "**"), "user:alice", Allowed},
		{"own channel, token, owner without right", "user:{sub}", token, holder("alice"), "user:alice", Forbidden},
		{"own channel, token, another with every right", "user:{sub}", token, holder("bob", "**"), "user:alice", Forbidden},
		{"own channel, without subject", "user:{sub}", public, holder(""), "user:alice", Forbidden},
		{"own channel, nobody, other channel", "user:{sub}", public, nil, "news", Forbidden},

		{"a team's channel, public, nobody", "team:{teams}:*", public, nil, "team:red:x", NeedToken},
		{"a team's channel, public, member", "team:{teams}:*", public, holder("alice"), "team:blue:x", Allowed},
		{"a team's channel, public, another", "team:{teams}:*", public, holder("alice"), "team:green:x", Forbidden},
		{"a team's channel, token, another with every right", "team:{teams}:*", token, holder("alice", "**"), "team:green:x", Forbidden},
		{"a team's channel, value is a wildcard", "team:{teams}:*", public, holder("alice"), "team:**:x", Forbidden},
		{"an unknown claim", "team:{team}:*", public, holder("alice"), "team:red:x", Forbidden},
		{"two claims", "org:{org}:{sub}", authed, holder("alice"), "org:7:alice", Allowed},
		{"two claims, one is wrong", "org:{org}:{sub}", authed, holder("alice"), "org:8:alice", Forbidden},
		{"a claim in the right", "team:**", token, holder("alice", "team:{teams}:**"), "team:red:x:y", Allowed},
		{"a claim in the right, another's", "team:**", token, holder("alice", "team:{teams}:**"), "team:green:x", Forbidden},

		{"subject is a wildcard", "user:{sub}", public, holder("*"), "user:alice", Forbidden},
		{"subject is a wildcard, as a right", "user:*", token, holder("*", "user:{sub}"), "user:alice", Forbidden},
		{"subject is the long wildcard", "user:{sub}", public, holder("**"), "user:alice", Forbidden},
		{"subject is the long wildcard, as a right", "user:**", token, holder("**", "user:{sub}"), "user:a:b", Forbidden},
		{"subject is the placeholder", "user:{sub}", public, holder("{sub}"), "user:alice", Forbidden},
		{"subject has two segments", "user:{sub}", public, holder("a:b"), "user:a:b", Forbidden},
		{"subject has two segments, as a right", "**", token, holder("a:b", "user:{sub}"), "user:a:b", Forbidden},
		{"subject has two segments, pattern too", "user:{sub}:b", public, holder("a:b"), "user:a:b", Forbidden},
		{"subject begins like the owner", "user:{sub}", public, holder("alic"), "user:alice", Forbidden},
		{"subject in capitals", "user:{sub}", public, holder("Alice"), "user:alice", Forbidden},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := &channels.Policy{Pattern: must(channels.ParsePattern(tt.pattern)), Subscribe: tt.access}
			if got := Decide(p, tt.claims, tt.channel); got != tt.want {
				t.Errorf("Decide = %v, want %v", got, tt.want)
			}
		})
	}
	t.Run("no policy", func(t *testing.T) {
		for _, c := range []*Claims{nil, holder("alice", "**")} {
			if got := Decide(nil, c, "a"); got != Forbidden {
				t.Errorf("Decide = %v, want %v", got, Forbidden)
			}
		}
	})
	t.Run("zero value", func(t *testing.T) {
		var zero Decision
		if zero != Forbidden || zero.String() != "forbidden" || NeedToken.String() != "need token" || Allowed.String() != "allowed" || Ask.String() != "ask" {
			t.Error("the zero Decision does not forbid, or a name is wrong")
		}
	})
}

func TestDecidePublish(t *testing.T) {
	holder := func(subject string, patterns ...string) *Claims {
		c := &Claims{Subject: subject, Subscribe: []channels.Pattern{must(channels.ParsePattern("**"))}}
		for _, p := range patterns {
			c.Publish = append(c.Publish, must(channels.ParsePattern(p)))
		}
		return c
	}
	const (
		token   = channels.AccessToken
		authed  = channels.AccessAuthenticated
		webhook = channels.AccessWebhook
		none    = channels.AccessNone
	)
	for _, tt := range []struct {
		name    string
		pattern string
		access  channels.Access
		claims  *Claims
		channel string
		want    Decision
	}{
		{"token, nobody", "a", token, nil, "a", NeedToken},
		{"token, right", "a:*", token, holder("alice", "a:b"), "a:b", Allowed},
		{"token, right to subscribe only", "a:*", token, holder("alice"), "a:b", Forbidden},
		{"token, right on another", "a:*", token, holder("alice", "a:c"), "a:b", Forbidden},
		{"token, right on own", "user:*", token, holder("alice", "user:{sub}"), "user:alice", Allowed},
		{"token, right on own, another's", "user:*", token, holder("alice", "user:{sub}"), "user:bob", Forbidden},
		{"left empty, nobody", "a", "", nil, "a", NeedToken},
		{"left empty, right", "a", "", holder("", "a"), "a", Allowed},
		{"left empty, no right", "a", "", holder("", "b"), "a", Forbidden},
		{"authenticated, nobody", "a", authed, nil, "a", NeedToken},
		{"authenticated, without rights", "a", authed, holder("alice"), "a", Allowed},
		{"webhook, nobody", "a", webhook, nil, "a", Ask},
		{"webhook, without rights", "a", webhook, holder("alice"), "a", Ask},
		{"none, nobody", "a", none, nil, "a", Forbidden},
		{"none, every right", "a", none, holder("alice", "**"), "a", Forbidden},
		{"unknown access", "a", "everyone", holder("alice", "**"), "a", Forbidden},
		{"public is no access to publish", "a", channels.AccessPublic, holder("alice", "**"), "a", Forbidden},
		{"policy of another channel", "a", token, holder("alice", "**"), "b", Forbidden},

		{"own channel, token, a service", "user:{sub}", token, holder("service", "user:*"), "user:alice", Allowed},
		{"own channel, token, owner without right", "user:{sub}", token, holder("alice"), "user:alice", Forbidden},
		{"own channel, authenticated, nobody", "user:{sub}", authed, nil, "user:alice", NeedToken},
		{"own channel, authenticated, owner", "user:{sub}", authed, holder("alice"), "user:alice", Allowed},
		{"own channel, authenticated, another with every right", "user:{sub}", authed, holder("bob", "**"), "user:alice", Forbidden},
		{"own channel, webhook, nobody", "user:{sub}", webhook, nil, "user:alice", NeedToken},
		{"own channel, webhook, owner", "user:{sub}", webhook, holder("alice"), "user:alice", Ask},
		{"own channel, webhook, another", "user:{sub}", webhook, holder("bob"), "user:alice", Forbidden},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := &channels.Policy{Pattern: must(channels.ParsePattern(tt.pattern)), Publish: tt.access}
			if got := DecidePublish(p, tt.claims, tt.channel); got != tt.want {
				t.Errorf("DecidePublish = %v, want %v", got, tt.want)
			}
		})
	}
	if got := DecidePublish(nil, holder("alice", "**"), "a"); got != Forbidden {
		t.Errorf("without a policy: %v, want %v", got, Forbidden)
	}
}
