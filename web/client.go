// Package web holds @realtime-gateway/client, the scripts of web/client, as they are committed
// in its dist folder: a gateway that serves them builds with nothing but Go.
package web

import (
	"embed"
	"io/fs"
)

//go:embed client/dist/*.js
var files embed.FS

// Client returns the modules of the client by name: index.js, shared.js and the others, which
// import each other from beside them.
func Client() fs.FS {
	dist, err := fs.Sub(files, "client/dist")
	if err != nil {
		panic("web: " + err.Error()) // cannot happen: the path is valid
	}
	return dist
}
