package helm

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// deadline is how long anything may take that a test waits for.
const deadline = 30 * time.Second

// gatewayBinary builds the gateway once.
var gatewayBinary = sync.OnceValues(func() (string, error) {
	binary := filepath.Join(scratch, "gateway")
	build := exec.Command("go", "build", "-o", binary, "./cmd/gateway")
	build.Dir = "../.."
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the gateway: %w\n%s", err, out)
	}
	return binary, nil
})

func gatewayCommand(t *testing.T, env []string, args ...string) *exec.Cmd {
	t.Helper()
	binary, err := gatewayBinary()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 4*deadline)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, binary, args...)
	cmd.Env = env
	return cmd
}

// node is what a container has around it: the files of its volumes, and the
// values of its environment. Volumes are directories below its root.
type node struct {
	root string
	list []manifest
}

// newNode makes every file that the chart's pods may mount.
func newNode(t *testing.T, list []manifest) node {
	t.Helper()
	n := node{t.TempDir(), list}
	cert, key, public := pair(t)
	for path, content := range map[string][]byte{
		"redis-tls/ca.crt": cert, "redis-tls/tls.crt": cert, "redis-tls/tls.key": key,
		"tls/tls.crt": cert, "tls/tls.key": key, "jwt/jwt.pub": public,
		"config/gateway.yaml": n.file(t),
	} {
		path = filepath.Join(n.root, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return n
}

// file is the gateway's file, or where somebody else keeps it, one of theirs.
func (n node) file(t *testing.T) []byte {
	t.Helper()
	var c corev1.ConfigMap
	for _, m := range n.list {
		if m.head.Kind == "ConfigMap" && strings.Contains(m.text, "  gateway.yaml: |") {
			find(t, []manifest{m}, "ConfigMap", "", &c)
			return []byte(c.Data["gateway.yaml"])
		}
	}
	return []byte("channels: [{pattern: a, subscribe: public}]\n")
}

// pair is a certificate for loopback with its key, and its public key, as PEM.
func pair(t *testing.T) (cert, key, public []byte) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	of := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "chart"}, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(90 * 24 * time.Hour),
		DNSNames: []string{"localhost"}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, of, of, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	publicDER, err := x509.MarshalPKIXPublicKey(&private.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	block := func(kind string, der []byte) []byte { return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}) }
	return block("CERTIFICATE", der), block("PRIVATE KEY", keyDER), block("PUBLIC KEY", publicDER)
}

// existing are values of the Secrets that the values files name.
var existing = map[string]string{
	"redis/url": "rediss://redis:6379", "gateway-jwt/secret": "a-secret-of-32-bytes-or-more-0123",
	"gateway-webhook/webhook-secret": "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz", "gateway-token/token": "t0ken",
}

// env is a container's environment as the kubelet would set it.
func (n node) env(t *testing.T, c corev1.Container) []string {
	t.Helper()
	var own corev1.Secret
	find(t, n.list, "Secret", "", &own)
	var out []string
	for _, e := range c.Env {
		value := strings.ReplaceAll(e.Value, "/etc/gateway", n.root)
		if e.ValueFrom != nil && e.ValueFrom.SecretKeyRef != nil {
			ref := e.ValueFrom.SecretKeyRef
			var ok bool
			if value, ok = existing[ref.Name+"/"+ref.Key]; !ok && ref.Name == own.Name {
				value, ok = own.StringData[ref.Key]
			}
			if !ok {
				t.Errorf("%s is from key %s of Secret %s, which is not there", e.Name, ref.Key, ref.Name)
			}
		}
		out = append(out, e.Name+"="+value)
	}
	return out
}

// What a replica is started with is a configuration that the gateway takes
// without a warning, and every file that it names is mounted.
func TestGatewayTakesTheConfiguration(t *testing.T) {
	for name, file := range cases(t) {
		t.Run(name, func(t *testing.T) {
			list := render(t, file)
			n := newNode(t, list)
			c := deployment(t, list).Spec.Template.Spec.Containers[0]
			cmd := gatewayCommand(t, n.env(t, c), append([]string{"check-config"}, c.Args...)...)
			var errOut bytes.Buffer
			cmd.Stderr = &errOut
			if out, err := cmd.Output(); err != nil || errOut.Len() > 0 {
				t.Errorf("%v: %s\n%s", err, &errOut, out)
			}
			for _, e := range c.Env {
				if strings.HasPrefix(e.Value, "/") && !mounted(c, e.Value) {
					t.Errorf("%s is %s, and nothing is mounted there", e.Name, e.Value)
				}
			}
		})
	}
}

func mounted(c corev1.Container, path string) bool {
	for _, m := range c.VolumeMounts {
		if strings.HasPrefix(path, m.MountPath+"/") {
			return true
		}
	}
	return false
}

// freeAddr is an address that nobody listens on.
func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// eventually waits until f returns nil.
func eventually(t *testing.T, f func() error) {
	t.Helper()
	end := time.Now().Add(deadline)
	for {
		err := f()
		if err == nil {
			return
		}
		if time.Now().After(end) {
			t.Fatal(err)
		}
		time.Sleep(20 * time.Millisecond) // a poll
	}
}

// startRedis runs a Redis until the test ends, and returns its URL.
func startRedis(t *testing.T) string {
	t.Helper()
	addr := freeAddr(t)
	_, port, _ := net.SplitHostPort(addr)
	redis := exec.Command("redis-server", "--port", port, "--bind", "127.0.0.1", "--save", "", "--dir", t.TempDir())
	if err := redis.Start(); err != nil {
		t.Fatalf("%v: make deps installs it", err)
	}
	t.Cleanup(func() { _ = redis.Process.Kill(); _ = redis.Wait() })
	eventually(t, func() error {
		c, err := net.Dial("tcp", addr)
		if err == nil {
			c.Close()
		}
		return err
	})
	return "redis://" + addr
}

// startGateway runs what the Deployment runs, against a real Redis, until the
// test ends, and returns its addresses.
func startGateway(t *testing.T, n node, redis string) (addr, ops string) {
	t.Helper()
	addr, ops = freeAddr(t), freeAddr(t)
	c := deployment(t, n.list).Spec.Template.Spec.Containers[0]
	env := append(withoutEnv(n.env(t, c), "GATEWAY_ADDR", "GATEWAY_OPS_ADDR", "GATEWAY_REDIS_URL", "GATEWAY_DRAIN_TIME"),
		"GATEWAY_ADDR="+addr, "GATEWAY_OPS_ADDR="+ops, "GATEWAY_REDIS_URL="+redis, "GATEWAY_DRAIN_TIME=0s")
	cmd := gatewayCommand(t, env, c.Args...)
	var log bytes.Buffer
	cmd.Stderr = &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		if err := cmd.Wait(); err != nil {
			t.Errorf("%v: %s", err, &log)
		}
	})
	// The paths of the probes themselves.
	for _, probe := range []*corev1.Probe{c.StartupProbe, c.ReadinessProbe, c.LivenessProbe} {
		if probe.HTTPGet.Port.StrVal != "ops" {
			t.Fatalf("a probe asks at %v", probe.HTTPGet.Port)
		}
		eventually(t, func() error { _, err := get("http://" + ops + probe.HTTPGet.Path); return err })
	}
	return addr, ops
}

func withoutEnv(env []string, names ...string) (kept []string) {
	for _, e := range env {
		name, _, _ := strings.Cut(e, "=")
		if !strings.Contains(" "+strings.Join(names, " ")+" ", " "+name+" ") {
			kept = append(kept, e)
		}
	}
	return kept
}

func get(url string) (string, error) {
	resp, err := http.Get(url)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = errors.New(resp.Status + ": " + string(body))
	}
	return string(body), err
}

// The test's pod passes where all is well, and fails where the gateway is not
// there: its command line and environment are taken from the pod.
func TestHelmTest(t *testing.T) {
	list := render(t, "testdata/values/default.yaml", "--set", "test.timeoutSeconds=5")
	n := newNode(t, list)
	redis := startRedis(t)
	addr, _ := startGateway(t, n, redis)
	var pod corev1.Pod
	if !find(t, list, "Pod", "-ping", &pod) || pod.Annotations["helm.sh/hook"] != "test" {
		t.Fatalf("the test is %v", pod.Annotations)
	}
	c := pod.Spec.Containers[0]
	if got, want := environment(c)["GATEWAY_URL"].Value, fmt.Sprintf("http://%s-realtime-gateway.%s.svc:80", release, namespace); got != want {
		t.Errorf("it asks %s, want %s", got, want)
	}
	env := append(withoutEnv(n.env(t, c), "GATEWAY_URL", "GATEWAY_REDIS_URL"), "GATEWAY_REDIS_URL="+redis)
	out, err := gatewayCommand(t, append(env, "GATEWAY_URL=http://"+addr), c.Args...).CombinedOutput()
	if err != nil || !strings.HasPrefix(string(out), "helm-test: received after ") {
		t.Errorf("%v: %s", err, out)
	}
	out, err = gatewayCommand(t, append(env, "GATEWAY_URL=http://"+freeAddr(t)), c.Args...).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "no stream was opened") {
		t.Errorf("without a gateway: %v: %s", err, out)
	}
}

// A file that is in use elsewhere can be given as it is.
func TestConfigFile(t *testing.T) {
	list := render(t, "testdata/values/default.yaml", "--set-file", "configFile=testdata/gateway.yaml")
	n := newNode(t, list)
	c := deployment(t, list).Spec.Template.Spec.Containers[0]
	out, err := gatewayCommand(t, n.env(t, c), "check-config").CombinedOutput()
	if err != nil || !strings.Contains(string(out), "2097152") || !strings.Contains(string(out), "status:**") {
		t.Errorf("%v: %s", err, out)
	}
}
