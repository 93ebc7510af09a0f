package deploy_test

import (
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
	"github.com/moby/patternmatcher"
	"github.com/moby/patternmatcher/ignorefile"
)

// repository is the work tree, seen from the folder of this package.
const repository = "../.."

// dockerfile is the parsed one of the repository.
type dockerfile struct{ stages []instructions.Stage }

func parseDockerfile(t *testing.T) dockerfile {
	t.Helper()
	f, err := os.Open(filepath.Join(repository, "Dockerfile"))
	must(t, err)
	defer f.Close()
	parsed, err := parser.Parse(f)
	must(t, err)
	for _, w := range parsed.Warnings {
		t.Errorf("Dockerfile: %s", w.Short)
	}
	stages, _, err := instructions.Parse(parsed.AST, nil)
	must(t, err)
	return dockerfile{stages}
}

// builder carries a Dockerfile out without an engine: each stage has a folder
// as its root, its commands run on this machine, and an instruction that it
// does not know is an error. What base images bring is taken from here.
type builder struct {
	args map[string]string // build arguments
	env  []string          // of the commands, beside the arguments

	roots map[string]string // of the stages, by name and number
}

// build carries out all stages and returns the last one's folder.
func (b *builder) build(t *testing.T, d dockerfile) string {
	t.Helper()
	b.roots = map[string]string{}
	var root string
	for i, s := range d.stages {
		root = t.TempDir()
		b.roots[fmt.Sprint(i)], b.roots[s.Name] = root, root
		b.stage(t, s, root)
	}
	return root
}

func (b *builder) stage(t *testing.T, s instructions.Stage, root string) {
	t.Helper()
	workdir := "/"
	env := map[string]string{}
	for _, c := range s.Commands {
		switch c := c.(type) {
		case *instructions.WorkdirCommand:
			workdir = path.Join(workdir, c.Path)
			must(t, os.MkdirAll(filepath.Join(root, workdir), 0o755))
		case *instructions.ArgCommand:
			for _, a := range c.Args {
				if v, ok := b.args[a.Key]; ok {
					env[a.Key] = v
				} else if a.Value != nil {
					env[a.Key] = *a.Value
				}
			}
		case *instructions.CopyCommand:
			dest := c.DestPath
			if !path.IsAbs(dest) {
				dest = path.Join(workdir, dest) + "/"
			}
			for _, source := range c.SourcePaths {
				if c.From == "" {
					copyContext(t, source, filepath.Join(root, dest))
				} else {
					b.copyFrom(t, c.From, source, filepath.Join(root, dest), strings.HasSuffix(dest, "/"))
				}
			}
		case *instructions.RunCommand:
			// The flags of RUN are read when its variables are put in.
			must(t, c.Expand(func(word string) (string, error) { return word, nil }))
			for _, m := range instructions.GetMounts(c) {
				if m.Type != instructions.MountTypeCache {
					t.Fatalf("%s: a mount of type %s cannot be carried out here", c, m.Type)
				}
			}
			cmd := exec.Command("/bin/sh", "-c", strings.Join(c.CmdLine, " "))
			cmd.Dir = filepath.Join(root, workdir)
			cmd.Env = slices.Clone(b.env)
			for name, value := range env {
				cmd.Env = append(cmd.Env, name+"="+value)
			}
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("%s: %v\n%s", c, err, out)
			}
		case *instructions.LabelCommand, *instructions.UserCommand, *instructions.ExposeCommand,
			*instructions.HealthCheckCommand, *instructions.EntrypointCommand: // read by metadata
		default:
			t.Fatalf("%s: the test cannot carry this out", c.Name())
		}
	}
}

// copyFrom copies one file of another stage, or, where that stage did not make
// it, of this machine.
func (b *builder) copyFrom(t *testing.T, stage, source, dest string, into bool) {
	t.Helper()
	root, ok := b.roots[stage]
	if !ok {
		t.Fatalf("COPY --from=%s: there is no such stage", stage)
	}
	from := filepath.Join(root, source)
	if _, err := os.Stat(from); err != nil {
		from = source
	}
	if into {
		dest = filepath.Join(dest, path.Base(source))
	}
	copyFile(t, from, dest)
}

// copyContext copies what git has, what is new in the work tree, and what
// .dockerignore leaves of both.
func copyContext(t *testing.T, source, dest string) {
	t.Helper()
	copied := 0
	for _, file := range buildContext(t) {
		if source != "." && file != source {
			continue
		}
		copied++
		copyFile(t, filepath.Join(repository, file), filepath.Join(dest, file))
	}
	if copied == 0 {
		t.Fatalf("COPY %s: the build context has no such file", source)
	}
}

// buildContext lists the files that are sent to a builder.
func buildContext(t *testing.T) []string {
	t.Helper()
	ignore, err := os.Open(filepath.Join(repository, ".dockerignore"))
	must(t, err)
	defer ignore.Close()
	patterns, err := ignorefile.ReadAll(ignore)
	must(t, err)
	matcher, err := patternmatcher.New(patterns)
	must(t, err)
	list := exec.Command("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
	list.Dir = repository
	out, err := list.Output()
	must(t, err)
	var files []string
	for file := range strings.SplitSeq(strings.TrimRight(string(out), "\x00"), "\x00") {
		ignored, err := matcher.MatchesOrParentMatches(file)
		must(t, err)
		if _, err := os.Stat(filepath.Join(repository, file)); !ignored && err == nil {
			files = append(files, file)
		}
	}
	return files
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	info, err := os.Stat(from)
	must(t, err)
	content, err := os.ReadFile(from)
	must(t, err)
	must(t, os.MkdirAll(filepath.Dir(to), 0o755))
	must(t, os.WriteFile(to, content, info.Mode().Perm()))
}

// metadata is what an image says about how it is run.
type metadata struct {
	user       string
	ports      []string
	labels     map[string]string
	entrypoint []string
	health     []string
}

func (d dockerfile) metadata() metadata {
	m := metadata{labels: map[string]string{}}
	for _, c := range d.stages[len(d.stages)-1].Commands {
		switch c := c.(type) {
		case *instructions.UserCommand:
			m.user = c.User
		case *instructions.ExposeCommand:
			m.ports = append(m.ports, c.Ports...)
		case *instructions.LabelCommand:
			for _, l := range c.Labels {
				m.labels[l.Key] = l.Value
			}
		case *instructions.EntrypointCommand:
			m.entrypoint = c.CmdLine
		case *instructions.HealthCheckCommand:
			m.health = c.Health.Test
		}
	}
	return m
}

// A layer must not carry more than the binary and the authorities, and the
// build no more than the code: a work tree holds secrets.
func TestBuildContext(t *testing.T) {
	for _, file := range buildContext(t) {
		top, _, _ := strings.Cut(file, "/")
		if !slices.Contains([]string{"go.mod", "go.sum", "Makefile", "cmd", "internal", "pkg", "web"}, top) || strings.HasSuffix(file, "_test.go") {
			t.Errorf("the build context has %s", file)
		}
	}
}

func TestImageMetadata(t *testing.T) {
	d := parseDockerfile(t)
	for i, s := range d.stages {
		named := slices.ContainsFunc(d.stages[:i], func(earlier instructions.Stage) bool { return earlier.Name == s.BaseName })
		if _, tag, ok := strings.Cut(s.BaseName, ":"); s.BaseName != "scratch" && !named && (!ok || strings.Count(tag, ".") < 2) {
			t.Errorf("the base image %q is not pinned to a version", s.BaseName)
		}
	}
	m := d.metadata()
	if m.user != "65532:65532" {
		t.Errorf("USER is %q: Kubernetes wants a number that is not 0", m.user)
	}
	if !slices.Equal(m.ports, []string{"8080", "9090"}) {
		t.Errorf("EXPOSE is %q", m.ports)
	}
	if !slices.Equal(m.entrypoint, []string{"/gateway"}) || !slices.Equal(m.health, []string{"CMD", "/gateway", "healthcheck"}) {
		t.Errorf("ENTRYPOINT is %q and HEALTHCHECK %q: there is no shell in the image", m.entrypoint, m.health)
	}
	const prefix = "org.opencontainers.image."
	want := []string{prefix + "created", prefix + "description", prefix + "revision", prefix + "title", prefix + "version"}
	if got := slices.Sorted(maps.Keys(m.labels)); !slices.Equal(got, want) {
		t.Errorf("the labels are %q, want %q", got, want)
	}
}

// files lists the regular files below a folder.
func files(t *testing.T, dir string) []string {
	t.Helper()
	var list []string
	must(t, filepath.WalkDir(dir, func(file string, e fs.DirEntry, err error) error {
		if err == nil && e.Type().IsRegular() {
			rel, _ := filepath.Rel(dir, file)
			list = append(list, rel)
		}
		return err
	}))
	return list
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
