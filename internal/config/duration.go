package config

import (
	"errors"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"
)

// DurationVar adds a flag for a duration from min to max, written as the
// settings are: a Go duration, or with days in front, such as 7d or 1d12h. It
// is for flags of commands that are no settings.
func DurationVar(fs *pflag.FlagSet, p *time.Duration, name string, def, min, max time.Duration, usage string) {
	*p = def
	fs.Var(durationValue{p, min, max}, name, usage)
}

var errDuration = errors.New("not a duration")

func parseDuration(s string) (time.Duration, error) {
	number, rest, hasDays := strings.Cut(s, "d")
	if !hasDays {
		return time.ParseDuration(s)
	}
	const day = 24 * time.Hour
	days, err := strconv.ParseUint(number, 10, 32)
	if err != nil || days > math.MaxInt64/uint64(day) {
		return 0, errDuration
	}
	total := time.Duration(days) * day
	if rest == "" {
		return total, nil
	}
	d, err := time.ParseDuration(rest)
	// A sign in the middle ("1d-2h") is a slip, and the sum may overflow.
	if err != nil || rest[0] == '-' || rest[0] == '+' || total > math.MaxInt64-d {
		return 0, errDuration
	}
	return total + d, nil
}

// formatDuration drops the zeros of "1h0m0s", and counts whole days from two
// on.
func formatDuration(d time.Duration) string {
	if days := d / (24 * time.Hour); days > 1 && d%(24*time.Hour) == 0 {
		return strconv.FormatInt(int64(days), 10) + "d"
	}
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = s[:len(s)-2]
	}
	if strings.HasSuffix(s, "h0m") {
		s = s[:len(s)-2]
	}
	return s
}
