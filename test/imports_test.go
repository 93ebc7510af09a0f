// Package test holds what concerns the repository as a whole.
package test

import (
	"os/exec"
	"strings"
	"testing"
)

// forbidden says, per package, what it must not depend on, itself or through
// others, and why.
var forbidden = []struct{ pkg, dependency, why string }{
	{"pkg/channels", "realtime-gateway/pkg/redisbus", "the domain does not know where events are kept"},
	{"pkg/channels", "realtime-gateway/pkg/sse", "the domain does not know how events are sent"},
	{"pkg/channels", "github.com/redis/go-redis", "the domain does not know Redis"},
	{"pkg/channels", "net/http", "the domain does not know HTTP"},
	{"pkg/channels", "go.opentelemetry.io", "telemetry observes by hooks"},
	{"pkg/redisbus", "go.opentelemetry.io/otel/sdk", "telemetry observes by hooks"},
	{"pkg/sse", "go.opentelemetry.io", "telemetry observes by hooks"},
	{"internal/httpapi", "go.opentelemetry.io/otel/sdk", "who makes spans does not know where they go"},
	{"internal/httpapi", "go.opentelemetry.io/otel/exporters", "who makes spans does not know where they go"},
	{"pkg/redisbus", "net/http", "Redis is one side, HTTP the other"},
	{"pkg/redisbus", "realtime-gateway/pkg/sse", "Redis is one side, SSE the other"},
	{"pkg/redisbus", "realtime-gateway/internal", "services import the publisher"},
	{"pkg/redisbus", "github.com/labstack/echo", "Redis does not know the router"},
	{"pkg/sse", "github.com/redis/go-redis", "connections do not know Redis"},
	{"pkg/sse", "github.com/labstack/echo", "the router is to be replaced in one folder"},
	{"pkg/sse", "realtime-gateway/internal", "connections do not know configuration, rights or telemetry"},
	{"pkg/retry", "realtime-gateway", "a schedule does not know its callers"},
	{"internal/auth", "github.com/labstack/echo", "the router is to be replaced in one folder"},
	{"internal/webhook", "realtime-gateway/internal", "who asks about rights does not know how tokens and settings are read"},
	{"internal/config", "realtime-gateway/pkg/redisbus", "reading settings starts nothing"},
	{"test/load", "realtime-gateway/pkg", "who measures knows the documented contract alone"},
	{"test/load", "realtime-gateway/internal", "who measures knows the documented contract alone"},
	{"test/load/baseline", "realtime-gateway/pkg", "what the gateway is compared with has nothing of it"},
	{"test/load/baseline", "realtime-gateway/internal", "what the gateway is compared with has nothing of it"},
	{"cmd/gateway", "realtime-gateway/internal/pages", "it is for tests"},
	{"examples/kanban", "realtime-gateway/pkg", "a service publishes with a Redis client alone"},
	{"examples/kanban", "realtime-gateway/internal", "a service publishes with a Redis client alone"},
	{"examples/admin", "realtime-gateway/pkg", "a service publishes with a Redis client alone"},
	{"examples/admin", "realtime-gateway/internal", "a service publishes with a Redis client alone"},
	{"internal/heads", "realtime-gateway", "it stands in front of any server"},
	{"internal/readiness", "realtime-gateway", "it judges what it is told, whatever that is of"},
	{"internal/origin", "realtime-gateway", "settings and requests are checked by it alike"},
	{"internal/tlsfiles", "realtime-gateway", "it serves any server"},
	{"internal/telemetry", "github.com/labstack/echo", "the router is to be replaced in one folder"},
}

func TestDependenciesPointOneWay(t *testing.T) {
	for _, f := range forbidden {
		out, err := exec.Command("go", "list", "-deps", "realtime-gateway/"+f.pkg).CombinedOutput()
		if err != nil {
			t.Fatalf("go list: %v\n%s", err, out)
		}
		for line := range strings.Lines(string(out)) {
			dependency := strings.TrimSpace(line)
			if dependency == "realtime-gateway/"+f.pkg {
				continue
			}
			if dependency == f.dependency || strings.HasPrefix(dependency, f.dependency+"/") {
				t.Errorf("%s depends on %s: %s", f.pkg, dependency, f.why)
			}
		}
	}
}
