//go:build linux

// The image is for Linux, and is run here.

package deploy_test

import (
	"bytes"
	"crypto/sha256"
	"debug/elf"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The stages of the Dockerfile are carried out, and what they make is started
// as an engine would: without root, in a root of its own that nobody may write
// to, with nothing in it that the image does not bring.
func TestImage(t *testing.T) {
	d := parseDockerfile(t)
	root := build(t, d, runtime.GOARCH, goEnv(t, "GOCACHE"))
	if got, want := files(t, root), []string{"etc/ssl/certs/ca-certificates.crt", "gateway"}; !slices.Equal(got, want) {
		t.Fatalf("the image holds %q, want %q", got, want)
	}
	binary := filepath.Join(root, "gateway")
	info, err := os.Stat(binary)
	must(t, err)
	figure(t, fmt.Sprintf("the binary has %.1f MiB", float64(info.Size())/(1<<20)))
	if info.Size() > 40<<20 {
		t.Errorf("the binary has %d bytes: what did it take in?", info.Size())
	}

	t.Run("static", func(t *testing.T) { wantStatic(t, binary, elf.EM_NONE) })
	t.Run("version", func(t *testing.T) {
		out, err := inImage(t, root, "version", "--json").Output()
		must(t, err)
		want := `{"version":"v1.2.3","commit":"0123abc","dirty":true,"date":"2026-11-01T00:00:00Z","go":"` + goEnv(t, "GOVERSION") +
			`","platform":"` + runtime.GOOS + "/" + runtime.GOARCH + `"}`
		if got := strings.TrimSpace(string(out)); got != want {
			t.Errorf("gateway version --json says %s, want %s", got, want)
		}
	})
	t.Run("runs without root and without a place to write", func(t *testing.T) { runs(t, d.metadata(), root) })
	t.Run("reproducible", func(t *testing.T) {
		if testing.Short() {
			t.Skip("compiles everything anew")
		}
		// Another folder and an empty cache: nothing of the first build is used.
		again := build(t, d, runtime.GOARCH, t.TempDir())
		if digest(t, binary) != digest(t, filepath.Join(again, "gateway")) {
			t.Error("two builds of the same commit differ")
		}
	})
	t.Run("another architecture", func(t *testing.T) {
		if testing.Short() {
			t.Skip("compiles everything anew")
		}
		arch, machine := "arm64", elf.EM_AARCH64
		if runtime.GOARCH == arch {
			arch, machine = "amd64", elf.EM_X86_64
		}
		wantStatic(t, filepath.Join(build(t, d, arch, goEnv(t, "GOCACHE")), "gateway"), machine)
	})
}

// build carries the Dockerfile out for an architecture.
func build(t *testing.T, d dockerfile, arch, cache string) string {
	t.Helper()
	b := &builder{
		args: map[string]string{
			"TARGETOS": "linux", "TARGETARCH": arch,
			"VERSION": "v1.2.3", "COMMIT": "0123abc-dirty", "COMMIT_DATE": "2026-11-01T00:00:00Z",
		},
		env: []string{
			"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir(), "GOCACHE=" + cache,
			"GOMODCACHE=" + goEnv(t, "GOMODCACHE"), "GOPROXY=" + goEnv(t, "GOPROXY"), "GOSUMDB=" + goEnv(t, "GOSUMDB"),
		},
	}
	return b.build(t, d)
}

func goEnv(t *testing.T, name string) string {
	t.Helper()
	out, err := exec.Command("go", "env", name).Output()
	must(t, err)
	return strings.TrimSpace(string(out))
}

func digest(t *testing.T, file string) [sha256.Size]byte {
	t.Helper()
	content, err := os.ReadFile(file)
	must(t, err)
	return sha256.Sum256(content)
}

// wantStatic wants a binary that needs no loader and no library; of that
// machine, unless it is EM_NONE.
func wantStatic(t *testing.T, binary string, machine elf.Machine) {
	t.Helper()
	f, err := elf.Open(binary)
	must(t, err)
	defer f.Close()
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			t.Error("the binary wants a loader")
		}
	}
	if libraries, err := f.ImportedLibraries(); err == nil && len(libraries) > 0 {
		t.Errorf("the binary wants the libraries %q", libraries)
	}
	if machine != elf.EM_NONE && f.Machine != machine {
		t.Errorf("the binary is for %v, want %v", f.Machine, machine)
	}
}

// nobody is the image's user.
const nobody = 65532

// inImage is the image's binary with root as its root and its folder, owned by
// somebody else and closed for writing. Who may not change the root of a process
// runs it in that folder, as himself.
func inImage(t *testing.T, root string, args ...string) *exec.Cmd {
	t.Helper()
	if os.Geteuid() != 0 {
		cmd := exec.Command(filepath.Join(root, "gateway"), args...)
		cmd.Dir, cmd.Env = root, []string{}
		return cmd
	}
	must(t, os.Chmod(root, 0o555))
	cmd := exec.Command("/gateway", args...)
	cmd.Dir, cmd.Env = "/", []string{}
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Chroot: root, Credential: &syscall.Credential{Uid: nobody, Gid: nobody}, Pdeathsig: syscall.SIGKILL,
	}
	return cmd
}

// runs starts the image's gateway, asks the image's health check, has an event
// go through it, and stops it.
func runs(t *testing.T, m metadata, root string) {
	env := []string{"GATEWAY_ADDR=" + freeAddr(t), "GATEWAY_OPS_ADDR=" + freeAddr(t)}
	gateway := inImage(t, root, "--dev")
	gateway.Env = env
	var log bytes.Buffer
	gateway.Stdout, gateway.Stderr = &log, &log
	runtime.LockOSThread() // Pdeathsig is about the thread
	defer runtime.UnlockOSThread()
	must(t, gateway.Start())
	ended := make(chan error, 1)
	go func() { ended <- gateway.Wait() }()
	defer func() {
		if t.Failed() {
			_ = gateway.Process.Kill()
			<-ended
			t.Logf("the gateway said:\n%s", &log)
		}
	}()

	health := m.health[1:] // without CMD
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		check := inImage(t, root, append(health[1:], "--ready")...)
		check.Env = env
		out, err := check.CombinedOutput()
		if err == nil {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("the health check fails: %v: %s", err, out)
		}
	}
	check := inImage(t, root, health[1:]...)
	check.Env = env
	if out, err := check.CombinedOutput(); err != nil {
		t.Fatalf("the health check fails: %v: %s", err, out)
	}
	if os.Geteuid() == 0 {
		status, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(gateway.Process.Pid), "status"))
		must(t, err)
		if want := "\nUid:\t65532\t65532\t65532\t65532\n"; !strings.Contains(string(status), want) {
			t.Errorf("the process is not %q:\n%s", want, status)
		}
	}
	must(t, gateway.Process.Signal(syscall.SIGTERM))
	if err := <-ended; err != nil {
		ended <- err
		t.Fatalf("stopped by SIGTERM it says %v", err)
	}
	ended <- nil
}

func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer l.Close()
	return l.Addr().String()
}

// Where there is Docker, it builds the image, and runs it with the least rights.
func TestImageByDocker(t *testing.T) {
	if err := exec.Command("docker", "info").Run(); err != nil {
		t.Skip("there is no Docker; TestImage carries the Dockerfile out by itself")
	}
	const name, version = "realtime-gateway-test", "v1.2.3"
	image := exec.Command("make", "image", "IMAGE="+name, "VERSION="+version, "COMMIT=0123abc", "COMMIT_DATE=2026-11-01T00:00:00Z")
	image.Dir = repository
	if out, err := image.CombinedOutput(); err != nil {
		t.Fatalf("make image: %v\n%s", err, out)
	}
	defer func() { _ = exec.Command("docker", "image", "rm", name+":"+version).Run() }()
	out, err := exec.Command("docker", "run", "--rm", "--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges",
		name+":"+version, "version", "--json").CombinedOutput()
	if err != nil || !strings.Contains(string(out), `"version":"v1.2.3","commit":"0123abc","dirty":false,"date":"2026-11-01T00:00:00Z"`) {
		t.Errorf("gateway version --json in the image: %v: %s", err, out)
	}
}

// figure says what was measured, also in the file that make prints at the end.
func figure(t *testing.T, text string) {
	t.Helper()
	t.Log(text)
	if path := os.Getenv("FIGURES"); path != "" {
		must(t, os.WriteFile(path, []byte(t.Name()+": "+text+"\n"), 0o644))
	}
}
