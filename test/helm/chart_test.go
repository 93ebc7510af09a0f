package helm

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"
)

const (
	release   = "demo"
	namespace = "realtime"
)

// helm runs Helm and returns its output, and as the error what it complained
// about.
func helm(args ...string) (string, error) {
	cmd := exec.Command(helmBinary, args...)
	cmd.Env = append(os.Environ(), "KUBECONFIG="+os.DevNull)
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("%w: %s%s", err, errOut.String(), out.String())
	}
	return out.String(), nil
}

// template renders the chart with further arguments.
func template(args ...string) (string, error) {
	return helm(append([]string{"template", release, chart, "--namespace", namespace, "--kube-version", oldest}, args...)...)
}

// cases are the values files by name.
func cases(t *testing.T) map[string]string {
	t.Helper()
	paths, err := filepath.Glob("testdata/values/*.yaml")
	if err != nil || len(paths) < 6 {
		t.Fatalf("there are %d values files: %v", len(paths), err)
	}
	files := map[string]string{}
	for _, path := range paths {
		files[strings.TrimSuffix(filepath.Base(path), ".yaml")] = path
	}
	return files
}

// values writes a values file. A test's own directory has a name from which
// Helm makes something else.
func values(t *testing.T, text string) string {
	t.Helper()
	f, err := os.CreateTemp(scratch, "*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString(text); err != nil {
		t.Fatal(err)
	}
	return f.Name()
}

// manifest is one object that the chart renders.
type manifest struct {
	text string
	head struct {
		APIVersion string `json:"apiVersion"`
		Kind       string `json:"kind"`
		Metadata   struct {
			Name      string            `json:"name"`
			Namespace string            `json:"namespace"`
			Labels    map[string]string `json:"labels"`
		} `json:"metadata"`
	}
}

func (m manifest) String() string { return m.head.Kind + " " + m.head.Metadata.Name }

// render renders the chart with a values file.
func render(t *testing.T, file string, args ...string) []manifest {
	t.Helper()
	out, err := template(append([]string{"--values", file}, args...)...)
	if err != nil {
		t.Fatal(err)
	}
	var list []manifest
	for _, text := range strings.Split("\n"+out, "\n---\n") {
		m := manifest{text: text}
		if err := yaml.Unmarshal([]byte(text), &m.head); err != nil {
			t.Fatalf("%v in\n%s", err, text)
		}
		if m.head.Kind != "" {
			list = append(list, m)
		}
	}
	return list
}

// find decodes the object of a kind with that suffix after the release's name
// into it, and tells whether there is one.
func find(t *testing.T, list []manifest, kind, suffix string, into any) bool {
	t.Helper()
	for _, m := range list {
		if m.head.Kind == kind && strings.HasSuffix(m.head.Metadata.Name, suffix) {
			if err := yaml.UnmarshalStrict([]byte(m.text), into); err != nil {
				t.Fatal(err)
			}
			return true
		}
	}
	return false
}

func deployment(t *testing.T, list []manifest) *appsv1.Deployment {
	t.Helper()
	d := new(appsv1.Deployment)
	if !find(t, list, "Deployment", "", d) {
		t.Fatal("there is no Deployment")
	}
	return d
}

// pods are all pods that the chart starts.
func pods(t *testing.T, list []manifest) map[string]corev1.PodSpec {
	t.Helper()
	specs := map[string]corev1.PodSpec{"deployment": deployment(t, list).Spec.Template.Spec}
	var test corev1.Pod
	if find(t, list, "Pod", "-ping", &test) {
		specs["test"] = test.Spec
	}
	return specs
}
