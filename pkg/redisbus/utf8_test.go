package redisbus

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/redis/go-redis/v9"
)

// FuzzUTF8 compares gateway.lua's check with Go's.
func FuzzUTF8(f *testing.F) {
	for _, s := range []string{
		"", "plain", "ä", "€", "\U0001f600", "\u0000", "\ufffd", "\uffff", "\U0010ffff",
		"\x80", "\xbf", "\xc3", "\xe2\x82", "\xf0\x9f\x98", "a\xc3b", // cut
		"\xc0\x80", "\xc1\xbf", "\xe0\x80\x80", "\xe0\x9f\xbf", "\xf0\x80\x80\x80", "\xf0\x8f\xbf\xbf", // overlong
		"\xed\xa0\x80", "\xed\xbf\xbf", "\xed\x9f\xbf", "\xee\x80\x80", // surrogates, and beside them
		"\xf4\x90\x80\x80", "\xf4\x8f\xbf\xbf", "\xf5\x80\x80\x80", "\xff", "\xfe", // above
		"\xe1\xc3\xa9\x80", "\xe2\xe2\x82\xac\x82\xac", "\xf0\xc3\xa9\x9f\x98", // sequences within sequences
	} {
		f.Add(s)
		// Behind so many characters that they are no longer looked at one by one.
		for _, many := range []string{"ä", "\u20ac", "\U0001f600", "a\u00e9\ud55c"} {
			f.Add(strings.Repeat(many, 70) + s)
			f.Add(strings.Repeat(many, 65) + s + many)
		}
	}
	s := newScripts(f)
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > 1000 {
			return
		}
		script := redis.NewScript(s.library.scripts[fnPublish].source)
		err := script.Run(t.Context(), s.client, []string{"gw:status:a"}, text).Err()
		if want := utf8.ValidString(text); (err == nil) != want {
			t.Errorf("%q is valid: %v, in Lua: %v", text, want, err)
		}
	})
}
