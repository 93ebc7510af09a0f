package helm

import (
	"maps"
	"reflect"
	"strconv"
	"strings"
	"testing"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
)

// A pod may take as long as Kubernetes' sleep, its drain time and the 10 s that
// README.md asks for take together, and the gateway is told the same drain time.
func TestGracePeriod(t *testing.T) {
	for name, file := range cases(t) {
		t.Run(name, func(t *testing.T) {
			pod := deployment(t, render(t, file)).Spec.Template.Spec
			gateway := pod.Containers[0]
			drain, err := strconv.Atoi(strings.TrimSuffix(environment(gateway)["GATEWAY_DRAIN_TIME"].Value, "s"))
			if err != nil {
				t.Fatal(err)
			}
			var sleep int64
			if gateway.Lifecycle != nil {
				sleep = gateway.Lifecycle.PreStop.Sleep.Seconds
			}
			if got, needs := *pod.TerminationGracePeriodSeconds, sleep+int64(drain)+10; got < needs {
				t.Errorf("the grace period is %d s, and leaving takes %d + %d + 10 s", got, sleep, drain)
			}
		})
	}
}

// Newcomers go to pods that are ready, and only a process that does not live is
// started anew. A pod is not out before a failover that takes 30 s is over.
func TestProbes(t *testing.T) {
	for name, file := range cases(t) {
		t.Run(name, func(t *testing.T) {
			gateway := deployment(t, render(t, file)).Spec.Template.Spec.Containers[0]
			for _, probe := range []struct {
				what string
				*corev1.Probe
				path string
			}{
				{"startup", gateway.StartupProbe, "/readyz"}, {"readiness", gateway.ReadinessProbe, "/readyz"}, {"liveness", gateway.LivenessProbe, "/healthz"},
			} {
				if probe.Probe == nil || probe.HTTPGet == nil || probe.HTTPGet.Path != probe.path || probe.HTTPGet.Port.StrVal != "ops" {
					t.Errorf("the %s probe is %+v, want one of %s", probe.what, probe.Probe, probe.path)
				}
			}
			if p := gateway.ReadinessProbe; p != nil && p.PeriodSeconds*p.FailureThreshold < 30 {
				t.Errorf("a pod is out after %d times %d s", p.FailureThreshold, p.PeriodSeconds)
			}
		})
	}
}

func environment(c corev1.Container) map[string]corev1.EnvVar {
	env := map[string]corev1.EnvVar{}
	for _, e := range c.Env {
		env[e.Name] = e
	}
	return env
}

// All pods pass the restricted profile of the Pod Security Standards, have
// limits of memory, and no token of Kubernetes' API.
func TestPodsAreRestricted(t *testing.T) {
	for name, file := range cases(t) {
		for which, pod := range pods(t, render(t, file)) {
			t.Run(name+"/"+which, func(t *testing.T) {
				if s := pod.SecurityContext; s == nil || s.RunAsNonRoot == nil || !*s.RunAsNonRoot || s.RunAsUser == nil || *s.RunAsUser == 0 ||
					s.SeccompProfile == nil || s.SeccompProfile.Type != corev1.SeccompProfileTypeRuntimeDefault {
					t.Errorf("its securityContext is %+v", s)
				}
				if pod.AutomountServiceAccountToken == nil || *pod.AutomountServiceAccountToken {
					t.Error("it has a token")
				}
				if pod.EnableServiceLinks == nil || *pod.EnableServiceLinks {
					t.Error("it has variables of Services")
				}
				if pod.HostNetwork || pod.HostPID || pod.HostIPC {
					t.Error("it shares namespaces with the node")
				}
				for _, c := range append(append([]corev1.Container{}, pod.InitContainers...), pod.Containers...) {
					s := c.SecurityContext
					if s == nil || s.AllowPrivilegeEscalation == nil || *s.AllowPrivilegeEscalation || s.ReadOnlyRootFilesystem == nil || !*s.ReadOnlyRootFilesystem ||
						s.Capabilities == nil || !reflect.DeepEqual(s.Capabilities.Drop, []corev1.Capability{"ALL"}) || len(s.Capabilities.Add) > 0 {
						t.Errorf("container %s: securityContext is %+v", c.Name, s)
					}
					if c.Resources.Limits.Memory().IsZero() {
						t.Errorf("container %s has no limit of memory", c.Name)
					}
					for _, m := range c.VolumeMounts {
						if m.SubPath != "" {
							t.Errorf("container %s mounts %s by subPath, which Kubernetes never updates", c.Name, m.MountPath)
						}
					}
				}
			})
		}
	}
}

// What is selected by labels is selected by those that the pods have, and a new
// version does not change them.
func TestSelectors(t *testing.T) {
	list := render(t, "testdata/values/full.yaml", "--set", "metrics.serviceMonitor.enabled=false,metrics.podMonitor.enabled=true")
	d := deployment(t, list)
	want := d.Spec.Selector.MatchLabels
	for key, value := range want {
		if d.Spec.Template.Labels[key] != value {
			t.Errorf("pods have %s=%q, the Deployment selects %q", key, d.Spec.Template.Labels[key], value)
		}
		if strings.Contains(key, "version") || strings.Contains(key, "chart") {
			t.Errorf("the selector has %s, and cannot be changed", key)
		}
	}
	var public, ops corev1.Service
	var pdb policyv1.PodDisruptionBudget
	var policy networkingv1.NetworkPolicy
	find(t, list, "Service", "events", &public)
	find(t, list, "Service", "-ops", &ops)
	find(t, list, "PodDisruptionBudget", "", &pdb)
	find(t, list, "NetworkPolicy", "", &policy)
	for name, got := range map[string]map[string]string{
		"Service": public.Spec.Selector, "operations Service": ops.Spec.Selector,
		"PodDisruptionBudget": pdb.Spec.Selector.MatchLabels, "NetworkPolicy": policy.Spec.PodSelector.MatchLabels,
	} {
		if !maps.Equal(got, want) {
			t.Errorf("%s selects %v, the Deployment %v", name, got, want)
		}
	}
	if len(public.Spec.Ports) != 1 || public.Spec.Ports[0].TargetPort.StrVal != "public" {
		t.Errorf("the public Service has the ports %v", public.Spec.Ports)
	}
	var test corev1.Pod
	find(t, list, "Pod", "-ping", &test)
	if test.Labels["app.kubernetes.io/component"] == want["app.kubernetes.io/component"] {
		t.Error("the test's pod would get requests of clients")
	}
}

// The pods roll when the file or a secret of the chart changes, and when
// neither does they stay.
func TestChecksumRollsPods(t *testing.T) {
	sums := func(args ...string) map[string]string {
		return deployment(t, render(t, "testdata/values/sentinel.yaml", args...)).Spec.Template.Annotations
	}
	before := sums()
	if before["checksum/config"] == "" || before["checksum/secrets"] == "" {
		t.Fatalf("annotations are %v", before)
	}
	for _, test := range []struct{ set, changes string }{
		{"config.logLevel=debug", "checksum/config"},
		{"config.channels[0].historySize=5", "checksum/config"},
		{"auth.jwtSecret.value=another-secret-of-32-bytes-or-more", "checksum/secrets"},
		{"service.port=81", ""},
	} {
		after := sums("--set", test.set)
		for _, key := range []string{"checksum/config", "checksum/secrets"} {
			if changed := before[key] != after[key]; changed != (key == test.changes) {
				t.Errorf("%s: %s changed: %v", test.set, key, changed)
			}
		}
	}
}

// Secrets are nowhere but in the Secret.
func TestSecretsStayInTheSecret(t *testing.T) {
	for _, m := range render(t, "testdata/values/full.yaml") {
		for _, secret := range []string{"gateway:secret", "a-secret-of-32-bytes", "whsec_"} {
			if m.head.Kind != "Secret" && strings.Contains(m.text, secret) {
				t.Errorf("%v shows %s", m, secret)
			}
		}
	}
	for _, m := range render(t, "testdata/values/existing-secrets.yaml") {
		if m.head.Kind == "Secret" {
			t.Errorf("%v is made, where all secrets exist", m)
		}
	}
}

// While the number follows the load, nobody else sets it.
func TestAutoscaling(t *testing.T) {
	list := render(t, "testdata/values/cluster.yaml")
	if n := deployment(t, list).Spec.Replicas; n != nil {
		t.Errorf("the Deployment sets %d replicas", *n)
	}
	var hpa autoscalingv2.HorizontalPodAutoscaler
	if !find(t, list, "HorizontalPodAutoscaler", "", &hpa) || len(hpa.Spec.Metrics) != 1 || hpa.Spec.Metrics[0].Pods == nil {
		t.Fatalf("metrics are %+v", hpa.Spec.Metrics)
	}
	if m := hpa.Spec.Metrics[0].Pods; m.Metric.Name != "gateway_connections" || m.Target.AverageValue.Value() != 20000 {
		t.Errorf("metric is %+v", m)
	}
	if *hpa.Spec.Behavior.ScaleDown.StabilizationWindowSeconds < 300 {
		t.Error("it scales down fast")
	}
}

// Each controller is told what a stream needs.
func TestIngressControllers(t *testing.T) {
	for controller, want := range map[string]map[string]string{
		"nginx":           {"nginx.ingress.kubernetes.io/proxy-buffering": "off", "nginx.ingress.kubernetes.io/proxy-read-timeout": "90", "nginx.ingress.kubernetes.io/backend-protocol": "HTTPS"},
		"traefik":         {},
		"haproxy":         {"haproxy.org/timeout-server": "90s", "haproxy.org/server-ssl": "true"},
		"haproxy-ingress": {"haproxy-ingress.github.io/timeout-server": "90s", "haproxy-ingress.github.io/secure-backends": "true"},
		"alb":             {"alb.ingress.kubernetes.io/load-balancer-attributes": "idle_timeout.timeout_seconds=90", "alb.ingress.kubernetes.io/healthcheck-path": "/readyz", "alb.ingress.kubernetes.io/backend-protocol": "HTTPS"},
		"gke":             {"kubernetes.io/ingress.class": "gce"},
	} {
		t.Run(controller, func(t *testing.T) {
			list := render(t, "testdata/values/default.yaml", "--set", "ingress.enabled=true,tls.existingSecret=t,ingress.controller="+controller, "--set", `ingress.annotations.mine=x`)
			var ingress networkingv1.Ingress
			find(t, list, "Ingress", "", &ingress)
			want["mine"] = "x"
			for key, value := range want {
				if ingress.Annotations[key] != value {
					t.Errorf("%s is %q, want %q", key, ingress.Annotations[key], value)
				}
			}
			if controller == "traefik" {
				var service corev1.Service
				find(t, list, "Service", "gateway", &service)
				if service.Annotations["traefik.ingress.kubernetes.io/service.serversscheme"] != "https" {
					t.Errorf("the Service has %v", service.Annotations)
				}
			}
		})
	}
	// What the operator sets wins.
	list := render(t, "testdata/values/default.yaml", "--set", "ingress.enabled=true,ingress.controller=nginx", "--set-string", `ingress.annotations.nginx\.ingress\.kubernetes\.io/proxy-read-timeout=600`)
	var ingress networkingv1.Ingress
	find(t, list, "Ingress", "", &ingress)
	if got := ingress.Annotations["nginx.ingress.kubernetes.io/proxy-read-timeout"]; got != "600" {
		t.Errorf("proxy-read-timeout is %q", got)
	}
}
