package helm

import (
	"strings"
	"testing"
)

// Values that are mistyped, unknown or out of range are refused by the schema,
// with the place.
func TestSchemaRefuses(t *testing.T) {
	for _, test := range []struct{ values, says string }{
		{"replcas: 3", "'replcas' not allowed"},
		{"replicas: three", "/replicas"},
		{"replicas: -1", "/replicas"},
		{"image: {tags: v1}", "'tags' not allowed"},
		{"image: {repository: ''}", "/image/repository"},
		{"image: {tag: 1.2}", "/image/tag"},
		{"image: {digest: abc}", "/image/digest"},
		{"image: {pullPolicy: Sometimes}", "/image/pullPolicy"},
		{"imagePullSecrets: [registry]", "/imagePullSecrets/0"},
		{"commonLabels: {a: 1}", "/commonLabels/a"},
		{"commonAnnotations: {a: true}", "/commonAnnotations/a"},
		{"config: [channels]", "/config"},
		{"config: {channels: {pattern: a}}", "/config/channels"},
		{"config: {channels: [{historySize: 5}]}", "/config/channels/0"},
		{"redis: redis://redis:6379", "/redis"},
		{"redis: {url: redis://redis:6379}", "/redis/url"},
		{"redis: {url: {value: 'http://redis:6379'}}", "/redis/url/value"},
		{"redis: {url: {existingSecret: Not_A_Name}}", "/redis/url/existingSecret"},
		{"redis: {url: {key: 'a b'}}", "/redis/url/key"},
		{"redis: {tls: {enabled: true}}", "'enabled' not allowed"},
		{"auth: {jwtSecret: abc}", "/auth/jwtSecret"},
		{"auth: {jwksUrl: id.example.com}", "/auth/jwksUrl"},
		{"webhook: {url: ftp://app}", "/webhook/url"},
		{"tls: {existingSecret: true}", "/tls/existingSecret"},
		{"drain: {seconds: 20s}", "/drain/seconds"},
		{"drain: {seconds: 601}", "/drain/seconds"},
		{"drain: {preStopSeconds: -1}", "/drain/preStopSeconds"},
		{"drain: {marginSeconds: 5}", "/drain/marginSeconds"},
		{"rollout: {maxSurge: some}", "/rollout/maxSurge"},
		{"rollout: {maxUnavailable: -1}", "/rollout/maxUnavailable"},
		{"resources: {limits: {cpu: 1, memory: null}}", "/resources/limits"},
		{"resources: {limits: {memory: lots}}", "/resources/limits/memory"},
		{"resources: {limit: {memory: 1Gi}}", "'limit' not allowed"},
		{"livenessProbe: {periodSeconds: 0}", "/livenessProbe/periodSeconds"},
		{"podDisruptionBudget: {maxUnavailable: half}", "/podDisruptionBudget/maxUnavailable"},
		{"autoscaling: {enabled: 'yes'}", "/autoscaling/enabled"},
		{"autoscaling: {maxReplicas: 0}", "/autoscaling/maxReplicas"},
		{"autoscaling: {connections: 10k}", "/autoscaling/connections"},
		{"autoscaling: {behaviour: {}}", "'behaviour' not allowed"},
		{"service: {type: External}", "/service/type"},
		{"service: {port: 70000}", "/service/port"},
		{"service: {externalTrafficPolicy: local}", "/service/externalTrafficPolicy"},
		{"ingress: {controller: apache}", "/ingress/controller"},
		{"ingress: {hosts: [gateway.example.com]}", "/ingress/hosts/0"},
		{"ingress: {hosts: [{host: a, paths: []}]}", "/ingress/hosts/0/paths"},
		{"ingress: {hosts: [{host: a, paths: [{path: v1}]}]}", "/ingress/hosts/0/paths/0/path"},
		{"ingress: {tls: [{secret: a}]}", "'secret' not allowed"},
		{"httpRoute: {parentRefs: [public]}", "/httpRoute/parentRefs/0"},
		{"httpRoute: {timeouts: {request: 0}}", "/httpRoute/timeouts/request"},
		{"networkPolicy: {redisPorts: []}", "/networkPolicy/redisPorts"},
		{"networkPolicy: {redisPorts: ['6379']}", "/networkPolicy/redisPorts/0"},
		{"serviceAccount: {token: true}", "'token' not allowed"},
		{"metrics: {enabled: true}", "'enabled' not allowed"},
		{"metrics: {serviceMonitor: {interval: 15}}", "/metrics/serviceMonitor/interval"},
		{"metrics: {rules: {webhookFailures: 5}}", "/metrics/rules/webhookFailures"},
		{"nodeSelector: [linux]", "/nodeSelector"},
		{"tolerations: {key: a}", "/tolerations"},
		{"topologySpreadConstraints: [{maxSkew: 1}]", "/topologySpreadConstraints/0"},
		{"extraEnv: {A: b}", "/extraEnv"},
		{"extraEnv: [{value: b}]", "/extraEnv/0"},
		{"extraArgs: --pprof", "/extraArgs"},
		{"extraVolumeMounts: [{name: a}]", "/extraVolumeMounts/0"},
		{"test: {channel: 'a::b'}", "/test/channel"},
		{"test: {timeoutSeconds: 0}", "/test/timeoutSeconds"},
		{"redis: null", "missing property 'redis'"},
		{"redis: {url: null}", "missing property 'url'"},
		{"auth: {publicKey: null}", "missing property 'publicKey'"},
		{"ingress: null", "missing property 'ingress'"},
		{"drain: {seconds: null}", "missing property 'seconds'"},
		{"service: {port: null}", "missing property 'port'"},
		{"extraEnv: [{name: A, value: 1}]", "/extraEnv/0/value"},
		{"commonLabels: {a: a b}", "/commonLabels/a"},
		{"nameOverride: -a", "/nameOverride"},
	} {
		t.Run(test.values, func(t *testing.T) {
			t.Parallel()
			_, err := template("--values", values(t, test.values))
			if err == nil || !strings.Contains(err.Error(), "schema") || !strings.Contains(err.Error(), test.says) {
				t.Errorf("want %q of the schema, got %v", test.says, err)
			}
		})
	}
}

// Values that do not fit together are refused with what to do.
func TestChecksRefuse(t *testing.T) {
	for _, test := range []struct{ values, says string }{
		{"config: {redisUrl: 'redis://a:1'}", "config.redisUrl: set redis.url"},
		{"config: {jwtSecret: abc}", "config.jwtSecret: set auth.jwtSecret"},
		{"config: {drainTime: 60s}", "config.drainTime: set drain.seconds"},
		{"config: {addr: ':80'}", "config.addr: the chart has it listen on 8080"},
		{"extraEnv: [{name: GATEWAY_DRAIN_TIME, value: 60s}]", "extraEnv sets GATEWAY_DRAIN_TIME: set drain.seconds"},
		{"extraEnv: [{name: GATEWAY_REDIS_URL, value: a}]", "extraEnv sets GATEWAY_REDIS_URL: set redis.url"},
		{"extraEnv: [{name: GATEWAY_OPS_ADDR, value: a}]", "extraEnv sets GATEWAY_OPS_ADDR"},
		{"extraEnv: [{name: GATEWAY_CONFIG, value: a}]", "extraEnv sets GATEWAY_CONFIG"},
		{"extraArgs: [--drain-time=60s]", "extraArgs sets --drain-time: set drain.seconds"},
		{"extraArgs: [--jwt-public-key-file, a]", "extraArgs sets --jwt-public-key-file: set auth.publicKey"},
		{"{config: {logLevel: debug}, existingConfigMap: {name: mine}}", "config and existingConfigMap.name are both set"},
		{"{config: {logLevel: debug}, configFile: 'logLevel: info'}", "config and configFile are both set"},
		{"configFile: 'channels: ['", "configFile is not a YAML map"},
		{"configFile: 'redisUrl: redis://a:1'", "config.redisUrl: set redis.url"},
		{"redis: {url: {value: ''}}", "there is no Redis"},
		{"redis: {tls: {existingSecret: ca}}", "begin it with rediss"},
		{"redis: {url: {existingSecret: a}, tls: {existingSecret: b, certKey: c}}", "redis.tls.certKey and redis.tls.keyKey"},
		{"webhook: {url: 'https://app'}", "nothing signs the questions"},
		{"{auth: {jwtSecret: {value: a, key: x}}, webhook: {secret: {value: b, key: x}}}", "have the key x"},
		{"rollout: {maxSurge: 0, maxUnavailable: 0%}", "no pod could be replaced"},
		{"rollout: {progressDeadlineSeconds: 60}", "rollout.progressDeadlineSeconds is 60"},
		{"drain: {preStopSeconds: 400, seconds: 500}", "rollout.progressDeadlineSeconds is 900"},
		{"podDisruptionBudget: {maxUnavailable: 0}", "no node could be drained"},
		{"podDisruptionBudget: {minAvailable: 100%}", "no node could be drained"},
		{"podDisruptionBudget: {minAvailable: 2}", "podDisruptionBudget.minAvailable is 2 of 2 replicas"},
		{"{podDisruptionBudget: {minAvailable: 3}, autoscaling: {enabled: true, minReplicas: 3}}", "is 3 of 3 replicas"},
		{"podDisruptionBudget: {maxUnavailable: ''}", "set maxUnavailable or minAvailable"},
		{"autoscaling: {enabled: true, minReplicas: 9, maxReplicas: 3}", "more than maxReplicas"},
		{"autoscaling: {enabled: true, cpu: 0}", "autoscaling has nothing to go by"},
		{"{autoscaling: {enabled: true}, resources: {requests: {cpu: null}}}", "resources.requests.cpu"},
		{"ingress: {enabled: true, hosts: []}", "ingress.enabled without ingress.hosts"},
		{"ingress: {enabled: true, idleTimeoutSeconds: 24}", "a stream may be silent for 24 s"},
		{"{ingress: {enabled: true}, config: {heartbeat: 80s}}", "a stream may be silent for 96 s"},
		{"{ingress: {enabled: true}, config: {heartbeat: 1m30s}}", "a stream may be silent for 108 s"},
		{"{ingress: {enabled: true}, config: {heartbeat: 2m}}", "a stream may be silent for 144 s"},
		{"nameOverride: my_gateway", "the objects would be called"},
		{"httpRoute: {enabled: true}", "httpRoute.enabled without httpRoute.parentRefs"},
		{"metrics: {serviceMonitor: {enabled: true}, podMonitor: {enabled: true}}", "counted twice"},
		{"config: {chanels: []}", "config.chanels is no setting: allowed are allowedOrigins, autoSubscribe, channels, "},
		{"config: {channels: [{pattern: a}, {pattern: b, histroySize: 5}]}", "config.channels[1].histroySize is no part of a policy: allowed are pattern, "},
		{"metrics: {rules: {disabled: [GatewayGone, GatewayGon]}}", "metrics.rules.disabled has GatewayGon, which is no alert: allowed are GatewayGone, "},
		{"test: {policy: false}", "no policy for test.channel"},
	} {
		t.Run(test.values, func(t *testing.T) {
			t.Parallel()
			_, err := template("--values", values(t, test.values))
			if err == nil || !strings.Contains(err.Error(), test.says) {
				t.Errorf("want %q, got %v", test.says, err)
			}
		})
	}
}
