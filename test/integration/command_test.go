package integration_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"realtime-gateway/test/integration/harness"
)

// command runs the binary to its end and returns what it printed on standard
// output; the error has what it printed on standard error.
func command(t *testing.T, env []string, args ...string) (string, error) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	p, err := harness.StartProcess("gateway", binary, args, env, &stdout, &stderr)
	must(t, err)
	code, err := p.Wait(2 * harness.Deadline)
	if err != nil {
		_ = p.Kill()
		return stdout.String(), fmt.Errorf("%w: %s", err, stderr.String())
	}
	if err := crashes(stderr.String()); err != nil {
		t.Error(err)
	}
	if code != 0 {
		return stdout.String(), &exitError{code, stdout.String() + stderr.String()}
	}
	return stdout.String(), nil
}

type exitError struct {
	code int
	said string
}

func (e *exitError) Error() string { return fmt.Sprintf("exit code %d: %s", e.code, e.said) }

func writeConfig(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "gateway.yaml")
	must(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

// A wrong setting stops the start with one line that names it.
func TestWrongSettingsStopTheStart(t *testing.T) {
	t.Parallel()
	good := writeConfig(t, policies)
	policy := func(setting string) string {
		return writeConfig(t, "channels:\n  - {pattern: \"a:**\", historySize: 10, "+setting+"}\n")
	}
	for _, test := range []struct {
		name string
		args []string
		env  []string
		says string
	}{
		{"unknown flag", []string{"--no-such-flag"}, nil, "no-such-flag"},
		{"unknown command", []string{"serv"}, nil, "serv"},
		{"missing file", []string{"--config", "/no/such/file.yaml"}, nil, "/no/such/file.yaml"},
		{"broken file", []string{"--config", writeConfig(t, "channels: [")}, nil, "gateway.yaml"},
		{"unknown setting in the file", []string{"--config", writeConfig(t, "chanels: []\n")}, nil, "chanels"},
		{"unknown setting of a policy", []string{"--config", policy("bufferSise: 5")}, nil, "bufferSise"},
		{"negative bufferSize", []string{"--config", policy("bufferSize: -1")}, nil, "bufferSize"},
		{"bufferSize of words", []string{"--config", policy("bufferSize: some")}, nil, "bufferSize"},
		{"unknown onFull", []string{"--config", policy("onFull: drop-some")}, nil, "onFull"},
		{"catch-up without history", []string{"--config", writeConfig(t, "channels:\n  - {pattern: a, onFull: catch-up}\n")}, nil, "catch-up"},
		{"messageTTL without unit", []string{"--config", policy("messageTTL: 10")}, nil, "messageTTL"},
		{"unknown subscribe", []string{"--config", policy("subscribe: friends")}, nil, "subscribe"},
		{"bad pattern", []string{"--config", writeConfig(t, "channels:\n  - {pattern: \"a:**:b\"}\n")}, nil, "a:**:b"},
		{"missing pattern", []string{"--config", writeConfig(t, "channels:\n  - {historySize: 5}\n")}, nil, "pattern"},
		{"bad duration flag", []string{"--drain-time", "soon"}, nil, "drain-time"},
		{"negative duration flag", []string{"--drain-time", "-5s"}, nil, "drain-time"},
		{"bad duration in the environment", nil, []string{"GATEWAY_DRAIN_TIME=soon"}, "GATEWAY_DRAIN_TIME"},
		{"missing public key", []string{"--redis-url", "redis://127.0.0.1:1", "--jwt-public-key-file", "/no/such/key.pem"}, []string{"GATEWAY_JWT_SECRET="}, "flag --jwt-public-key-file"},
		{"unknown log level", nil, []string{"GATEWAY_LOG_LEVEL=loud"}, "GATEWAY_LOG_LEVEL"},
		{"unknown log format", []string{"--log-format", "xml"}, nil, "log-format"},
		{"bad Redis address", []string{"--redis-url", "http://127.0.0.1:1"}, nil, "redis-url"},
		{"bad Redis address in the environment", nil, []string{"GATEWAY_REDIS_URL=http://127.0.0.1:1"}, "GATEWAY_REDIS_URL"},
		{"bad address", []string{"--addr", "nowhere"}, nil, "addr"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			args := test.args
			has := strings.Join(args, " ")
			if !strings.Contains(has, "--config") && test.name != "unknown command" {
				args = append(args, "--config", good)
			}
			env := append([]string{"GATEWAY_JWT_SECRET=" + harness.Secret}, test.env...)
			if !strings.Contains(has, "--addr") && test.name != "unknown command" {
				addr, err := harness.FreeAddr()
				must(t, err)
				args = append(args, "--addr", addr)
			}
			_, err := command(t, env, args...)
			var exit *exitError
			if !errors.As(err, &exit) {
				t.Fatalf("it did not stop: %v", err)
			}
			lines := strings.Split(strings.TrimSpace(exit.said), "\n")
			if len(lines) != 1 || !strings.Contains(lines[0], test.says) {
				t.Errorf("want one line that names %q:\n%s", test.says, exit.said)
			}
			if strings.Contains(exit.said, harness.Secret) {
				t.Error("it shows the secret")
			}
		})
	}
}

// An unknown variable only warns: Kubernetes sets such beside a Service called
// gateway.
func TestUnknownVariableWarns(t *testing.T) {
	t.Parallel()
	f := own(t, setup{replicas: 1, env: []string{"GATEWAY_PORT=tcp://10.0.0.1:8080", "GATEWAY_PORT_8080_TCP_PROTO=tcp", "GATEWAY_NO_SUCH_SETTING=1"}})
	if !strings.Contains(f.replicas[0].Log.String(), "GATEWAY_NO_SUCH_SETTING") {
		t.Errorf("the log does not mention GATEWAY_NO_SUCH_SETTING:\n%s", f.replicas[0].Log)
	}
}

// Flags go before the environment, the environment before the default.
func TestSettingsByEnvironment(t *testing.T) {
	t.Parallel()
	f := own(t, setup{replicas: 1, flags: []string{"--heartbeat", "3s"}, env: []string{"GATEWAY_HEARTBEAT=7s", "GATEWAY_DRAIN_TIME=1s", "GATEWAY_ADDR=127.0.0.1:1"}})
	s := open(t, f.url(0), on(channel("hist")))
	if hb := s.Now().Events[0].Heartbeat; hb == nil || *hb != 3000 {
		t.Errorf("the flag does not go before the environment: %s", s.Now().Events[0].Data)
	}
	start := time.Now()
	code, err := f.replicas[0].Process().Terminate()
	must(t, err)
	if took := time.Since(start); code != 0 || took > 10*time.Second {
		t.Errorf("exit code %d after %v, want 0 after the environment's drain time of 1 s", code, took)
	}
}

func TestCheckConfig(t *testing.T) {
	t.Parallel()
	env := []string{"GATEWAY_JWT_SECRET=" + harness.Secret}
	env = append(env, "GATEWAY_REDIS_URL=redis://127.0.0.1:6379/0")
	if out, err := command(t, env, "check-config", "--config", writeConfig(t, policies)); err != nil {
		t.Errorf("a good file: %v: %s", err, out)
	}
	_, err := command(t, env, "check-config", "--config", writeConfig(t, "channels:\n  - {pattern: a, bufferSise: 1}\n"))
	if err == nil || !strings.Contains(err.Error(), "bufferSise") {
		t.Errorf("a wrong file: %v", err)
	}
}

func TestVersion(t *testing.T) {
	t.Parallel()
	out, err := command(t, nil, "version")
	if err != nil || strings.TrimSpace(out) == "" {
		t.Errorf("%v: %q", err, out)
	}
}

// `gateway publish` and `gateway tail` are the shell's two ends.
func TestPublishAndTailCommands(t *testing.T) {
	t.Parallel()
	f := shared(t)
	ch := channel("hist")
	s := open(t, f.url(0), on(ch))
	var stdout, stderr harness.Log
	tail, err := harness.StartProcess("gateway tail", binary, []string{"tail", ch, "--url", f.url(0)}, nil, &stdout, &stderr)
	must(t, err)
	defer func() { must(t, tail.Kill()) }()
	// When tail listens is not announced, so it is told again until it hears.
	n := 0
	must(t, harness.Until("tail prints an event", harness.Deadline, func() error {
		n++
		if out, err := command(t, nil, "publish", ch, harness.Counted(n), "--redis-url", f.redis.URL(), "--config", f.config); err != nil {
			return fmt.Errorf("publish: %w: %s", err, out)
		}
		if !strings.Contains(stdout.String(), `"count"`) {
			return fmt.Errorf("tail printed %q %q", stdout.String(), stderr.String())
		}
		return nil
	}))
	waitNumber(t, s, ch, n)
	wantNumbers(t, s.Now().Of(ch), 1, n)
	if out, err := command(t, nil, "publish", "hist:a b", "x", "--redis-url", f.redis.URL(), "--config", f.config); err == nil {
		t.Errorf("a malformed channel was accepted: %s", out)
	}
}
