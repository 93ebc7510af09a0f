package dev

import (
	"bytes"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path"
	"regexp"
	"strings"
	"testing"

	"realtime-gateway/web"
)

func get(t *testing.T, method, target string, header ...string) *http.Response {
	t.Helper()
	r := httptest.NewRequest(method, target, nil)
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	Handler().ServeHTTP(w, r)
	return w.Result()
}

func TestHandlerHeaders(t *testing.T) {
	for target, contentType := range map[string]string{
		"/":                 "text/html; charset=utf-8",
		"/index.html":       "text/html; charset=utf-8",
		"/style.css":        "text/css; charset=utf-8",
		"/main.js":          "text/javascript; charset=utf-8",
		"/client/shared.js": "text/javascript; charset=utf-8",
		"/favicon.svg":      "image/svg+xml",
	} {
		res := get(t, "GET", target)
		if res.StatusCode != http.StatusOK {
			t.Errorf("%s: status %d", target, res.StatusCode)
		}
		for name, want := range map[string]string{
			"Content-Type":            contentType,
			"Content-Security-Policy": contentSecurityPolicy,
			"Cache-Control":           "no-cache",
			"X-Content-Type-Options":  "nosniff",
		} {
			if got := res.Header.Get(name); got != want {
				t.Errorf("%s: %s: got %q, want %q", target, name, got, want)
			}
		}
	}
}

func TestContentSecurityPolicy(t *testing.T) {
	for _, want := range []string{
		"default-src 'none'",
		"script-src 'self'",
		"connect-src 'self' http://127.0.0.1:* http://localhost:*",
		"frame-ancestors 'none'",
	} {
		if !strings.Contains(contentSecurityPolicy, want) {
			t.Errorf("policy lacks %q", want)
		}
	}
	if strings.Contains(contentSecurityPolicy, "unsafe") {
		t.Error("policy allows something unsafe")
	}
}

func TestHandlerRefuses(t *testing.T) {
	for _, tt := range []struct {
		method, target string
		status         int
	}{
		{"GET", "/nothing", http.StatusNotFound},
		{"GET", "/embed.go", http.StatusNotFound},
		{"GET", "/board.test.js", http.StatusNotFound},
		{"GET", "/client/", http.StatusNotFound},
		{"GET", "/client/../client.go", http.StatusNotFound},
		{"GET", "/package.json", http.StatusNotFound},
		{"GET", "/.", http.StatusNotFound},
		{"GET", "/../embed.go", http.StatusNotFound},
		{"POST", "/", http.StatusMethodNotAllowed},
		{"HEAD", "/", http.StatusOK},
	} {
		if res := get(t, tt.method, tt.target); res.StatusCode != tt.status {
			t.Errorf("%s %s: status %d, want %d", tt.method, tt.target, res.StatusCode, tt.status)
		}
	}
}

func TestHandlerNotModified(t *testing.T) {
	etag := get(t, "GET", "/main.js").Header.Get("ETag")
	if etag == "" {
		t.Fatal("no ETag")
	}
	if res := get(t, "GET", "/main.js", "If-None-Match", etag); res.StatusCode != http.StatusNotModified {
		t.Errorf("same tag: status %d, want 304", res.StatusCode)
	}
	if res := get(t, "GET", "/main.js", "If-None-Match", `"other"`); res.StatusCode != http.StatusOK {
		t.Errorf("other tag: status %d, want 200", res.StatusCode)
	}
}

// What the page refers to must be served, and the policy forbids inline code and styles,
// which would fail silently in the browser.
func TestPageIsComplete(t *testing.T) {
	refers := regexp.MustCompile(`(?:src|href)="([^"/#][^"]*)"|(?:from|import\() ?['"]\./([^'"]+)['"]`)
	inline := regexp.MustCompile(`(?i)<script>|<style|\sstyle="|\son[a-z]+="|innerHTML|insertAdjacentHTML|document\.write`)
	for dir, fsys := range map[string]fs.FS{"/": FS(), "/client/": web.Client()} {
		names, err := fs.Glob(fsys, "*.*")
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			content, err := fs.ReadFile(fsys, name)
			if err != nil {
				t.Fatal(err)
			}
			if contentTypes[path.Ext(name)] == "" {
				t.Errorf("%s%s: no content type", dir, name)
			}
			for _, m := range refers.FindAllStringSubmatch(string(content), -1) {
				if target := dir + m[1] + m[2]; get(t, "GET", target).StatusCode != http.StatusOK {
					t.Errorf("%s%s refers to %s, which is not served", dir, name, target)
				}
			}
			if found := inline.FindString(string(content)); found != "" {
				t.Errorf("%s%s: %q does not work under the policy, or should not", dir, name, found)
			}
		}
	}
}

// What is served is what web/client built, and the page uses it.
func TestClientLibrary(t *testing.T) {
	dist := os.DirFS("../client/dist")
	names, err := fs.Glob(dist, "*.js")
	if err != nil || len(names) == 0 {
		t.Fatalf("%d scripts in web/client/dist, %v", len(names), err)
	}
	for _, name := range names {
		want, err := fs.ReadFile(dist, name)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(get(t, "GET", "/client/"+name).Body)
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("/client/%s is not web/client/dist/%s (%v)", name, name, err)
		}
	}
	script, err := fs.ReadFile(FS(), "gateway.js")
	if err != nil || !strings.Contains(string(script), "'./client/shared.js'") {
		t.Errorf("gateway.js does not import the library (%v)", err)
	}
}

// Every module in the folder is embedded, tests and their configuration excepted.
func TestEveryModuleIsEmbedded(t *testing.T) {
	names, err := fs.Glob(os.DirFS("."), "*.js")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if strings.HasSuffix(name, ".test.js") || strings.HasSuffix(name, ".config.js") {
			continue
		}
		if _, err := fs.Stat(FS(), name); err != nil {
			t.Errorf("%s is not embedded", name)
		}
	}
}
