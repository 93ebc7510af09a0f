package integration_test

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"realtime-gateway/test/integration/harness"
)

var libraryInfo = regexp.MustCompile(`return '(\d+) gw [0-9a-f]+`)

// library returns the function library that is loaded, and its version.
func library(t *testing.T, f *fixture) (code string, version int) {
	t.Helper()
	list, err := f.db().FunctionList(t.Context(), redis.FunctionListQuery{LibraryNamePattern: "gateway", WithCode: true}).Result()
	must(t, err)
	if len(list) != 1 {
		t.Fatalf("%d libraries are loaded", len(list))
	}
	found := libraryInfo.FindStringSubmatch(list[0].Code)
	if found == nil {
		t.Fatal("the library does not say its version")
	}
	version, err = strconv.Atoi(found[1])
	must(t, err)
	return list[0].Code, version
}

// loadVersion loads the library as a gateway of another version would have left
// it, with other settings.
func loadVersion(t *testing.T, f *fixture, code string, version int) {
	t.Helper()
	other := fmt.Sprintf("return '%d gw %040d", version, version)
	must(t, f.db().FunctionLoadReplace(t.Context(), libraryInfo.ReplaceAllString(code, other)).Err())
}

func wantVersion(t *testing.T, f *fixture, want int) {
	t.Helper()
	must(t, harness.Until("the library is of the version", harness.Deadline, func() error {
		info, err := f.db().Do(t.Context(), "FCALL", "gateway_info", 0).Text()
		if err == nil && !strings.HasPrefix(info, strconv.Itoa(want)+" ") {
			err = fmt.Errorf("it is %s, want %d", info, want)
		}
		return err
	}))
}

// An upgrade: what an older gateway has loaded is replaced at once, under open
// streams.
func TestLibraryOfAnOlderGatewayIsReplaced(t *testing.T) {
	t.Parallel()
	f := own(t, setup{})
	ch := channel("hist")
	s := open(t, f.url(0), on(ch))
	count(t, f, ch, 1, 2)
	code, version := library(t, f)
	loadVersion(t, f, code, version-1)
	count(t, f, ch, 3, 4)
	wantVersion(t, f, version)
	count(t, f, ch, 5, 6)
	waitNumber(t, s, ch, 6)
	wantNumbers(t, s.Now().Of(ch), 1, 6)
	stillOpen(t, s)
}

// An upgrade that is not over, and one that is rolled back: a gateway works with
// the library of a newer one and leaves it alone, also when it starts later. When
// somebody deletes that library, it loads its own.
func TestLibraryOfANewerGatewayStays(t *testing.T) {
	t.Parallel()
	f := own(t, setup{})
	ch := channel("hist")
	s := open(t, f.url(0), on(ch))
	count(t, f, ch, 1, 2)
	code, version := library(t, f)
	loadVersion(t, f, code, version+1)
	for _, g := range f.replicas {
		must(t, harness.Until("the log tells of it", harness.Deadline, func() error {
			if !strings.Contains(g.Log.String(), "the library of a newer gateway") {
				return fmt.Errorf("%s", g.Log.String())
			}
			return nil
		}))
	}
	must(t, f.replicas[1].Kill())
	must(t, f.replicas[1].Start())
	must(t, f.replicas[1].WaitReady())
	later := channel("hist")
	other := open(t, f.url(1), on(ch, later))
	count(t, f, ch, 3, 4)
	count(t, f, later, 1, 1)
	waitNumber(t, s, ch, 4)
	waitNumber(t, other, ch, 4)
	waitNumber(t, other, later, 1)
	wantVersion(t, f, version+1)

	must(t, f.db().Do(t.Context(), "FUNCTION", "DELETE", "gateway").Err())
	must(t, f.db().Del(t.Context(), "gw.script").Err())
	wantVersion(t, f, version)
	count(t, f, ch, 5, 6)
	waitNumber(t, s, ch, 6)
	wantNumbers(t, s.Now().Of(ch), 1, 6)
	must(t, harness.Until("the script is there", harness.Deadline, func() error {
		info, err := f.db().HGet(t.Context(), "gw.script", "info").Result()
		if err == nil && !strings.HasPrefix(info, strconv.Itoa(version)+" ") {
			err = fmt.Errorf("it is of %s", info)
		}
		return err
	}))
	stillOpen(t, s)
}
