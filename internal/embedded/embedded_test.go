package embedded

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
)

func TestFunctionsAnswerAsTheirScriptsDo(t *testing.T) {
	s, err := Start("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.Functions(map[string]string{
		"echo": "return {KEYS[1], ARGV[1], #ARGV}",
		"none": "return false",
		"fail": "return redis.error_reply('ERR gateway: wrong')",
		"set":  "return redis.call('SET', KEYS[1], ARGV[1])",
	}); err != nil {
		t.Fatal(err)
	}
	client := redis.NewClient(&redis.Options{Addr: s.Addr()})
	defer client.Close()
	answer, err := client.FCall(t.Context(), "echo", []string{"k"}, "a", "b").Slice()
	if err != nil || len(answer) != 3 || answer[0] != "k" || answer[1] != "a" || answer[2] != int64(2) {
		t.Errorf("echo: %v, %v", answer, err)
	}
	if err := client.FCall(t.Context(), "none", []string{"k"}).Err(); err != redis.Nil {
		t.Errorf("none: %v, want nil", err)
	}
	if err := client.FCall(t.Context(), "set", []string{"k"}, "v").Err(); err != nil || client.Get(t.Context(), "k").Val() != "v" {
		t.Errorf("set: %v", err)
	}
	for want, call := range map[string][]any{
		"ERR gateway: wrong":                  {"FCALL", "fail", 0},
		"ERR Function not found":              {"FCALL", "missing", 0},
		"ERR wrong number of arguments":       {"FCALL", "echo"},
		"ERR Bad number of keys":              {"FCALL", "echo", "x"},
		"ERR Number of keys can't be greater": {"FCALL", "echo", 2, "k"},
	} {
		if err := client.Do(t.Context(), call...).Err(); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%v: %v, want %q", call, err, want)
		}
	}
}

func TestStartTakesAnotherPortWhereItsOwnIsTaken(t *testing.T) {
	a, err := Start("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	b, err := Start(a.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if a.Addr() == b.Addr() {
		t.Error("two servers on one port")
	}
}

// An interactive redis-cli asks for the documentation of all commands, and
// aborts where the answer is none.
func TestInteractiveClient(t *testing.T) {
	s, err := Start("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	host, port, _ := strings.Cut(s.Addr(), ":")
	cli := exec.Command("redis-cli", "-h", host, "-p", port)
	cli.Stdin = strings.NewReader("COMMAND DOCS\nSET a b\nGET a\n")
	out, err := cli.CombinedOutput()
	if err != nil || !strings.HasSuffix(strings.TrimSpace(string(out)), "b") {
		t.Errorf("redis-cli: %v\n%s", err, out)
	}
	client := redis.NewClient(&redis.Options{Addr: s.Addr()})
	defer client.Close()
	if err := client.Do(t.Context(), "command", "docs").Err(); err == nil {
		t.Error("COMMAND DOCS is answered with something")
	}
}
