{{/* What a file of the gateway may have, beside what the chart sets itself. A test of the gateway holds both lists to what it takes. */}}
{{- define "gateway.knownSettings" -}}
channels redisPrefix redisLinks redisDeafAfter replicaName readyGrace logLevel logFormat jwtIssuer jwtAudience tokenCookie
webhookTimeout cookieSameSite allowedOrigins maxHeaderBytes readHeaderTimeout idleTimeout heartbeat writeTimeout streamPath linger
checkInterval maxPayload maxConnections maxConnectionAge maxConnectionsPerUser maxConnectionsPerAddress maxSubscribeRatePerUser
maxSubscribeRatePerAddress maxPublishRatePerUser maxPublishRatePerAddress trustedProxies maxChannels autoSubscribe logMemory pprof
{{- end -}}
{{- define "gateway.knownPolicyKeys" -}}
pattern bufferSize onFull messageTTL lastN maxAge historySize historyTTL idempotencyWindow conflate subscribe publish
{{- end -}}
