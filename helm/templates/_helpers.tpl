{{/* Names leave room for a suffix in the 63 bytes of a label. */}}
{{- define "gateway.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 52 | trimSuffix "-" -}}
{{- end -}}

{{- define "gateway.fullname" -}}
{{- $name := include "gateway.name" . -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 52 | trimSuffix "-" -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | trunc 52 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 52 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* The labels by which pods of this release are found; they never change. */}}
{{- define "gateway.selector" -}}
app.kubernetes.io/name: {{ include "gateway.name" . | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/component: gateway
{{- end -}}

{{- define "gateway.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
app.kubernetes.io/name: {{ include "gateway.name" . | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/version: {{ .Values.image.tag | default .Chart.AppVersion | replace "+" "_" | trunc 63 | trimSuffix "-" | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/part-of: {{ include "gateway.name" . | quote }}
{{- end -}}

{{/* The metadata of an object: list of root, suffix of the name, component, labels, annotations. */}}
{{- define "gateway.metadata" -}}
{{- $root := index . 0 -}}
{{- $labels := merge (dict) (index . 3) (include "gateway.labels" $root | fromYaml) $root.Values.commonLabels -}}
{{- $_ := set $labels "app.kubernetes.io/component" (index . 2) -}}
{{- $annotations := merge (dict) (index . 4) $root.Values.commonAnnotations -}}
name: {{ include "gateway.fullname" $root }}{{ index . 1 }}
namespace: {{ $root.Release.Namespace }}
labels:
  {{- toYaml $labels | nindent 2 }}
{{- with $annotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "gateway.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- .Values.serviceAccount.name | default (include "gateway.fullname" .) -}}
{{- else -}}
{{- .Values.serviceAccount.name | default "default" -}}
{{- end -}}
{{- end -}}

{{- define "gateway.image" -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" .Values.image.repository (.Values.image.tag | default .Chart.AppVersion) -}}
{{- end -}}
{{- end -}}

{{/* The grace period: what a pod may need from being told to leave to its end. */}}
{{- define "gateway.graceSeconds" -}}
{{- add .Values.drain.preStopSeconds .Values.drain.seconds .Values.drain.marginSeconds -}}
{{- end -}}

{{/* An environment variable from a secret: list of root, name, block with value, existingSecret and key. */}}
{{- define "gateway.secretEnv" -}}
{{- $root := index . 0 -}}
{{- $of := index . 2 -}}
{{- if or $of.existingSecret $of.value -}}
- name: {{ index . 1 }}
  valueFrom:
    secretKeyRef:
      name: {{ $of.existingSecret | default (include "gateway.fullname" $root) | quote }}
      key: {{ $of.key | quote }}
{{- end -}}
{{- end -}}

{{/* The secrets that the chart keeps itself, by key. */}}
{{- define "gateway.ownSecrets" -}}
{{- range list .Values.redis.url .Values.auth.jwtSecret .Values.webhook.secret -}}
{{- if and .value (not .existingSecret) }}
{{ .key }}: {{ .value | quote }}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* What reaches Redis: the same for a replica and for the test. */}}
{{- define "gateway.redisEnv" -}}
{{ include "gateway.secretEnv" (list . "GATEWAY_REDIS_URL" .Values.redis.url) }}
{{- with .Values.redis.tls }}
{{- if .existingSecret }}
{{- if .caKey }}
- name: GATEWAY_REDIS_CA_FILE
  value: /etc/gateway/redis-tls/{{ .caKey }}
{{- end }}
{{- if .certKey }}
- name: GATEWAY_REDIS_CERT_FILE
  value: /etc/gateway/redis-tls/{{ .certKey }}
- name: GATEWAY_REDIS_KEY_FILE
  value: /etc/gateway/redis-tls/{{ .keyKey }}
{{- end }}
{{- end }}
{{- end }}
- name: GATEWAY_CONFIG
  value: /etc/gateway/config/{{ include "gateway.configKey" . }}
{{- end -}}

{{- define "gateway.configKey" -}}
{{- if .Values.existingConfigMap.name }}{{ .Values.existingConfigMap.key }}{{ else }}gateway.yaml{{ end -}}
{{- end -}}

{{- define "gateway.redisMounts" -}}
- name: config
  mountPath: /etc/gateway/config
  readOnly: true
{{- if .Values.redis.tls.existingSecret }}
- name: redis-tls
  mountPath: /etc/gateway/redis-tls
  readOnly: true
{{- end }}
{{- end -}}

{{- define "gateway.redisVolumes" -}}
- name: config
  configMap:
    name: {{ .Values.existingConfigMap.name | default (include "gateway.fullname" .) | quote }}
{{- with .Values.redis.tls.existingSecret }}
- name: redis-tls
  secret:
    secretName: {{ . | quote }}
{{- end }}
{{- end -}}

{{/* What the operator wants in the gateway's file. */}}
{{- define "gateway.given" -}}
{{- $config := .Values.config -}}
{{- if .Values.configFile -}}
{{- $config = fromYaml .Values.configFile -}}
{{- with $config.Error -}}{{- fail (printf "configFile is not a YAML map: %s" .) -}}{{- end -}}
{{- end -}}
{{- toYaml $config -}}
{{- end -}}

{{/* The gateway's file. The test's policy is the first, so that none before it takes its channel. */}}
{{- define "gateway.config" -}}
{{- $config := include "gateway.given" . | fromYaml -}}
{{- if and .Values.test.enabled .Values.test.policy -}}
{{- $policy := dict "pattern" .Values.test.channel "subscribe" "public" "publish" "none" -}}
{{- $_ := set $config "channels" (prepend ($config.channels | default list) $policy) -}}
{{- end -}}
{{- toYaml $config -}}
{{- end -}}

{{- define "gateway.scheme" -}}
{{- if .Values.tls.existingSecret }}https{{ else }}http{{ end -}}
{{- end -}}
