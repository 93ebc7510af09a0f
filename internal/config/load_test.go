package config

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"
)

// outcome of a Load.
type outcome struct {
	cfg      *Config
	warnings []string
	err      error
}

// load parses args and loads them with env and, where it is not empty, a file
// called gateway.yaml.
func load(t *testing.T, args []string, env []string, yaml string) outcome {
	t.Helper()
	t.Chdir(t.TempDir())
	if yaml != "" {
		if err := os.WriteFile("gateway.yaml", []byte(yaml), 0o600); err != nil {
			t.Fatal(err)
		}
		args = append([]string{"--config", "gateway.yaml"}, args...)
	}
	fs := pflag.NewFlagSet("gateway", pflag.ContinueOnError)
	l := NewLoader(fs)
	if err := fs.Parse(args); err != nil {
		return outcome{err: FlagError(err, fs)}
	}
	cfg, warnings, err := l.Load(env)
	return outcome{cfg, warnings, err}
}

func (o outcome) must(t *testing.T) *Config {
	t.Helper()
	if o.err != nil {
		t.Fatalf("load: %v", o.err)
	}
	return o.cfg
}

func (o outcome) wantError(t *testing.T, want string) {
	t.Helper()
	switch {
	case o.err == nil:
		t.Fatalf("no error, want %q", want)
	case strings.Contains(o.err.Error(), "\n"):
		t.Errorf("error has several lines: %q", o.err)
	case !strings.Contains(o.err.Error(), want):
		t.Errorf("error is\n\t%v\nwant\n\t%s", o.err, want)
	}
	if _, ok := o.err.(*Error); !ok {
		t.Errorf("error is a %T", o.err)
	}
}

const publicChannels = "channels: [{pattern: 'a:*', subscribe: public}]\n"

var withRedis = []string{"GATEWAY_REDIS_URL=redis://localhost:6379"}

func TestOrderOfSources(t *testing.T) {
	for _, test := range []struct {
		name   string
		args   []string
		env    []string
		yaml   string
		want   time.Duration
		source string
	}{
		{"default", nil, nil, "", 20 * time.Second, "default"},
		{"file", nil, nil, "heartbeat: 5s", 5 * time.Second, "gateway.yaml:1"},
		{"environment over file", nil, []string{"GATEWAY_HEARTBEAT=6s"}, "heartbeat: 5s", 6 * time.Second, "environment GATEWAY_HEARTBEAT"},
		{"flag over all", []string{"--heartbeat=7s"}, []string{"GATEWAY_HEARTBEAT=6s"}, "heartbeat: 5s", 7 * time.Second, "flag --heartbeat"},
		{"empty environment is not set", nil, []string{"GATEWAY_HEARTBEAT="}, "heartbeat: 5s", 5 * time.Second, "gateway.yaml:1"},
		{"first of equal variables", nil, []string{"GATEWAY_HEARTBEAT=6s", "GATEWAY_HEARTBEAT=8s"}, "", 6 * time.Second, "environment GATEWAY_HEARTBEAT"},
	} {
		t.Run(test.name, func(t *testing.T) {
			cfg := load(t, test.args, append(test.env, withRedis...), test.yaml).must(t)
			if cfg.Heartbeat != test.want || cfg.Source("heartbeat").String() != test.source {
				t.Errorf("heartbeat is %v from %v, want %v from %s", cfg.Heartbeat, cfg.Source("heartbeat"), test.want, test.source)
			}
		})
	}
}

func TestDefaults(t *testing.T) {
	cfg := load(t, nil, withRedis, "").must(t)
	got := *cfg
	got.sources = nil
	want := Config{
		Addr: ":8080", OpsAddr: ":9090", RedisURL: "redis://localhost:6379", RedisPrefix: "gw", RedisDeafAfter: 6 * time.Second, DrainTime: 20 * time.Second,
		LogLevel: slog.LevelInfo, LogFormat: "json", TokenCookie: "gateway_token", CookieSameSite: SameSiteStrict, MaxHeaderBytes: 65536,
		ReadHeaderTimeout: 5 * time.Second, IdleTimeout: 75 * time.Second, Heartbeat: 20 * time.Second,
		WriteTimeout: 10 * time.Second, WebhookTimeout: 3 * time.Second, StreamPath: PathAuto, Linger: 30 * time.Second, CheckInterval: 10 * time.Second,
		MaxPayload: 262144, MaxConnectionAge: 30 * time.Minute, MaxSubscribeRatePerUser: 1000, MaxPublishRatePerUser: 1000, MaxChannels: 200,
	}
	if got.String() != want.String() || got.OpsAddrSet || got.RedisURL != want.RedisURL {
		t.Errorf("got  %v\nwant %v", got, want)
	}
}

func TestDev(t *testing.T) {
	cfg := load(t, []string{"--dev"}, nil, "").must(t)
	if cfg.Addr != "127.0.0.1:8080" || cfg.OpsAddr != "127.0.0.1:9090" || cfg.OpsAddrSet || cfg.LogFormat != "text" {
		t.Errorf("defaults with --dev are %v", cfg)
	}
	demo, other := cfg.Channels.For("project:demo:tasks"), cfg.Channels.For("any")
	if demo == nil || other == nil || demo.HistoryTTL != 24*time.Hour || other.HistoryTTL != time.Hour || demo.HistorySize != 1000 || other.Subscribe != "public" || demo.Subscribe != "public" {
		t.Errorf("policies with --dev are %v", cfg.policyListing())
	}
	if s := cfg.Source("addr").String(); s != "default with --dev" {
		t.Errorf("source of addr is %q", s)
	}

	cfg = load(t, nil, []string{"GATEWAY_DEV=1", "GATEWAY_OPS_ADDR=[::1]:0", "GATEWAY_LOG_FORMAT=json"}, "channels: []").must(t)
	if !cfg.Dev || !cfg.OpsAddrSet || cfg.OpsAddr != "[::1]:0" || cfg.LogFormat != "json" || len(cfg.Channels) != 0 {
		t.Errorf("what is set counts with --dev, too: %v", cfg)
	}
	for _, addr := range []string{"localhost:1", "LOCALHOST:1", "127.1.2.3:1", "[::1]:1", "[::ffff:127.0.0.1]:1"} {
		load(t, []string{"--dev", "--addr", addr}, nil, "").must(t)
	}
	for _, addr := range []string{":8080", "0.0.0.0:80", "10.0.0.1:80", "[::]:80", "localhost.example.org:80"} {
		load(t, []string{"--dev", "--addr", addr}, nil, "").wantError(t, "with --dev, allowed is a loopback address")
	}
	load(t, []string{"--dev"}, []string{"GATEWAY_OPS_ADDR=:9090"}, "").wantError(t, `config: environment GATEWAY_OPS_ADDR is ":9090": with --dev`)
}

func TestHowValuesFitTogether(t *testing.T) {
	load(t, nil, nil, "").wantError(t, "config: there is no Redis: set --redis-url or GATEWAY_REDIS_URL, or try --dev")
	needsKey := "set one of --jwt-secret, --jwt-public-key-file and --jwks-url"
	for _, access := range []string{"token", "authenticated"} {
		yaml := "channels:\n- {pattern: a, subscribe: public}\n- {pattern: b, subscribe: " + access + "}"
		load(t, nil, withRedis, yaml).wantError(t, needsKey)
		load(t, nil, withRedis, yaml).wantError(t, "the channels b (gateway.yaml:3)")
		load(t, []string{"--dev"}, nil, yaml).must(t)
		for _, key := range []string{"--jwt-secret=x", "--jwt-public-key-file=x", "--jwks-url=https://x"} {
			load(t, []string{key}, withRedis, yaml).must(t)
		}
	}
	for _, pattern := range []string{"user:{sub}", "team:{teams}:**"} {
		load(t, nil, withRedis, "channels:\n- {pattern: '"+pattern+"', subscribe: public}").wantError(t, needsKey)
	}
	load(t, nil, withRedis, "channels: [{pattern: a, subscribe: public, publish: authenticated}]").wantError(t, needsKey)
	load(t, nil, withRedis, "channels: [{pattern: a, subscribe: public, publish: none}]").must(t)
	for _, key := range []string{"subscribe", "publish"} {
		yaml := "channels:\n- pattern: a\n  " + key + ": webhook"
		load(t, []string{"--jwt-secret=x"}, withRedis, yaml).wantError(t, "the channels a (gateway.yaml:2) have "+key+": webhook, and no webhook is configured")
		load(t, []string{"--dev"}, nil, yaml).must(t)
	}
	load(t, []string{"--webhook-url=https://u:hunter2@app/may"}, withRedis, "").wantError(t, "config: flag --webhook-url is set, and nothing signs the questions: set --webhook-secret or GATEWAY_WEBHOOK_SECRET")
	load(t, []string{"--dev", "--webhook-url=https://app/may"}, nil, "").wantError(t, "nothing signs the questions")
	load(t, []string{"--addr=:1", "--ops-addr=:1"}, withRedis, "").wantError(t, `config: flag --ops-addr is ":1", the same as flag --addr`)
	load(t, []string{"--addr=:9090"}, withRedis, "").wantError(t, `--ops-addr (default) is ":9090", the same as flag --addr`)
	load(t, []string{"--addr=:0", "--ops-addr=:0"}, withRedis, "").must(t)
}

func TestWarnings(t *testing.T) {
	none := func(t *testing.T, o outcome) {
		t.Helper()
		o.must(t)
		if len(o.warnings) > 0 {
			t.Errorf("warnings %q, want none", o.warnings)
		}
	}
	one := func(t *testing.T, o outcome, want string) {
		t.Helper()
		o.must(t)
		if len(o.warnings) != 1 || !strings.Contains(o.warnings[0], want) || strings.Contains(o.warnings[0], "\n") {
			t.Errorf("warnings are %q, want one: %q", o.warnings, want)
		}
	}
	secret := "--jwt-secret=0123456789abcdef0123456789abcdef"
	none(t, load(t, nil, withRedis, publicChannels))
	one(t, load(t, nil, withRedis, ""), "every channel is refused")
	one(t, load(t, nil, withRedis, "channels:\n# - pattern: a\n"), "every channel is refused")
	one(t, load(t, []string{"--jwt-secret=short"}, withRedis, publicChannels), "flag --jwt-secret is shorter than 32 bytes")
	one(t, load(t, []string{secret + "\n"}, withRedis, publicChannels), "white space")
	webhook := "--webhook-secret=0123456789abcdef0123456789abcdef"
	none(t, load(t, []string{webhook, "--webhook-url=https://app.example/may"}, withRedis, publicChannels))
	none(t, load(t, []string{webhook, "--webhook-url=http://[::1]:3000"}, withRedis, publicChannels))
	one(t, load(t, []string{webhook, "--webhook-url=http://app.example/may"}, withRedis, publicChannels), "flag --webhook-url is without TLS")
	one(t, load(t, []string{webhook + " ", "--webhook-url=https://app.example/may"}, withRedis, publicChannels), "flag --webhook-secret begins or ends with white space")
	one(t, load(t, []string{webhook}, withRedis, publicChannels), "flag --webhook-secret signs nothing: there is no --webhook-url")
	one(t, load(t, []string{secret}, withRedis, "channels:\n- {pattern: 'a:**'}\n- {pattern: 'a:b:{sub}'}"), "gateway.yaml:3 never applies: a:** (gateway.yaml:2)")
	one(t, load(t, nil, withRedis, "channels:\n- pattern: a\n  subscribe: public\n  historySize: 5\n  historyTTL: 0s"), "historyTTL in gateway.yaml:5 is 0, which means the default of 1h")
	none(t, load(t, nil, withRedis, "channels:\n- {pattern: a, subscribe: public, historySize: 0, historyTTL: 0s}"))
	one(t, load(t, []string{"--auto-subscribe=a:b,a:{sub},user:{sub}"}, withRedis, publicChannels), "flag --auto-subscribe has user:{sub}, which matches no channel policy")
	none(t, load(t, nil, withRedis, publicChannels+"autoSubscribe:\n- a:b\n- a:{sub}\n"))

	for _, env := range []string{
		"GATEWAY_PORT=tcp://10.0.0.1:80", "GATEWAY_SERVICE_HOST=10.0.0.1", "GATEWAY_SERVICE_PORT=80", "GATEWAY_SERVICE_PORT_HTTP=80",
		"GATEWAY_PORT_8080_TCP=tcp://10.0.0.1:8080", "GATEWAY_PORT_8080_TCP_ADDR=10.0.0.1", "GATEWAY_PORT_8080_TCP_PROTO=tcp",
		"GATEWAY_OPS_SERVICE_HOST=10.0.0.1", "GATEWAY_OPS_PORT=tcp://10.0.0.1:9090", "GATEWAY_OPS_PORT_9090_TCP_PORT=9090",
		"GATEWAY_URL=http://x", "GATEWAY_TOKEN=x", "PATH=/bin", "GATEWAYS=1", "broken",
	} {
		none(t, load(t, nil, append([]string{env}, withRedis...), publicChannels))
	}
	for env, want := range map[string]string{
		"GATEWAY_ADR=hunter2":       "environment variable GATEWAY_ADR is no setting and is ignored, did you mean GATEWAY_ADDR?",
		"GATEWAY_JWTSECRET=hunter2": "did you mean GATEWAY_JWT_SECRET?",
		"GATEWAY_TOKN=hunter2":      "did you mean GATEWAY_TOKEN?",
		"GATEWAY_PORT=8080":         "did you mean GATEWAY_ADDR?",
		"GATEWAY_ZEBRA=1":           "GATEWAY_ZEBRA is no setting and is ignored",
		"GATEWAY_a b\nc=1":          "(not shown, not a name)",
	} {
		o := load(t, nil, append([]string{env}, withRedis...), publicChannels)
		one(t, o, want)
		if strings.Contains(o.warnings[0], "hunter2") {
			t.Errorf("the value is shown: %s", o.warnings[0])
		}
	}
}

// A wrong value stops the start from wherever it came, also where something
// else overrides it.
func TestWrongValues(t *testing.T) {
	load(t, []string{"--heartbeat=5ms"}, withRedis, "").wantError(t, `config: flag --heartbeat is "5ms": allowed is a duration from 1s to 10m, such as`)
	load(t, nil, []string{"GATEWAY_MAX_CHANNELS=0"}, "").wantError(t, `config: environment GATEWAY_MAX_CHANNELS is "0": allowed is a whole number from 1 to 1000`)
	load(t, []string{"--auto-subscribe=a,b:*"}, withRedis, "").wantError(t, `config: flag --auto-subscribe is "a,b:*": allowed is a list, with commas between, each a channel, perhaps with placeholders, such as user:{sub}: number 2 is not: segment "*" is a wildcard`)
	load(t, nil, withRedis, "autoSubscribe: ['user:{sub']").wantError(t, `config: autoSubscribe in gateway.yaml:1 is "user:{sub": allowed is`)
	load(t, nil, withRedis, "\nlogLevel: loud").wantError(t, `config: logLevel in gateway.yaml:2 is "loud": allowed is debug, info, warn or error`)
	load(t, []string{"--addr=:1"}, append(withRedis, "GATEWAY_ADDR=x"), "").wantError(t, `environment GATEWAY_ADDR is "x"`)
	load(t, []string{"--addr=:1"}, withRedis, "addr: y").wantError(t, `addr in gateway.yaml:1 is "y"`)

	load(t, []string{"--adr=:1"}, nil, "").wantError(t, "config: flag --adr is unknown, did you mean --addr?")
	load(t, []string{"-redis-url=redis://:hunter2@h"}, nil, "").wantError(t, "config: flag -r is unknown, did you mean --redis-url?")
	load(t, []string{"-phunter2"}, nil, "").wantError(t, "config: flag -p is unknown")
	load(t, []string{"--addr"}, nil, "").wantError(t, "config: flag --addr needs a value")
	load(t, []string{"--=hunter2"}, nil, "").wantError(t, "config: a flag on the command line is malformed")
	load(t, []string{"--config=no.yaml"}, withRedis, "").wantError(t, `config: file "no.yaml" (flag --config) cannot be read: no such file`)
	load(t, nil, []string{"GATEWAY_CONFIG=."}, "").wantError(t, `config: file "." (environment GATEWAY_CONFIG) cannot be read: is a directory`)
	load(t, nil, withRedis, "#"+strings.Repeat(" ", maxFileSize)).wantError(t, "is larger than 1 MiB")
}

func TestSomeSettings(t *testing.T) {
	name := filepath.Join(t.TempDir(), "gateway.yaml")
	if err := os.WriteFile(name, []byte("redisPrefix: file\nheartbeat: 5s\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	fs := pflag.NewFlagSet("publish", pflag.ContinueOnError)
	l := NewLoader(fs, "redis-url", "redis-prefix", "config")
	if fs.Lookup("heartbeat") != nil {
		t.Error("a flag that was not asked for")
	}
	if err := fs.Parse([]string{"--config", name}); err != nil {
		t.Fatal(err)
	}
	cfg, warnings, err := l.Resolve([]string{"GATEWAY_REDIS_URL=redis://h", "GATEWAY_HEARTBEAT=wrong", "GATEWAY_ADR=x"})
	if err != nil || len(warnings) > 0 {
		t.Fatalf("other variables do not matter: %v %v", warnings, err)
	}
	if cfg.RedisURL != "redis://h" || cfg.RedisPrefix != "file" || cfg.Heartbeat != 5*time.Second {
		t.Errorf("got %v", cfg)
	}
}
