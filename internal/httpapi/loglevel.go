package httpapi

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
)

// LogLevel is what is logged, and can be changed while the process runs.
type LogLevel interface {
	// Level is the least severe level that is logged.
	Level() string
	// SetLevel changes it. The error says which levels there are.
	SetLevel(level string) error
}

// maxLevelBody is more than any level needs.
const maxLevelBody = 1 << 10

// logLevel serves /loglevel: GET says the level, PUT changes it. The body is the
// level alone, or as GET says it.
func logLevel(level LogLevel) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPut {
			name, err := readLevel(w, r)
			if err == nil {
				err = level.SetLevel(name)
			}
			if err != nil {
				writeStatus(w, http.StatusBadRequest, malformed(err.Error()))
				return
			}
		}
		writeStatus(w, http.StatusOK, levelAnswer{level.Level()})
	}
}

type levelAnswer struct {
	Level string `json:"level"`
}

func readLevel(w http.ResponseWriter, r *http.Request) (string, error) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxLevelBody))
	if err != nil {
		return "", malformed("the body could not be read, or is longer than a level")
	}
	text := strings.TrimSpace(string(body))
	if !strings.HasPrefix(text, "{") {
		return text, nil
	}
	var asked levelAnswer
	if json.Unmarshal(body, &asked) != nil {
		return "", malformed(`the body is neither a level nor {"level":"debug"}`)
	}
	return asked.Level, nil
}
