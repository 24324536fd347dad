{{/* The environment of the operator, but for extraEnv. */}}
{{- define "tofustate.env" -}}
{{- $config := .Values.config -}}
- {name: TOFUSTATE_INSTANCE, value: {{ $config.instance | quote }}}
- {name: TOFUSTATE_NAMESPACE, value: {{ .Release.Namespace | quote }}}
- {name: TOFUSTATE_TENANCY, value: {{ $config.tenancy | quote }}}
{{- with .Values.watchNamespaces }}
- {name: TOFUSTATE_WATCH_NAMESPACES, value: {{ join "," . | quote }}}
{{- end }}
- {name: TOFUSTATE_INTERNAL_URL, value: {{ default (include "tofustate.url" .) $config.internalUrl | quote }}}
{{- with include "tofustate.externalUrl" . }}
- {name: TOFUSTATE_EXTERNAL_URL, value: {{ . | quote }}}
{{- end }}
{{- if eq $config.lockMethods "post" }}
- {name: TOFUSTATE_LOCK_BY_POST, value: "true"}
{{- end }}
- {name: TOFUSTATE_RESYNC, value: {{ $config.resync | quote }}}
- {name: TOFUSTATE_RELEASE_WAIT, value: {{ $config.releaseWait | quote }}}
- {name: TOFUSTATE_STORE_WAIT, value: {{ $config.storeWait | quote }}}
# It serves on until the Service leads nobody here any more.
- {name: TOFUSTATE_LINGER, value: {{ $config.linger | quote }}}
- {name: LISTEN_ADDR, value: "{{ $config.bindAddress }}:8080"}
- {name: TOFUSTATE_ADMIN_LISTEN, value: "{{ $config.bindAddress }}:9090"}
{{- if include "tofustate.hasTls" . }}
- {name: TOFUSTATE_TLS_CERT, value: /etc/tofustate/tls/tls.crt}
- {name: TOFUSTATE_TLS_KEY, value: /etc/tofustate/tls/tls.key}
{{- with .Values.tls.caKey }}
- {name: TOFUSTATE_CA_FILE, value: "/etc/tofustate/tls/{{ . }}"}
{{- end }}
{{- else }}
- {name: TOFUSTATE_ALLOW_PLAIN_HTTP, value: "true"}
{{- end }}
- {name: BAO_ADDR, value: {{ $config.baoAddr | quote }}}
{{- if contains "http://" $config.baoAddr }}
# It was asked for by that address.
- {name: TOFUSTATE_OPENBAO_ALLOW_PLAIN_HTTP, value: "true"}
{{- end }}
{{- with $config.baoNamespace }}
- {name: BAO_NAMESPACE, value: {{ . | quote }}}
{{- end }}
- {name: TOFUSTATE_OPENBAO_MOUNT, value: {{ $config.baoMount | quote }}}
{{- if or $config.baoCa.configMap $config.baoCa.secret }}
- {name: BAO_CACERT, value: "/etc/tofustate/openbao-ca/{{ $config.baoCa.key }}"}
{{- end }}
{{- if eq $config.auth.method "kubernetes" }}
- {name: TOFUSTATE_OPENBAO_KUBERNETES_AUTH, value: "true"}
- {name: TOFUSTATE_OPENBAO_KUBERNETES_MOUNT, value: {{ $config.auth.kubernetes.mount | quote }}}
{{- with $config.auth.kubernetes.role }}
- {name: TOFUSTATE_OPENBAO_KUBERNETES_ROLE, value: {{ . | quote }}}
{{- end }}
- {name: TOFUSTATE_OPENBAO_KUBERNETES_AUDIENCE, value: {{ $config.auth.kubernetes.audience | quote }}}
- {name: TOFUSTATE_OPENBAO_KUBERNETES_TOKEN_FILE, value: /var/run/secrets/tofustate/openbao/token}
{{- else }}
# A file, since a variable would stay what it was when its Secret changes.
- {name: BAO_TOKEN_FILE, value: /etc/tofustate/openbao-token/token}
{{- end }}
{{- with $config.otelEndpoint }}
- {name: OTEL_EXPORTER_OTLP_ENDPOINT, value: {{ . | quote }}}
- {name: OTEL_EXPORTER_OTLP_PROTOCOL, value: {{ $config.otelProtocol | quote }}}
- name: POD_NAME
  valueFrom: {fieldRef: {fieldPath: metadata.name}}
- {name: OTEL_RESOURCE_ATTRIBUTES, value: "service.instance.id=$(POD_NAME),k8s.namespace.name={{ $.Release.Namespace }}"}
{{- end }}
- {name: RUST_LOG, value: {{ $config.logLevel | quote }}}
{{- end -}}
