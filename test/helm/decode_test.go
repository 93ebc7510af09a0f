package helm

import (
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/util/validation"
	"sigs.k8s.io/yaml"
)

// backendConfig is what the chart says of Google's type, whose module brings
// half of Kubernetes along.
// https://cloud.google.com/kubernetes-engine/docs/how-to/ingress-configuration
type backendConfig struct {
	APIVersion string         `json:"apiVersion"`
	Kind       string         `json:"kind"`
	Metadata   map[string]any `json:"metadata"`
	Spec       struct {
		TimeoutSec         int64 `json:"timeoutSec"`
		ConnectionDraining struct {
			DrainingTimeoutSec int64 `json:"drainingTimeoutSec"`
		} `json:"connectionDraining"`
		HealthCheck struct {
			Type        string `json:"type"`
			RequestPath string `json:"requestPath"`
			Port        int64  `json:"port"`
		} `json:"healthCheck"`
	} `json:"spec"`
}

// Every object has only fields that the API has, of its types, and names and
// labels that it takes. This is what runs with oldest.mod, too.
func TestManifestsAreOfTheAPI(t *testing.T) {
	seen := map[string]bool{}
	for name, file := range cases(t) {
		t.Run(name, func(t *testing.T) {
			names := map[string]bool{}
			for _, m := range render(t, file) {
				kind := m.head.APIVersion + " " + m.head.Kind
				seen[kind] = true
				make := kinds[kind]
				if make == nil {
					t.Errorf("%v is of an API that is not expected: %s", m, kind)
					continue
				}
				if err := yaml.UnmarshalStrict([]byte(m.text), make()); err != nil {
					t.Errorf("%v: %v\n%s", m, err, m.text)
				}
				if names[kind+m.head.Metadata.Name] {
					t.Errorf("there are two of %v", m)
				}
				names[kind+m.head.Metadata.Name] = true
				checkNames(t, m)
			}
		})
	}
	for kind := range kinds {
		if !seen[kind] {
			t.Errorf("no values file renders a %s", kind)
		}
	}
}

func checkNames(t *testing.T, m manifest) {
	t.Helper()
	problems := validation.IsDNS1123Subdomain(m.head.Metadata.Name)
	if m.head.Kind == "Service" {
		problems = validation.IsDNS1035Label(m.head.Metadata.Name)
	}
	for key, value := range m.head.Metadata.Labels {
		problems = append(append(problems, validation.IsQualifiedName(key)...), validation.IsValidLabelValue(value)...)
	}
	if len(problems) > 0 {
		t.Errorf("%v: %s", m, strings.Join(problems, "; "))
	}
	if m.head.Metadata.Namespace != namespace && !strings.HasSuffix(m.head.Metadata.Name, "-extra") {
		t.Errorf("%v is in namespace %q", m, m.head.Metadata.Namespace)
	}
}

// A release name that is long, or that YAML takes for something else than text,
// still gives names and labels that Kubernetes takes.
func TestReleaseNames(t *testing.T) {
	for _, release := range []string{strings.Repeat("long-", 10) + "abc", "12345", "1e3", "true", "null"} {
		out, err := helm("template", release, chart, "--namespace", namespace, "--kube-version", oldest,
			"--values", "testdata/values/full.yaml", "--set-string", "fullnameOverride=rt,redis.url.existingSecret=123,redis.url.key=4,priorityClassName=5")
		if err != nil {
			t.Fatal(err)
		}
		for _, text := range strings.Split(out, "\n---\n") {
			var m manifest
			if err := yaml.Unmarshal([]byte(text), &m.head); err != nil {
				t.Fatalf("%s: %v", release, err)
			}
			make := kinds[m.head.APIVersion+" "+m.head.Kind]
			if make == nil {
				continue
			}
			checkNames(t, m)
			if err := yaml.UnmarshalStrict([]byte(text), make()); err != nil {
				t.Errorf("%s: %v: %v", release, m, err)
			}
		}
	}
}

// A release whose name is no Service's needs another one.
func TestReleaseNamesThatAreNoServices(t *testing.T) {
	for _, release := range []string{"1gateway", "my.gateway"} {
		_, err := helm("template", release, chart, "--kube-version", oldest)
		if err == nil || !strings.Contains(err.Error(), "set fullnameOverride") {
			t.Errorf("%s: %v", release, err)
		}
	}
}

func TestOlderKubernetesIsRefused(t *testing.T) {
	if _, err := template("--kube-version", "1.29.9"); err == nil || !strings.Contains(err.Error(), "kubeVersion") {
		t.Errorf("1.29 is taken: %v", err)
	}
}
