package test

import (
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"realtime-gateway/internal/pages"
)

// documents reads all pages of the repository, by path from root.
func documents(t *testing.T, root string) map[string]*pages.Page {
	t.Helper()
	all := make(map[string]*pages.Page)
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		switch name := entry.Name(); {
		case err != nil:
			return err
		case entry.IsDir() && (name == "node_modules" || name == ".git" || name == "dist"):
			return filepath.SkipDir
		case !entry.IsDir() && filepath.Ext(name) == ".md":
			all[path] = pages.Read(t, path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// Every link from a page into this repository leads to a file that is there, and
// to a heading that it has.
func TestLinksLeadSomewhere(t *testing.T) {
	all := documents(t, "..")
	links := 0
	for path, page := range all {
		for _, link := range page.Links {
			u, err := url.Parse(link)
			if err != nil {
				t.Errorf("%s links to %q: %v", path, link, err)
				continue
			}
			if u.Scheme != "" || u.Host != "" {
				continue // elsewhere: not for a test that needs no network
			}
			links++
			target := path
			if u.Path != "" {
				target = filepath.Join(filepath.Dir(path), u.Path)
			}
			if _, err := os.Stat(target); err != nil || strings.HasPrefix(u.Path, "/") {
				t.Errorf("%s links to %s, which is no file of this repository", path, link)
				continue
			}
			if u.Fragment == "" {
				continue
			}
			if to := all[target]; to == nil || !to.Anchors[u.Fragment] {
				t.Errorf("%s links to %s, and there is no such heading", path, link)
			}
		}
	}
	if links < 50 {
		t.Errorf("only %d links were found", links)
	}
}
