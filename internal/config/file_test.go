package config

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"realtime-gateway/pkg/channels"
)

func TestFileErrors(t *testing.T) {
	for _, test := range []struct{ name, yaml, want string }{
		{"unknown setting", "a: 1", "config: gateway.yaml:1 has the unknown setting a"},
		{"misspelt setting", "\nopsAdr: ':1'", "config: gateway.yaml:2 has the unknown setting opsAdr, did you mean opsAddr?"},
		{"a flag's spelling", "ops-addr: ':1'", "unknown setting ops-addr, did you mean opsAddr?"},
		{"a variable's spelling", "OPS_ADDR: ':1'", "unknown setting OPS_ADDR, did you mean opsAddr?"},
		{"config itself", "config: x", "gateway.yaml:1 sets config: a file names no other file"},
		{"channel setting at the top", "historySize: 5", "gateway.yaml:1 has historySize outside of channels"},
		{"setting in a channel", "channels:\n- pattern: a\n  heartbeat: 1s", "gateway.yaml:3 has heartbeat inside of channels"},
		{"unknown channel setting", "channels:\n- pattern: a\n  histroySize: 1", "gateway.yaml:3 has the unknown channel setting histroySize, did you mean historySize?"},
		{"twice", "addr: ':1'\npprof: true\naddr: ':2'", "config: addr in gateway.yaml:3 is set twice, first in line 1"},
		{"twice in a channel", "channels:\n- pattern: a\n  lastN: 1\n  lastN: 1", "lastN in gateway.yaml:4 is set twice, first in line 3"},
		{"empty value", "addr:", "addr in gateway.yaml:1 is empty: allowed is HOST:PORT"},
		{"list for a value", "addr: [1]", "addr in gateway.yaml:1 is a list: allowed is HOST:PORT"},
		{"mapping for a value", "addr: {a: 1}", "addr in gateway.yaml:1 is a mapping: allowed is HOST:PORT"},
		{"list", "- a", "config: gateway.yaml:1 is a list: allowed is settings"},
		{"text", "hunter2", "config: gateway.yaml:1 is a single value: allowed is settings"},
		{"mapping as key", "{a: b}: c", "gateway.yaml:1 has a mapping as a key"},
		{"tag", "jwtIssuer: !!binary aGk=", "jwtIssuer in gateway.yaml:1 has a YAML tag of its own"},
		{"two documents", "pprof: true\n---\naddr: x", "config: gateway.yaml:2 begins a second document: allowed is one"},
		{"wrong second document", "pprof: true\n---\n[", "is not YAML"},
		{"not YAML", "a: b: c", "config: gateway.yaml:1 is not YAML: mapping values are not allowed"},
		{"placeholder without quotes", "a: 1\n\nautoSubscribe: [user:{sub}]", "config: gateway.yaml:3 is not YAML: did not find expected ',' or ']' (a value with { } [ ] or a comma in it takes quotes: 'user:{sub}')"},
		{"placeholder in the first line", "channels: [{pattern: user:{sub}, subscribe: public}]", "config: gateway.yaml:1 is not YAML: did not find expected ',' or '}' (a value with"},
		{"not UTF-8", "\naddr: \"\xff\"", "config: gateway.yaml:2 is not YAML: it has a control character or is not UTF-8"},
		{"unknown anchor", "\njwtSecret: *hunter2", "config: gateway.yaml:2 is not YAML: unknown anchor (a value that begins with * takes quotes)"},
		{"merge at the top", "<<: {addr: ':1'}", "<< in gateway.yaml:1 is not possible here"},
		{"not a name", "'jwtSecret:hunter2': x", "unknown setting (not shown, not a name)"},

		{"channels is a mapping", "channels: {a: 1}", "channels in gateway.yaml:1 is a mapping: allowed is a list"},
		{"channels is text", "channels: a", "channels in gateway.yaml:1 is a single value: allowed is a list"},
		{"entry is text", "channels:\n- a:b", "an entry of channels in gateway.yaml:2 is a single value: allowed is a mapping"},
		{"entry is empty", "channels:\n-", "an entry of channels in gateway.yaml:2 is empty"},
		{"no pattern", "channels:\n- lastN: 1", "an entry of channels in gateway.yaml:2 has no pattern"},
		{"wrong pattern", "channels:\n- pattern: a::b", `config: pattern in gateway.yaml:2 is "a::b": segment 2 is empty`},
		{"number", "channels:\n- pattern: a\n  historySize: many", `config: historySize in gateway.yaml:3 is "many": allowed is a whole number from 0 to 1000000`},
		{"number too large", "channels:\n- pattern: a\n  bufferSize: 100001", `bufferSize in gateway.yaml:3 is "100001": allowed is a whole number from 0 to 100000`},
		{"replay too long", "channels:\n- pattern: a\n  lastN: 5001", `lastN in gateway.yaml:3 is "5001": allowed is a whole number from 0 to 5000`},
		{"duration", "channels:\n- pattern: a\n  maxAge: 10", `maxAge in gateway.yaml:3 is "10": allowed is a duration from 0s to 366d`},
		{"microseconds", "channels:\n- pattern: a\n  maxAge: 10us", `maxAge in gateway.yaml:3 is "10us": allowed is a duration`},
		{"choice", "channels:\n- pattern: a\n  onFull: drop", `onFull in gateway.yaml:3 is "drop": allowed is drop-oldest, drop-newest, disconnect or catch-up`},
		{"conflate is text", "channels:\n- pattern: a\n  conflate: data.id", "config: conflate in gateway.yaml:3 is a single value: allowed is a mapping with by and window, such as {by: data.id, window: 100ms}"},
		{"conflate is empty", "channels:\n- pattern: a\n  conflate:", "conflate in gateway.yaml:3 is empty: allowed is a mapping"},
		{"conflate without window", "channels:\n- pattern: a\n  conflate: {by: data.id}", "conflate in gateway.yaml:3 has no window: allowed is a mapping"},
		{"conflate without key", "channels:\n- pattern: a\n  conflate: {window: 1s}", "conflate in gateway.yaml:3 has no by: allowed is a mapping"},
		{"conflate by nothing", "channels:\n- pattern: a\n  conflate: {by: data..id, window: 1s}", `conflate.by in gateway.yaml:3 is "data..id": allowed is names of nested members`},
		{"conflate by a list", "channels:\n- pattern: a\n  conflate: {by: [data, id], window: 1s}", "conflate.by in gateway.yaml:3 is a list: allowed is names"},
		{"conflate without end", "channels:\n- pattern: a\n  conflate:\n    by: data.id\n    window: 2h", `conflate.window in gateway.yaml:5 is "2h": allowed is a duration from 1ms to 1h`},
		{"conflate for no time", "channels:\n- pattern: a\n  conflate: {by: data.id, window: 0s}", `conflate.window in gateway.yaml:3 is "0s": allowed is a duration from 1ms`},
		{"conflate with more", "channels:\n- pattern: a\n  conflate: {by: data.id, windwo: 1s}", "conflate in gateway.yaml:3 has the unknown setting"},
		{"conflate twice", "channels:\n- pattern: a\n  conflate: {by: x, by: y, window: 1s}", "by in gateway.yaml:3 is set twice"},
		{"conflate beyond messageTTL", "channels:\n- pattern: a\n  messageTTL: 1s\n  conflate:\n    by: data.id\n    window: 1s", "config: gateway.yaml:6 (pattern a): conflate.window is 1s, allowed is less than messageTTL, which is 1s"},
		{"placeholder", "channels:\n- pattern: 'team:{te am}:**'", "pattern in gateway.yaml:2 is \"team:{te am}:**\": segment \"{te am}\" is no placeholder: allowed is a whole segment such as {sub}"},
		{"subscribe", "channels:\n- pattern: a\n  subscribe: none", "subscribe in gateway.yaml:3 is \"none\": allowed is token, authenticated, public or webhook"},
		{"publish", "channels:\n- pattern: a\n  publish: public", "publish in gateway.yaml:3 is \"public\": allowed is token, authenticated, webhook or none"},
		{"catch-up without history", "channels:\n- pattern: a\n  lastN: 0\n  onFull: catch-up", "config: gateway.yaml:4 (pattern a): onFull is catch-up, which needs history"},
		{"replay without history", "channels:\n- pattern: a\n  subscribe: public\n  lastN: 5", "config: gateway.yaml:4 (pattern a): lastN and maxAge replay from history"},
		{"merge of a list", "channels:\n- <<: [a]\n  pattern: a", "<< in gateway.yaml:2 is not possible here"},
		{"merge in a merge", "channels:\n- &a {pattern: a, lastN: 0}\n- &b {<<: *a}\n- <<: *b", "<< in gateway.yaml:3 is not possible here"},
		{"merge of itself", "channels:\n- &a\n  pattern: a\n  <<: *a", "<< in gateway.yaml:4 is not possible here"},
	} {
		t.Run(test.name, func(t *testing.T) {
			o := load(t, nil, withRedis, test.yaml)
			o.wantError(t, test.want)
			if strings.Contains(o.err.Error(), "hunter2") {
				t.Errorf("error shows a secret: %v", o.err)
			}
		})
	}
}

func TestConflate(t *testing.T) {
	for _, text := range []string{
		"channels:\n- pattern: a\n  subscribe: public\n  conflate: {by: data.id, window: 100ms}",
		"channels:\n- pattern: a\n  subscribe: public\n  conflate:\n    window: '100ms'\n    by: \"data.id\"",
		"channels:\n- &b {pattern: b, subscribe: public, conflate: &c {by: data.id, window: 100ms}}\n- {<<: *b, pattern: a}\n",
		"channels:\n- {pattern: b, subscribe: public, conflate: &c {by: data.id, window: 100ms}}\n- {pattern: a, subscribe: public, conflate: *c}\n",
	} {
		cfg := load(t, nil, withRedis, text).must(t)
		if got := cfg.Channels.For("a").Conflate; got != (channels.Conflate{By: "data.id", Window: 100 * time.Millisecond}) {
			t.Errorf("%s: got %+v", text, got)
		}
		if listing := cfg.policyListing(); !strings.Contains(listing, " conflate={by: data.id, window: 100ms}") {
			t.Errorf("%s: not in the listing:\n%s", text, listing)
		}
	}
	if cfg := load(t, nil, withRedis, publicChannels).must(t); strings.Contains(cfg.policyListing(), "conflate") {
		t.Errorf("listing shows conflate where there is none:\n%s", cfg.policyListing())
	}
}

func TestEmptyFiles(t *testing.T) {
	for _, yaml := range []string{"\n", "# nothing\n", "---\n", "~", "{}", "\ufeff"} {
		load(t, nil, withRedis, yaml).must(t)
	}
}

func TestChannels(t *testing.T) {
	cfg := load(t, []string{"--jwt-secret=0123456789abcdef0123456789abcdef"}, withRedis, `
channels:
  - pattern: project:*:tasks
    bufferSize: 64
    onFull: drop-newest
    messageTTL: 10m
    lastN: "5"
    maxAge: 1h30m
    historySize: 1000
    historyTTL: 7d
    idempotencyWindow: 1d12h
    subscribe: authenticated
    publish: none
  - &status
    pattern: status:**
    subscribe: public
  - <<: *status
    pattern: state:{sub}
    subscribe: token
`).must(t)
	full := channels.Policy{
		BufferSize: 64, OnFull: channels.DropNewest, MessageTTL: 10 * time.Minute, LastN: 5, MaxAge: 90 * time.Minute,
		HistorySize: 1000, HistoryTTL: 7 * 24 * time.Hour, IdempotencyWindow: 36 * time.Hour, Subscribe: channels.AccessAuthenticated, Publish: channels.AccessNone,
	}
	plain := channels.Policy{
		BufferSize: channels.DefaultBufferSize, OnFull: channels.DropOldest, HistoryTTL: channels.DefaultHistoryTTL,
		IdempotencyWindow: channels.DefaultIdempotencyWindow, Publish: channels.AccessToken,
	}
	public, token := plain, plain
	public.Subscribe, token.Subscribe = channels.AccessPublic, channels.AccessToken
	var got []channels.Policy
	var patterns []string
	for _, p := range cfg.Channels {
		patterns = append(patterns, p.Pattern.String())
		q := *p
		q.Pattern = channels.Pattern{}
		got = append(got, q)
	}
	if want := []channels.Policy{full, public, token}; !reflect.DeepEqual(got, want) {
		t.Errorf("policies are\n%+v\nwant\n%+v", got, want)
	}
	if want := []string{"project:*:tasks", "status:**", "state:{sub}"}; !reflect.DeepEqual(patterns, want) {
		t.Errorf("patterns are %q, want %q", patterns, want)
	}
}

// Every scalar setting can stand in the file.
func TestEverySettingInTheFile(t *testing.T) {
	values := map[string]string{
		"dev": "false", "devRights": "true", "addr": "localhost:1", "opsAddr": "'[::1]:2'", "redisUrl": "rediss://h:1/2", "redisCaFile": "ca.pem", "redisCertFile": "c.pem", "redisKeyFile": "c.key", "redisPrefix": "a-1", "redisLinks": "4", "redisDeafAfter": "3s",
		"replicaName": "gw-1.a_B", "drainTime": "0s", "readyGrace": "10m", "logLevel": "debug", "logFormat": "json", "jwtSecret": "12345", "jwtPublicKeyFile": "k.pem",
		"jwksUrl": "http://h/k", "jwtIssuer": "i", "jwtAudience": "2024-01-01", "tokenCookie": "__Host-t", "cookieSameSite": "none",
		"allowedOrigins": "['https://a.example', 'https://*.b.example']", "tlsCertFile": "c.pem", "tlsKeyFile": "k.pem", "maxHeaderBytes": "4096",
		"readHeaderTimeout": "100ms", "idleTimeout": "1h", "heartbeat": "1s",
		"writeTimeout": "100ms", "streamPath": "goroutine", "linger": "1h", "checkInterval": "1h", "maxPayload": "16777216", "maxConnections": "50000", "maxConnectionAge": "0s",
		"maxConnectionsPerUser": "100", "maxConnectionsPerAddress": "200", "maxSubscribeRatePerUser": "10", "maxSubscribeRatePerAddress": "20",
		"maxPublishRatePerUser": "30", "maxPublishRatePerAddress": "40", "trustedProxies": "[10.0.0.0/8, '2001:db8::1']", "maxChannels": "1000", "autoSubscribe": "broadcast", "logMemory": "1073741824", "pprof": "1",
		"webhookUrl": "http://localhost/may", "webhookSecret": "s", "webhookTimeout": "100ms",
	}
	var yaml strings.Builder
	for _, s := range Settings() {
		if s.YAML == "" {
			continue
		}
		if values[s.YAML] == "" {
			t.Fatalf("no value for %s", s.YAML)
		}
		yaml.WriteString(s.YAML + ": " + values[s.YAML] + "\n")
	}
	cfg := load(t, nil, nil, yaml.String()).must(t)
	for _, e := range cfg.Effective() {
		if e.Setting.YAML != "" && e.Source.Origin != FromFile {
			t.Errorf("%s comes from %v", e.Setting.Name, e.Source)
		}
	}
	if cfg.JWTSecret != "12345" || cfg.JWTAudience != "2024-01-01" || !cfg.Pprof || cfg.MaxPayload != 16<<20 || cfg.OpsAddr != "[::1]:2" {
		t.Errorf("got %v", cfg)
	}
}

// Whatever the file says, reading it ends, and its error is one line that
// does not repeat a secret.
func FuzzFile(f *testing.F) {
	for _, seed := range []string{
		"", publicChannels, "addr: ':1'\nchannels:\n- pattern: a\n  historySize: 5\n  conflate: {by: x}\n", "jwtSecret: *x\n", "a: &a [*a]\n",
		"channels: [&a {pattern: a, <<: *a}]\n", "--- a\n--- b\n", "? {a: b}\n: c\n", "!!binary x: !!set y\n", "- \xff", "channels:\n- &x {pattern: 'b'}\n- <<: *x\n- *x\n",
		"redisUrl: redis://:SECRET@h:x\n", "jwtSecret: [SECRET]\n", "jwksUrl: SECRET",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got, err := parseFile("gateway.yaml", []byte(text))
		if err == nil {
			l := &Loader{cfg: &Config{sources: map[string]Source{}}}
			for _, s := range got.settings {
				if err = l.set(s.setting, s.text, s.source); err != nil {
					break
				}
			}
		}
		if err == nil {
			if len(got.policies) != len(got.policySources) {
				t.Fatalf("%d policies with %d sources", len(got.policies), len(got.policySources))
			}
			for _, p := range got.policies {
				if _, err := channels.ParsePattern(p.Pattern.String()); err != nil {
					t.Fatal(err)
				}
			}
			return
		}
		line := err.Error()
		if !strings.HasPrefix(line, "config: ") || strings.ContainsAny(line, "\n\r\x00") || len(line) > 700 {
			t.Fatalf("error is not one short line: %q", line)
		}
	})
}
