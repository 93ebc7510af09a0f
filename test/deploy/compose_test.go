package deploy_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"
	"go.yaml.in/yaml/v3"
)

const compose = repository + "/deploy/compose"

// loadCompose reads the file as docker compose would, with the schema, and with
// nothing in the environment but env.
func loadCompose(t *testing.T, env ...string) *types.Project {
	t.Helper()
	options, err := cli.NewProjectOptions([]string{filepath.Join(compose, "docker-compose.yml")}, cli.WithEnv(env))
	must(t, err)
	project, err := options.LoadProject(t.Context())
	must(t, err)
	return project
}

// What runs has no rights that it does not need, and what is open is open to
// this machine.
func TestComposeIsHardened(t *testing.T) {
	p := loadCompose(t)
	want := []string{"gateway-1", "gateway-2", "grafana", "nginx", "prometheus", "redis"}
	if got := p.ServiceNames(); !slices.Equal(got, want) {
		t.Fatalf("the services are %q, want %q", got, want)
	}
	pinned := regexp.MustCompile(`:v?\d+\.\d+\.\d+(-\w+)?$`)
	for name, s := range p.Services {
		switch {
		case !s.ReadOnly:
			t.Errorf("%s may write to its root", name)
		case s.Privileged || !slices.Equal(s.CapDrop, []string{"ALL"}) || len(s.CapAdd) > 0:
			t.Errorf("%s has capabilities", name)
		case !slices.Equal(s.SecurityOpt, []string{"no-new-privileges:true"}):
			t.Errorf("%s may get new privileges", name)
		case s.HealthCheck == nil || len(s.HealthCheck.Test) < 2:
			t.Errorf("%s has no health check", name)
		case s.Build == nil && !pinned.MatchString(s.Image):
			t.Errorf("%s runs %q, which is not pinned to a version", name, s.Image)
		}
		for _, port := range s.Ports {
			if port.HostIP != "127.0.0.1" {
				t.Errorf("%s publishes %v to everybody", name, port)
			}
		}
	}
}

// Every file that is mounted is there.
func TestComposeMounts(t *testing.T) {
	p := loadCompose(t)
	for name, s := range p.Services {
		for _, v := range s.Volumes {
			if v.Type != types.VolumeTypeBind {
				continue
			}
			if !v.ReadOnly {
				t.Errorf("%s may write to %s", name, v.Source)
			}
			if _, err := os.Stat(v.Source); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

// Passwords come from the environment, and those of the file say what they are.
func TestComposeSecrets(t *testing.T) {
	development := loadCompose(t)
	own := loadCompose(t, "REDIS_PASSWORD=own-redis", "GATEWAY_JWT_SECRET=own-secret-own-secret-own-secret", "GRAFANA_PASSWORD=own-grafana")
	for _, secret := range []struct{ service, variable, want string }{
		{"redis", "REDIS_PASSWORD", "own-redis"},
		{"gateway-1", "GATEWAY_REDIS_URL", "redis://:own-redis@redis:6379/0"},
		{"gateway-2", "GATEWAY_JWT_SECRET", "own-secret-own-secret-own-secret"},
		{"grafana", "GF_SECURITY_ADMIN_PASSWORD", "own-grafana"},
	} {
		if got := environment(own.Services[secret.service])[secret.variable]; got != secret.want {
			t.Errorf("%s of %s is %q, want %q", secret.variable, secret.service, got, secret.want)
		}
		if got := environment(development.Services[secret.service])[secret.variable]; !strings.Contains(got, "development-only") {
			t.Errorf("%s of %s is %q by default, which does not say that it is for development", secret.variable, secret.service, got)
		}
	}
}

func environment(s types.ServiceConfig) map[string]string {
	env := map[string]string{}
	for name, value := range s.Environment {
		if value != nil {
			env[name] = *value
		}
	}
	return env
}

// The gateway takes the settings that it is given, and has the time to drain.
func TestComposeGateway(t *testing.T) {
	s := loadCompose(t).Services["gateway-1"]
	check := exec.Command("go", "run", "./cmd/gateway", "check-config")
	check.Dir = repository
	check.Env = os.Environ()
	for name, value := range environment(s) {
		if name == "GATEWAY_CONFIG" {
			mounted := slices.IndexFunc(s.Volumes, func(v types.ServiceVolumeConfig) bool { return v.Target == value })
			if mounted < 0 {
				t.Fatalf("%s is not mounted", value)
			}
			value = s.Volumes[mounted].Source
		}
		check.Env = append(check.Env, name+"="+value)
	}
	out, err := check.CombinedOutput()
	if err != nil || strings.Contains(string(out), "warning") {
		t.Errorf("gateway check-config: %v\n%s", err, out)
	}
	grace, ok := s.StopGracePeriod, regexp.MustCompile(`(?m)^drain-time\s+20s`).Match(out)
	if grace == nil || grace.String() != "40s" || !ok {
		t.Errorf("it is killed after %v; allowed is the drain time of 20s and 10s or more\n%s", grace, out)
	}
	if m := parseDockerfile(t).metadata(); !slices.Equal(m.health, []string(s.HealthCheck.Test)) {
		t.Errorf("the health check is %q, that of the image %q", s.HealthCheck.Test, m.health)
	}
}

// What nginx runs with is what the documentation has, and the tests run.
func TestComposeNginxIsDocumented(t *testing.T) {
	config, err := os.ReadFile(filepath.Join(compose, "nginx.conf"))
	must(t, err)
	doc, err := os.ReadFile(filepath.Join(repository, "docs/load-balancers.md"))
	must(t, err)
	if !strings.Contains(string(doc), "```nginx\n"+string(config)+"```\n") {
		t.Error("deploy/compose/nginx.conf is not the block of nginx in docs/load-balancers.md")
	}
	p := loadCompose(t)
	for _, server := range regexp.MustCompile(`(?m)^ *server (\S+):8080`).FindAllStringSubmatch(string(config), -1) {
		if _, ok := p.Services[server[1]]; !ok {
			t.Errorf("nginx asks %s, which is no service", server[1])
		}
	}
}

// Prometheus asks the replicas, and loads the chart's alerts, which are for the
// job of this name.
func TestComposePrometheus(t *testing.T) {
	const home = "/etc/prometheus/"
	inside := t.TempDir() // what the container has there
	for _, v := range loadCompose(t).Services["prometheus"].Volumes {
		if place, ok := strings.CutPrefix(v.Target, home); ok {
			must(t, os.Symlink(v.Source, filepath.Join(inside, place)))
		}
	}
	config := filepath.Join(inside, "prometheus.yml")
	out, err := exec.Command("promtool", "check", "config", config).CombinedOutput()
	if want := strconv.Itoa(len(readAlerts(t))) + " rules found"; err != nil || !strings.Contains(string(out), want) {
		t.Errorf("promtool: %v, want %s\n%s", err, want, out)
	}
	var c struct {
		ScrapeConfigs []struct {
			JobName       string                       `yaml:"job_name"`
			StaticConfigs []struct{ Targets []string } `yaml:"static_configs"`
		} `yaml:"scrape_configs"`
	}
	readYAML(t, config, &c)
	if len(c.ScrapeConfigs) != 1 || c.ScrapeConfigs[0].JobName != "gateway" {
		t.Errorf("the alerts are for the job gateway, Prometheus scrapes %+v", c.ScrapeConfigs)
	}
	if got, want := c.ScrapeConfigs[0].StaticConfigs[0].Targets, []string{"gateway-1:9090", "gateway-2:9090"}; !slices.Equal(got, want) {
		t.Errorf("Prometheus asks %q, want %q", got, want)
	}
}

// Grafana finds its dashboards and Prometheus.
func TestComposeGrafana(t *testing.T) {
	p := loadCompose(t)
	provisioning := filepath.Join(compose, "grafana/provisioning")
	var sources struct {
		Datasources []struct{ UID, URL string }
	}
	readYAML(t, filepath.Join(provisioning, "datasources/prometheus.yml"), &sources)
	port := p.Services["prometheus"].Ports[0].Target
	if got, want := sources.Datasources[0].URL, "http://prometheus:"+strconv.Itoa(int(port)); got != want {
		t.Errorf("Grafana asks %s, want %s", got, want)
	}
	var dashboards struct {
		Providers []struct{ Options struct{ Path string } }
	}
	readYAML(t, filepath.Join(provisioning, "dashboards/gateway.yml"), &dashboards)
	path := dashboards.Providers[0].Options.Path
	if !slices.ContainsFunc(p.Services["grafana"].Volumes, func(v types.ServiceVolumeConfig) bool { return v.Target == path }) {
		t.Errorf("Grafana looks for dashboards in %s, where nothing is mounted", path)
	}
}

func readYAML(t *testing.T, file string, to any) {
	t.Helper()
	text, err := os.ReadFile(file)
	must(t, err)
	must(t, yaml.Unmarshal(text, to))
}
