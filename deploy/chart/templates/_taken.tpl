{{/* Variables of the program that come from a value, and which. Said once more by extraEnv, or as an option by extraArgs, one of
     the two would not hold, and the rest of the chart would go by the wrong one. */}}
{{- define "tofustate.taken" -}}
TOFUSTATE_INSTANCE: config.instance
TOFUSTATE_NAMESPACE: helm's --namespace
TOFUSTATE_TENANCY: config.tenancy
TOFUSTATE_WATCH_NAMESPACES: watchNamespaces
TOFUSTATE_INTERNAL_URL: config.internalUrl
TOFUSTATE_EXTERNAL_URL: config.externalUrl
TOFUSTATE_LOCK_BY_POST: config.lockMethods
TOFUSTATE_RESYNC: config.resync
TOFUSTATE_RELEASE_WAIT: config.releaseWait
TOFUSTATE_STORE_WAIT: config.storeWait
TOFUSTATE_LINGER: config.linger
TOFUSTATE_LISTEN: config.bindAddress
LISTEN_ADDR: config.bindAddress
TOFUSTATE_ADMIN_LISTEN: config.bindAddress
TOFUSTATE_TLS_CERT: tls.secretName
TOFUSTATE_TLS_KEY: tls.secretName
TOFUSTATE_REQUEST_RATE: config.requestRate
TOFUSTATE_REQUEST_BURST: config.requestBurst
BAO_ADDR: config.baoAddr
BAO_NAMESPACE: config.baoNamespace
TOFUSTATE_OPENBAO_MOUNT: config.baoMount
TOFUSTATE_OPENBAO_ALLOW_PLAIN_HTTP: config.baoAddr
BAO_TOKEN: config.auth.method=token, and config.auth.token.secretName to a Secret with the token
BAO_TOKEN_FILE: config.auth.method=token, and config.auth.token.secretName to a Secret with the token
TOFUSTATE_OPENBAO_KUBERNETES_AUTH: config.auth.method
TOFUSTATE_OPENBAO_KUBERNETES_MOUNT: config.auth.kubernetes.mount
TOFUSTATE_OPENBAO_KUBERNETES_ROLE: config.auth.kubernetes.role
TOFUSTATE_OPENBAO_KUBERNETES_AUDIENCE: config.auth.kubernetes.audience
TOFUSTATE_OPENBAO_KUBERNETES_TOKEN_FILE: config.auth.method
RUST_LOG: config.logLevel
{{- /* These can be another one's where the chart does not set them: a file of extraVolumes, the node's collector. */}}
{{- $set := include "tofustate.env" . }}
{{- range $name, $from := dict "TOFUSTATE_CA_FILE" "tls.caKey" "TOFUSTATE_ALLOW_PLAIN_HTTP" "tls.plainHttp" "BAO_CACERT" "config.baoCa" "OTEL_EXPORTER_OTLP_ENDPOINT" "config.otelEndpoint" "OTEL_EXPORTER_OTLP_PROTOCOL" "config.otelProtocol" }}
{{- if contains (printf "name: %s," $name) $set }}
{{ $name }}: {{ $from }}
{{- end }}
{{- end }}
{{- end -}}
