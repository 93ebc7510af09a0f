package harness

import (
	"fmt"
	"os"
	"testing"
)

// FiguresEnv names the file to which measured figures are appended, for go test
// keeps to itself what tests say that pass. Without it they are in the test's
// log alone.
const FiguresEnv = "FIGURES"

// Figure says what was measured: in the test's log, and in the file of
// FiguresEnv with the test's name before it. Safe for concurrent use.
func Figure(t testing.TB, format string, args ...any) {
	t.Helper()
	text := fmt.Sprintf(format, args...)
	t.Log(text)
	path := os.Getenv(FiguresEnv)
	if path == "" {
		return
	}
	file, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		t.Errorf("%s: %v", FiguresEnv, err)
		return
	}
	defer file.Close()
	if _, err := fmt.Fprintf(file, "%s: %s\n", t.Name(), text); err != nil {
		t.Error(err)
	}
}
