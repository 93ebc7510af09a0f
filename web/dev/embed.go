// Package dev holds the page that a gateway in dev mode serves at "/": a kanban board that
// several windows keep in sync through the gateway itself, with the client library that every
// other page can have. The page is plain HTML, CSS and ES modules: what lies in this folder, and
// in the library's dist folder, is what the browser loads.
package dev

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"io/fs"
	"net/http"
	"path"
	"strings"
	"time"

	"realtime-gateway/web"
)

//go:embed index.html style.css favicon.svg
//go:embed api.js board.js dom.js drag.js gateway.js main.js panels.js replicas.js view.js
var files embed.FS

// contentSecurityPolicy allows the page its own files, and connections to replicas on this
// machine: when one replica stops, the page moves to another, which is another origin.
const contentSecurityPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; " +
	"connect-src 'self' http://127.0.0.1:* http://localhost:*; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"

// contentTypes names the type of every kind of file here. The system's table of types, which
// mime.TypeByExtension consults, differs between machines, and a module with the wrong type
// does not run.
var contentTypes = map[string]string{
	".html": "text/html; charset=utf-8",
	".css":  "text/css; charset=utf-8",
	".js":   "text/javascript; charset=utf-8",
	".svg":  "image/svg+xml",
}

// clientPath is where the page finds the client library.
const clientPath = "client/"

// FS returns the files of the page, without the client library.
func FS() fs.FS { return files }

// Handler serves the page at "/", its files beside it and the client library below "/client/".
// Any other path is not found, so it can stand behind every other route.
func Handler() http.Handler {
	pages := map[string]page{}
	for at, fsys := range map[string]fs.FS{"": files, clientPath: web.Client()} {
		if err := load(pages, at, fsys); err != nil {
			panic("dev: read embedded page: " + err.Error()) // cannot happen: the files are part of the binary
		}
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name := strings.TrimPrefix(r.URL.Path, "/")
		if name == "" {
			name = "index.html"
		}
		page, ok := pages[name]
		if !ok {
			http.NotFound(w, r)
			return
		}
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
			return
		}
		h := w.Header()
		h.Set("Content-Type", page.contentType)
		h.Set("Content-Security-Policy", contentSecurityPolicy)
		h.Set("Cache-Control", "no-cache") // ask each time, and be told "not modified" by the tag
		h.Set("ETag", page.etag)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		http.ServeContent(w, r, name, time.Time{}, bytes.NewReader(page.content))
	})
}

// page is one file, ready to be served.
type page struct {
	content     []byte
	contentType string
	etag        string
}

// load adds the files of fsys, as what lies at this path.
func load(pages map[string]page, at string, fsys fs.FS) error {
	names, err := fs.Glob(fsys, "*.*")
	if err != nil {
		return err
	}
	for _, name := range names {
		content, err := fs.ReadFile(fsys, name)
		if err != nil {
			return err
		}
		sum := sha256.Sum256(content)
		pages[at+name] = page{
			content:     content,
			contentType: contentTypes[path.Ext(name)],
			etag:        `"` + hex.EncodeToString(sum[:8]) + `"`,
		}
	}
	return nil
}
