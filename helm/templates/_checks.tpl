{{/* What values.schema.json cannot say, because it takes more than one value. */}}
{{- define "gateway.checks" -}}
{{- $v := .Values -}}
{{- $config := include "gateway.given" . | fromYaml -}}

{{- $owned := dict
  "addr" "the chart has it listen on 8080" "opsAddr" "the chart has it listen on 9090" "dev" "it is no installation"
  "redisUrl" "set redis.url" "redisCaFile" "set redis.tls" "redisCertFile" "set redis.tls" "redisKeyFile" "set redis.tls"
  "jwtSecret" "set auth.jwtSecret" "jwtPublicKeyFile" "set auth.publicKey" "jwksUrl" "set auth.jwksUrl"
  "webhookUrl" "set webhook.url" "webhookSecret" "set webhook.secret"
  "tlsCertFile" "set tls" "tlsKeyFile" "set tls" "drainTime" "set drain.seconds"
  "config" "set config, configFile or existingConfigMap" -}}
{{- range $key, $instead := $owned -}}
{{- if hasKey $config $key -}}{{- fail (printf "config.%s: %s" $key $instead) -}}{{- end -}}
{{- range $v.extraEnv -}}
{{- if eq .name (printf "GATEWAY_%s" ($key | snakecase | upper)) -}}{{- fail (printf "extraEnv sets %s: %s" .name $instead) -}}{{- end -}}
{{- end -}}
{{- $flag := printf "--%s" (kebabcase $key) -}}
{{- range $v.extraArgs -}}
{{- if or (eq . $flag) (hasPrefix (printf "%s=" $flag) .) -}}{{- fail (printf "extraArgs sets %s: %s" $flag $instead) -}}{{- end -}}
{{- end -}}
{{- end -}}

{{- $name := include "gateway.fullname" . -}}
{{- if not (regexMatch "^[a-z]([-a-z0-9]*[a-z0-9])?$" $name) -}}{{- fail (printf "the objects would be called %s, and a Service's name has a-z 0-9 -, and begins with a letter: set fullnameOverride" $name) -}}{{- end -}}
{{- /* configFile may be for a gateway that is newer than the chart. */ -}}
{{- $settings := include "gateway.knownSettings" . | replace "\n" " " | splitList " " -}}
{{- range $key, $_ := $v.config -}}
{{- if not (has $key $settings) -}}{{- fail (printf "config.%s is no setting: allowed are %s" $key (sortAlpha $settings | join ", ")) -}}{{- end -}}
{{- end -}}
{{- $policyKeys := include "gateway.knownPolicyKeys" . | splitList " " -}}
{{- range $i, $policy := $v.config.channels -}}
{{- range $key, $_ := $policy -}}
{{- if not (has $key $policyKeys) -}}{{- fail (printf "config.channels[%d].%s is no part of a policy: allowed are %s" $i $key (join ", " $policyKeys)) -}}{{- end -}}
{{- end -}}
{{- end -}}
{{- $alerts := list -}}
{{- range (index (.Files.Get "alerts/gateway.yaml" | fromYaml).groups 0).rules -}}{{- $alerts = append $alerts .alert -}}{{- end -}}
{{- range $v.metrics.rules.disabled -}}
{{- if not (has . $alerts) -}}{{- fail (printf "metrics.rules.disabled has %s, which is no alert: allowed are %s" . (join ", " $alerts)) -}}{{- end -}}
{{- end -}}

{{- $files := list -}}
{{- if $v.config -}}{{- $files = append $files "config" -}}{{- end -}}
{{- if $v.configFile -}}{{- $files = append $files "configFile" -}}{{- end -}}
{{- if $v.existingConfigMap.name -}}{{- $files = append $files "existingConfigMap.name" -}}{{- end -}}
{{- if gt (len $files) 1 -}}{{- fail (printf "%s are both set: the file is one of them" (join " and " $files)) -}}{{- end -}}
{{- if not (or $v.redis.url.existingSecret $v.redis.url.value) -}}{{- fail "there is no Redis: set redis.url.existingSecret, or redis.url.value to try it out" -}}{{- end -}}
{{- if and $v.redis.tls.existingSecret (not $v.redis.url.existingSecret) (not (hasPrefix "rediss" $v.redis.url.value)) -}}{{- fail "redis.tls is set, and redis.url.value asks for no TLS: begin it with rediss" -}}{{- end -}}
{{- if ne (empty $v.redis.tls.certKey) (empty $v.redis.tls.keyKey) -}}{{- fail "redis.tls.certKey and redis.tls.keyKey: set both or neither" -}}{{- end -}}
{{- if and $v.webhook.url (not (or $v.webhook.secret.existingSecret $v.webhook.secret.value)) -}}{{- fail "webhook.url is set, and nothing signs the questions: set webhook.secret.existingSecret" -}}{{- end -}}
{{- $keys := list -}}
{{- range list $v.redis.url $v.auth.jwtSecret $v.webhook.secret -}}
{{- if and .value (not .existingSecret) -}}
{{- if has .key $keys -}}{{- fail (printf "two secrets that the chart keeps have the key %s: give each its own" .key) -}}{{- end -}}
{{- $keys = append $keys .key -}}
{{- end -}}
{{- end -}}

{{- if and (eq (toString $v.rollout.maxSurge | trimSuffix "%") "0") (eq (toString $v.rollout.maxUnavailable | trimSuffix "%") "0") -}}{{- fail "rollout.maxSurge and rollout.maxUnavailable are both 0: no pod could be replaced" -}}{{- end -}}
{{- if le (int $v.rollout.progressDeadlineSeconds) (add (int (include "gateway.graceSeconds" .)) $v.rollout.minReadySeconds | int) -}}{{- fail (printf "rollout.progressDeadlineSeconds is %v: one pod takes the grace period of %s and minReadySeconds of %v" $v.rollout.progressDeadlineSeconds (include "gateway.graceSeconds" .) $v.rollout.minReadySeconds) -}}{{- end -}}
{{- $maxUnavailable := toString $v.podDisruptionBudget.maxUnavailable -}}
{{- $minAvailable := toString $v.podDisruptionBudget.minAvailable -}}
{{- if $v.podDisruptionBudget.enabled -}}
{{- if and (eq $maxUnavailable "") (eq $minAvailable "") -}}{{- fail "podDisruptionBudget: set maxUnavailable or minAvailable" -}}{{- end -}}
{{- if and (eq $minAvailable "") (has $maxUnavailable (list "0" "0%")) -}}{{- fail "podDisruptionBudget.maxUnavailable is 0: no node could be drained" -}}{{- end -}}
{{- if eq $minAvailable "100%" -}}{{- fail "podDisruptionBudget.minAvailable is 100%: no node could be drained" -}}{{- end -}}
{{- $fewest := ternary $v.autoscaling.minReplicas $v.replicas $v.autoscaling.enabled -}}
{{- if and (regexMatch "^[0-9]+$" $minAvailable) (ge (int $minAvailable) (int $fewest)) -}}{{- fail (printf "podDisruptionBudget.minAvailable is %s of %v replicas: no node could be drained" $minAvailable $fewest) -}}{{- end -}}
{{- end -}}

{{- with $v.autoscaling -}}
{{- if .enabled -}}
{{- if gt (int .minReplicas) (int .maxReplicas) -}}{{- fail (printf "autoscaling.minReplicas is %v, more than maxReplicas, %v" .minReplicas .maxReplicas) -}}{{- end -}}
{{- if not (or .cpu .connections .metrics) -}}{{- fail "autoscaling has nothing to go by: set cpu, connections or metrics" -}}{{- end -}}
{{- if and .cpu (not (dig "requests" "cpu" "" $v.resources)) -}}{{- fail "autoscaling.cpu is a percentage of resources.requests.cpu, which is not set" -}}{{- end -}}
{{- end -}}
{{- end -}}

{{- if and $v.ingress.enabled (not $v.ingress.hosts) -}}{{- fail "ingress.enabled without ingress.hosts" -}}{{- end -}}
{{- $heartbeat := toString (default "20s" $config.heartbeat) -}}
{{- $minutesAndSeconds := "^(?:([0-9.]+)m)?(?:([0-9.]+)s)?$" -}}
{{- if and $v.ingress.enabled (regexMatch $minutesAndSeconds $heartbeat) -}}
{{- $minutes := regexReplaceAll $minutesAndSeconds $heartbeat "${1}" | float64 -}}
{{- $seconds := regexReplaceAll $minutesAndSeconds $heartbeat "${2}" | float64 -}}
{{- $silence := mulf 1.2 (addf (mulf 60 $minutes) $seconds) -}}
{{- if ge $silence (float64 $v.ingress.idleTimeoutSeconds) -}}{{- fail (printf "ingress.idleTimeoutSeconds is %v, and a stream may be silent for %v s: allowed is more" $v.ingress.idleTimeoutSeconds $silence) -}}{{- end -}}
{{- end -}}
{{- if and $v.httpRoute.enabled (not $v.httpRoute.parentRefs) -}}{{- fail "httpRoute.enabled without httpRoute.parentRefs: which Gateway is it for?" -}}{{- end -}}
{{- if and $v.metrics.serviceMonitor.enabled $v.metrics.podMonitor.enabled -}}{{- fail "metrics.serviceMonitor and metrics.podMonitor are both enabled: everything would be counted twice" -}}{{- end -}}
{{- if and $v.test.enabled (not $v.test.policy) (not $v.existingConfigMap.name) (not $config.channels) -}}{{- fail "test.policy is off, and config.channels has no policy for test.channel" -}}{{- end -}}
{{- end -}}
