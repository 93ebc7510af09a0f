package config

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"math"
	"strings"
	"testing"
	"time"

	"realtime-gateway/pkg/channels"
)

func TestRedisURL(t *testing.T) {
	for _, url := range []string{
		"redis://h", "redis://h:6379", "redis://h:6379/0", "rediss://user:p%40ss@h:6379/15", "redis://:p@[::1]:6379", "redis://[fd00::1]",
		"redis+sentinel://a:1,b:2/main", "rediss+sentinel://u:p@a,b/main/3", "redis+cluster://a:1,b:2", "rediss+cluster://u:p@a:1,b:2/0",
		"redis://h?dial_timeout=5s", "",
	} {
		var got string
		if err := (redisURLValue{&got}).Set(url); err != nil || got != url {
			t.Errorf("%s: %v", url, err)
		}
	}
	for url, want := range map[string]string{
		"hunter2@h:6379":             "there is no scheme",
		"http://h":                   "the scheme is unknown",
		"redis+://h":                 "the scheme is unknown",
		"redis+tls://h":              "the scheme is unknown",
		"redis://":                   "a host or a port is missing",
		"redis://:6379":              "a host or a port is missing",
		"redis://h:0":                "a host or a port is missing",
		"redis://h:99999":            "a host or a port is missing",
		"redis://::1":                "a host or a port is missing",
		"redis://:hunter2/x@h:6379":  "are user and password percent-encoded?",
		"redis://:hunter2%zz@h:6379": "not percent-encoded",
		"redis://:hunter2#@h:6379":   "a space, a control character or a # (in user and password write %20 for a space and %23 for #)",
		"redis://a,b":                "several hosts",
		"redis://h/main":             "the database is not a number",
		"redis+sentinel://a,b":       "the name of the master is missing",
		"redis+sentinel://a/main/x":  "the database is not a number",
		"redis+cluster://a/1":        "only database 0",
		"redis+cluster://a,,b":       "a host or a port is missing",
		"redis://h?x=%zz":            "the query is not percent-encoded",
		"redis://h\nx":               "a space, a control character",
	} {
		for _, o := range []outcome{
			load(t, []string{"--redis-url", url}, nil, ""),
			load(t, nil, []string{"GATEWAY_REDIS_URL=" + url}, ""),
			load(t, nil, nil, fmt.Sprintf("redisUrl: %q", url)),
		} {
			o.wantError(t, want)
			o.wantError(t, "allowed is redis://HOST:PORT/DB")
			if strings.Contains(o.err.Error(), "hunter2") {
				t.Errorf("error shows the password: %v", o.err)
			}
		}
	}
}

func TestRedactURL(t *testing.T) {
	for url, want := range map[string]string{
		"":                               "",
		"redis://h:6379/0":               "redis://h:6379/0",
		"rediss://user:hunter2@h:6379/0": "rediss://user:[hidden]@h:6379/0",
		"redis://:hunter2@h":             "redis://[hidden]@h",
		"redis://hunter2@h":              "redis://[hidden]@h",
		"redis://u:hunter2@hunter2@h":    "redis://u:[hidden]@h",
		"redis://u:hunter2/?#x@h":        "redis://u:[hidden]@h",
		"redis://h?sentinel_password=hunter2&dial_timeout=5s&db=3": "redis://h?sentinel_password=[hidden]&dial_timeout=5s&db=3",
		"redis://h?password=12345&p%61ss=1&hunter2":                "redis://h?password=[hidden]&p%61ss=[hidden]&[hidden]",
		"redis+sentinel://u:hunter2@a:1,b:2/main":                  "redis+sentinel://u:[hidden]@a:1,b:2/main",
		"https://h/keys?key=hunter2#hunter2":                       "https://h/keys?key=[hidden]#[hidden]",
		"hunter2":                                                  hidden,
		"hun ter2://x":                                             hidden,
	} {
		if got := RedactURL(url); got != want {
			t.Errorf("RedactURL(%q) is %q, want %q", url, got, want)
		}
	}
}

func TestNoRenderingShowsSecrets(t *testing.T) {
	o := load(t, []string{"--jwt-secret=hunter2", "--redis-url=redis://u:hunter2@h:1", "--jwks-url=https://u:hunter2@h/k?key=hunter2",
		"--webhook-url=https://u:hunter2@h/k?key=hunter2", "--webhook-secret=hunter2"}, nil, publicChannels)
	cfg := o.must(t)
	var b bytes.Buffer
	fmt.Fprintf(&b, "%v %+v %#v %s %v %+v %#v\n", cfg, cfg, cfg, cfg, *cfg, *cfg, *cfg)
	slog.New(slog.NewTextHandler(&b, nil)).Info("x", "config", cfg, "value", *cfg)
	slog.New(slog.NewJSONHandler(&b, nil)).Info("x", "config", cfg)
	if err := json.NewEncoder(&b).Encode(cfg); err != nil {
		t.Fatal(err)
	}
	if err := cfg.WriteListing(&b); err != nil {
		t.Fatal(err)
	}
	fmt.Fprintln(&b, o.warnings)
	if strings.Contains(b.String(), "hunter2") {
		t.Errorf("a secret is shown:\n%s", &b)
	}
	if cfg.JWTSecret != "hunter2" {
		t.Error("the secret itself is lost")
	}
}

func TestListing(t *testing.T) {
	cfg := load(t, []string{"--heartbeat=90s"}, append(withRedis, "GATEWAY_PPROF=true"), "maxChannels: 7\n"+publicChannels).must(t)
	var b strings.Builder
	if err := cfg.WriteListing(&b); err != nil {
		t.Fatal(err)
	}
	squeezed := strings.Join(strings.Fields(b.String()), " ")
	for _, want := range []string{
		"heartbeat 1m30s flag --heartbeat", "pprof true environment GATEWAY_PPROF", "max-channels 7 gateway.yaml:1",
		"addr :8080 default", "jwt-secret (not set) default",
		"a:* (gateway.yaml:2) bufferSize=256 onFull=drop-oldest messageTTL=0s historySize=0 idempotencyWindow=5m subscribe=public",
	} {
		if !strings.Contains(squeezed, want) {
			t.Errorf("listing lacks %q:\n%s", want, &b)
		}
	}
}

func TestValues(t *testing.T) {
	type check struct {
		name        string
		good, wrong []string
	}
	for _, c := range []check{
		{"addr", []string{":80", "h:0", "[::1]:1", "a.b_c-d:65535"}, []string{"", "80", ":", ":http", ":65536", "a b:1", "::1:80", "\n:1"}},
		{"redis-prefix", []string{"a", "0-", strings.Repeat("a", 32)}, []string{"", "A", "a:b", "a.b", "{a}", strings.Repeat("a", 33)}},
		{"token-cookie", []string{"a", "__Host-x"}, []string{"", "a b", "a=b", "a;b", "ü", strings.Repeat("a", 129)}},
		{"jwks-url", []string{"", "https://h/k", "http://[::1]:1"}, []string{"h/k", "ftp://h", "https://", "https://h:x", "http://h/%zz"}},
		{"replica-name", []string{"", "a.B_c-1", strings.Repeat("a", 64)}, []string{"a b", "a:b", "a'", "ü", strings.Repeat("a", 65)}},
		{"log-level", []string{"debug", "warn"}, []string{"", "INFO", "info+2"}},
		{"dev", []string{"true", "0", "F"}, []string{"", "yes", "on"}},
		{"max-payload", []string{"1", "16777216"}, []string{"", "0", "-1", "1e3", "1_000", "0x10", "16777217", "99999999999999999999"}},
		{"drain-time", []string{"0s", "0", "10m", "1.5s"}, []string{"", "20", "-1s", "10m1ms", "1us", "x", "1d", "d", "1dx", "1d-2h"}},
		{"jwt-issuer", []string{"", "https://idp/ü"}, []string{"a\nb", "\x7f"}},
	} {
		for _, text := range c.good {
			if err := named(c.name).bind(&Config{}).Set(text); err != nil {
				t.Errorf("%s %q: %v", c.name, text, err)
			}
		}
		for _, text := range c.wrong {
			err := named(c.name).bind(&Config{}).Set(text)
			if err == nil || !strings.Contains(err.Error(), "allowed is ") {
				t.Errorf("%s %q: error is %v", c.name, text, err)
			}
		}
	}
}

func TestDurations(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0s", time.Second: "1s", 90 * time.Second: "1m30s", time.Minute: "1m", time.Hour: "1h", 90 * time.Minute: "1h30m",
		24 * time.Hour: "24h", 48 * time.Hour: "2d", 49 * time.Hour: "49h", 100 * time.Millisecond: "100ms", 10 * time.Minute: "10m",
	} {
		if got := formatDuration(d); got != want {
			t.Errorf("formatDuration(%v) is %s, want %s", d, got, want)
		}
		if back, err := parseDuration(want); err != nil || back != d {
			t.Errorf("parseDuration(%s) is %v, %v", want, back, err)
		}
	}
	for _, text := range []string{"106752d", "4000000000d", "106751d" + time.Duration(math.MaxInt64).String(), "-1d", "1d1d", "1.5d"} {
		if d, err := parseDuration(text); err == nil {
			t.Errorf("parseDuration(%s) is %v", text, d)
		}
	}
}

func TestClosest(t *testing.T) {
	names := []string{"addr", "ops-addr", "redis-url", "jwt-secret", "max-payload"}
	for given, want := range map[string]string{
		"adr": "addr", "ADDR": "addr", "opsAddr": "ops-addr", "redis_url": "redis-url", "rdeis-url": "redis-url", "jwtsecrte": "jwt-secret",
		"max-payloads": "max-payload", "zebra": "", "": "", "x": "",
	} {
		if got := Closest(given, names); got != want {
			t.Errorf("Closest(%q) is %q, want %q", given, got, want)
		}
	}
}

// The tables are what the reference is made from, so nothing may be missing.
func TestSettings(t *testing.T) {
	for _, s := range Settings() {
		if s.Name == "" || !strings.HasPrefix(s.Env, "GATEWAY_") || s.Help == "" || s.Allowed == "" || strings.HasSuffix(s.Help, ".") {
			t.Errorf("incomplete: %+v", s)
		}
		if (s.YAML == "") != (s.Name == "config") {
			t.Errorf("YAML key of %s is %q", s.Name, s.YAML)
		}
		for _, def := range []string{s.Default, s.DevDefault} {
			if def != "" {
				if err := named(s.Name).bind(&Config{}).Set(def); err != nil {
					t.Errorf("default of %s: %v", s.Name, err)
				}
			}
		}
	}
	if s := named("jwt-public-key-file"); s.Env != "GATEWAY_JWT_PUBLIC_KEY_FILE" || s.YAML != "jwtPublicKeyFile" {
		t.Errorf("names are %s and %s", s.Env, s.YAML)
	}
	// What the table calls a default is what a policy without the key gets.
	pattern, _ := channels.ParsePattern("a")
	list, err := channels.NewPolicies([]channels.Policy{{Pattern: pattern}})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range ChannelSettings() {
		field := findPolicyField(s.YAML)
		if s.Help == "" || (s.Allowed == "") != (field.bind == nil) {
			t.Errorf("incomplete: %+v", s)
		}
		if field.bind == nil || s.YAML == "pattern" || s.YAML == "onFull" {
			continue
		}
		if got := field.bind(list[0]).String(); got != s.Default {
			t.Errorf("default of %s is %s, the table says %s", s.YAML, got, s.Default)
		}
	}
}

func TestQuoteShowsOneShortLine(t *testing.T) {
	for text, want := range map[string]string{
		"a\nb":                        `"a\nb"`,
		strings.Repeat("a", 64):       `"` + strings.Repeat("a", 64) + `"`,
		strings.Repeat("ü", 33):       `"` + strings.Repeat("ü", 32) + `"…`,
		"a" + strings.Repeat("ü", 32): `"a` + strings.Repeat("ü", 31) + `"…`,
	} {
		if got := quote(text); got != want {
			t.Errorf("quote(%q) is %s, want %s", text, got, want)
		}
	}
}

func TestMeets(t *testing.T) {
	for _, c := range []struct {
		p, q string
		want bool
	}{
		{"**", "a", true}, {"a:**", "a:b:{sub}", true}, {"a:**", "a", false}, {"a", "a", true}, {"a", "b", false}, {"a", "a:b", false}, {"a:b", "a", false},
		{"user:{sub}", "user:{sub}", true}, {"user:*", "user:{sub}", true}, {"user:alice", "user:{sub}", true}, {"user:{sub}:inbox", "user:{sub}", false},
		{"team:{teams}:x", "team:red:x", true}, {"team:{teams}:x", "team:red:y", false}, {"*:b", "a:{c}", true},
	} {
		p, err1 := channels.ParsePattern(c.p)
		q, err2 := channels.ParsePattern(c.q)
		if err1 != nil || err2 != nil || meets(p, q) != c.want {
			t.Errorf("meets(%s, %s) is %v", c.p, c.q, !c.want)
		}
	}
}

func TestCovers(t *testing.T) {
	for _, c := range []struct {
		p, q string
		want bool
	}{
		{"**", "a", true}, {"**", "a:**", true}, {"a:**", "a:*:{sub}", true}, {"a:**", "a", false}, {"a", "a", true}, {"a", "a:b", false},
		{"a:b", "a", false}, {"*", "a", true}, {"*", "{sub}", true}, {"a:{teams}", "a:b", true}, {"a:b", "a:{teams}", false}, {"a", "*", false}, {"*", "**", false}, {"*:**", "**", false}, {"b:**", "a:**", false},
	} {
		p, err1 := channels.ParsePattern(c.p)
		q, err2 := channels.ParsePattern(c.q)
		if err1 != nil || err2 != nil || covers(p, q) != c.want {
			t.Errorf("covers(%s, %s) is %v", c.p, c.q, !c.want)
		}
	}
}
