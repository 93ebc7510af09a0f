package redisbus

import (
	"slices"
	"strings"
	"testing"
)

func TestParseURL(t *testing.T) {
	for _, tt := range []struct {
		url    string
		addrs  []string
		master string
		db     int
		user   string
		pass   string
		tls    bool
	}{
		{url: "redis://h:1", addrs: []string{"h:1"}},
		{url: "redis://h", addrs: []string{"h:6379"}},
		{url: "redis://h:1/3", addrs: []string{"h:1"}, db: 3},
		{url: "redis://:p%40ss@h:1/3", addrs: []string{"h:1"}, db: 3, pass: "p@ss"},
		{url: "rediss://u:p@h:1", addrs: []string{"h:1"}, user: "u", pass: "p", tls: true},
		{url: "redis://[::1]:1", addrs: []string{"[::1]:1"}},
		{url: "redis+sentinel://a:1,b:2,c:3/m", addrs: []string{"a:1", "b:2", "c:3"}, master: "m"},
		{url: "redis+sentinel://u:p@a:1,b:2/m/5", addrs: []string{"a:1", "b:2"}, master: "m", db: 5, user: "u", pass: "p"},
		{url: "rediss+sentinel://a:1/m", addrs: []string{"a:1"}, master: "m", tls: true},
		{url: "redis+cluster://a:1,b:2", addrs: []string{"a:1", "b:2"}},
		{url: "rediss+cluster://u:p@a:1,b:2", addrs: []string{"a:1", "b:2"}, user: "u", pass: "p", tls: true},
	} {
		t.Run(tt.url, func(t *testing.T) {
			got, err := parseURL(tt.url)
			if err != nil {
				t.Fatal(err)
			}
			var addrs []string
			var master, user, pass string
			var db int
			var secure bool
			switch {
			case got.single != nil:
				o := got.single
				addrs, db, user, pass, secure = []string{o.Addr}, o.DB, o.Username, o.Password, o.TLSConfig != nil
			case got.sentinel != nil:
				o := got.sentinel
				addrs, master, db, user, pass, secure = o.SentinelAddrs, o.MasterName, o.DB, o.Username, o.Password, o.TLSConfig != nil
			case got.cluster != nil:
				o := got.cluster
				addrs, user, pass, secure = o.Addrs, o.Username, o.Password, o.TLSConfig != nil
			}
			slices.Sort(addrs)
			if !slices.Equal(addrs, tt.addrs) || master != tt.master || db != tt.db || user != tt.user || pass != tt.pass || secure != tt.tls {
				t.Errorf("got %q master %q db %d user %q password %q tls %v", addrs, master, db, user, pass, secure)
			}
			if got.clustered() != strings.Contains(tt.url, "cluster") {
				t.Error("clustered is wrong")
			}
		})
	}
}

func TestParseURLErrors(t *testing.T) {
	for _, tt := range []struct{ url, names string }{
		{"", "scheme"},
		{"localhost:6379", "scheme"},
		{"http://h", `"http"`},
		{"redis+what://h", "redis+what"},
		{"redis://:a/b@h", "%2F"},
		{"redis://h:port", "cannot be parsed"},
		{"redis://h/x", "database"},
		{"redis://h/1/2", "path"},
		{"redis://h?what=1", "what"},
		{"redis+sentinel://h:1", "master"},
		{"redis+sentinel:///m", "hosts"},
		{"redis+sentinel://a,b/m/x", "database"},
		{"redis+cluster://", "hosts"},
		{"redis+cluster://h?what=1", "what"},
	} {
		t.Run(tt.url, func(t *testing.T) {
			if _, err := parseURL(tt.url); err == nil || !strings.Contains(err.Error(), tt.names) {
				t.Errorf("error is %v, want one that names %q", err, tt.names)
			}
		})
	}
}

func TestSentinelsHaveTheirOwnPassword(t *testing.T) {
	got, err := parseURL("redis+sentinel://u:p@a:1/m?sentinel_username=su&sentinel_password=s%2Fp&dial_timeout=1s")
	if err != nil {
		t.Fatal(err)
	}
	if o := got.sentinel; o.Username != "u" || o.Password != "p" || o.SentinelUsername != "su" || o.SentinelPassword != "s/p" {
		t.Errorf("redis has %q %q, the sentinels %q %q", o.Username, o.Password, o.SentinelUsername, o.SentinelPassword)
	}
	if got, err = parseURL("redis+sentinel://u:p@a:1/m"); err != nil || got.sentinel.SentinelPassword != "" {
		t.Errorf("the sentinels are given the password of redis: %v", err)
	}
	for _, wrong := range []string{"%zzs3cret", "s3cret&what=1"} {
		if _, err := parseURL("redis+sentinel://a:1/m?sentinel_password=" + wrong); err == nil || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("sentinel_password=%s: %v", wrong, err)
		}
	}
}

// Whatever is wrong with the rest of a URL, and however badly a password is
// escaped, no piece of it may be shown.
func TestParseURLHidesPasswords(t *testing.T) {
	rests := []string{"h:1/x", "h:port", "h/1/2", "h?what=1", "h:1,i:2/m", "", "/", "h:1,i:2", "h:1/m/x", "h:1?db=x", "h:1,:/m?addr=::"}
	for _, scheme := range []string{"redis", "rediss", "redis+sentinel", "rediss+sentinel", "redis+cluster", "rediss+cluster", "redis+what", "what"} {
		for _, password := range []string{"s3cret", "s3c%40ret", "s3cret%", "77/s3cret", "77?s3cret", "77#s3cret", "s3:cret", "s3@cret", "s3 cret", "77/s3cret/x", "77?s3cret=1", "7://s3cret"} {
			for _, rest := range rests {
				raw := scheme + "://user:" + password + "@" + rest
				_, err := parseURL(raw)
				if err == nil {
					continue
				}
				for _, piece := range []string{"s3cret", "s3c", "cret"} {
					if strings.Contains(err.Error(), piece) {
						t.Errorf("%s: error shows the password: %v", raw, err)
						break
					}
				}
			}
		}
	}
	for _, raw := range []string{"user:s3cret@://h", "redis:s3cret://h", "s3cret://h", "redis+s3cret@h://x"} {
		if _, err := parseURL(raw); err == nil || strings.Contains(err.Error(), "s3cret@") || strings.Contains(err.Error(), ":s3cret") {
			t.Errorf("%s: %v", raw, err)
		}
	}
}
