package channels

import (
	"errors"
	"math"
	"strings"
	"testing"
)

func marks(names ...string) []Mark {
	var list []Mark
	for i, n := range names {
		list = append(list, Mark{HashName(n), Position{1_700_000_000_000 + uint64(i), uint64(i)}})
	}
	return list
}

func TestCursorKeepsEveryPosition(t *testing.T) {
	list := append(marks("a", "b", "project:42:tasks"), Mark{HashName("max"), Position{math.MaxUint64, math.MaxUint64}}, Mark{Hash: HashName("zero")})
	c, err := ParseCursor(string(AppendCursor(nil, list)))
	if err != nil {
		t.Fatal(err)
	}
	for i, name := range []string{"a", "b", "project:42:tasks", "max", "zero"} {
		if p, ok := c.Position(name); !ok || p != list[i].Position {
			t.Errorf("position of %q: %v, %v, want %v", name, p, ok, list[i].Position)
		}
	}
	if _, ok := c.Position("other"); ok {
		t.Error("the cursor knows a channel that it was not made of")
	}
}

func TestCursorIsShort(t *testing.T) {
	if n := len(AppendCursor(nil, marks("a"))); n > 20 {
		t.Errorf("a cursor of one channel has %d bytes", n)
	}
}

// What is written into a client's storage today has to be readable tomorrow.
func TestCursorFormatStays(t *testing.T) {
	const text = "1zvoZU-1tgNfg_rApAw"
	want := Position{1_421_900_000_128, 3}
	if got := string(AppendCursor(nil, []Mark{{HashName("project:42:tasks"), want}})); got != text {
		t.Errorf("a cursor is written as %q", got)
	}
	c, err := ParseCursor(text)
	if p, ok := c.Position("project:42:tasks"); err != nil || !ok || p != want {
		t.Errorf("a cursor is read as %v, %v, %v", p, ok, err)
	}
}

func TestParseCursorRefuses(t *testing.T) {
	for _, text := range []string{"x", "0", "1!", "1A", "1" + strings.Repeat("A", 8), "1====", " 1", "1\n", "-1", strings.Repeat("1", MaxCursorLen+1)} {
		if _, err := ParseCursor(text); !errors.Is(err, ErrCursor) {
			t.Errorf("ParseCursor(%.20q): %v, want ErrCursor", text, err)
		}
	}
}

func TestParseCursorOfAnotherVersion(t *testing.T) {
	c, err := ParseCursor("2AAAA")
	if err != nil || !c.Foreign() {
		t.Errorf("a cursor of version 2: foreign %v, %v", c.Foreign(), err)
	}
}

func FuzzCursor(f *testing.F) {
	for _, s := range []string{"", "1", "2AAAA", "x", string(AppendCursor(nil, marks("a"))), string(AppendCursor(nil, marks("a", "b")))} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		c, err := ParseCursor(text)
		if err != nil || c.Foreign() || text == "" {
			return
		}
		again, err := ParseCursor(string(AppendCursor(nil, c.marks)))
		if err != nil || len(again.marks) != len(c.marks) {
			t.Fatalf("%q reads as %v, which does not survive: %v", text, c.marks, err)
		}
		for i := range c.marks {
			if again.marks[i] != c.marks[i] {
				t.Errorf("mark %d of %q: %v, then %v", i, text, c.marks[i], again.marks[i])
			}
		}
	})
}
