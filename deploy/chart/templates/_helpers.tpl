{{- define "tofustate.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{- define "tofustate.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else if contains (include "tofustate.name" .) .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "tofustate.name" .) | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "tofustate.selector" -}}
app.kubernetes.io/name: {{ include "tofustate.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "tofustate.labels" -}}
{{ include "tofustate.selector" . }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "tofustate.account" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "tofustate.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- required "serviceAccount.name: say which ServiceAccount the operator runs as, or let the chart make one with serviceAccount.create=true" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "tofustate.image" -}}
{{- $tag := default .Chart.AppVersion .Values.image.tag -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" .Values.image.repository $tag -}}
{{- end -}}
{{- end -}}

{{- define "tofustate.hasTls" -}}
{{- if or .Values.tls.certManager.enabled .Values.tls.secretName }}true{{ end -}}
{{- end -}}

{{- define "tofustate.tlsSecret" -}}
{{- default (printf "%s-tls" (include "tofustate.fullname" .)) .Values.tls.secretName -}}
{{- end -}}

{{- define "tofustate.scheme" -}}
{{- if include "tofustate.hasTls" . }}https{{ else }}http{{ end -}}
{{- end -}}

{{- define "tofustate.port" -}}
{{- default (ternary 443 80 (eq (include "tofustate.scheme" .) "https")) .Values.service.port -}}
{{- end -}}

{{- define "tofustate.url" -}}
{{- $scheme := include "tofustate.scheme" . -}}
{{- $port := include "tofustate.port" . -}}
{{- $default := ternary "443" "80" (eq $scheme "https") -}}
{{- $scheme }}://{{ include "tofustate.fullname" . }}.{{ .Release.Namespace }}.svc{{ if ne $port $default }}:{{ $port }}{{ end -}}
{{- end -}}

{{- define "tofustate.externalUrl" -}}
{{- if .Values.config.externalUrl -}}
{{- .Values.config.externalUrl -}}
{{- else if .Values.ingress.enabled -}}
{{- printf "https://%s" .Values.ingress.host -}}
{{- else if and .Values.httpRoute.enabled .Values.httpRoute.hostnames -}}
{{- printf "https://%s" (first .Values.httpRoute.hostnames) -}}
{{- end -}}
{{- end -}}

{{- define "tofustate.tokenSecret" -}}
{{- default (ternary (printf "%s-openbao" (include "tofustate.fullname" .)) "" .Values.externalSecret.enabled) .Values.config.auth.token.secretName -}}
{{- end -}}

{{- define "tofustate.ingressController" -}}
{{- if .Values.ingress.controller -}}
{{- .Values.ingress.controller -}}
{{- else if contains "nginx" .Values.ingress.className }}nginx
{{- else if contains "traefik" .Values.ingress.className }}traefik
{{- else if contains "haproxy" .Values.ingress.className }}haproxy
{{- else }}none
{{- end -}}
{{- end -}}

{{/* What a schema cannot say in words that help: everything that is wrong, at once. */}}
{{- define "tofustate.check" -}}
{{- $wrong := list -}}
{{- if not .Values.config.instance -}}
{{- $wrong = append $wrong "config.instance: name the installation as `tofustate bootstrap --instance` was told; the states in OpenBao are found by it, so it never changes" -}}
{{- end -}}
{{- if and .Values.config.instance (not (regexMatch "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$" .Values.config.instance)) -}}
{{- $wrong = append $wrong (printf "config.instance: %q is no name: small letters, digits and hyphens, 63 at most" .Values.config.instance) -}}
{{- end -}}
{{- range splitList "," .Values.config.baoAddr -}}
{{- if not (regexMatch "^https?://[^/?#@ ]+/?$" (trim .)) -}}
{{- $wrong = append $wrong (printf "config.baoAddr: %q is no address of OpenBao: write https://host:8200, with commas between several, and nothing after the port" (trim .)) -}}
{{- end -}}
{{- end -}}
{{- range $key := list "internalUrl" "externalUrl" "otelEndpoint" -}}
{{- $url := get $.Values.config $key -}}
{{- if and $url (not (regexMatch "^https?://[^?#@ ]+$" $url)) -}}
{{- $wrong = append $wrong (printf "config.%s: %q is no URL: write https://states.example.org" $key $url) -}}
{{- end -}}
{{- end -}}
{{- range .Values.watchNamespaces -}}
{{- if not (regexMatch "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$" .) -}}
{{- $wrong = append $wrong (printf "watchNamespaces: %q is no name of a namespace" .) -}}
{{- end -}}
{{- end -}}
{{- if and .Values.image.digest (not (regexMatch "^sha256:[0-9a-f]{64}$" .Values.image.digest)) -}}
{{- $wrong = append $wrong (printf "image.digest: %q is no digest: sha256: and 64 hexadecimal digits" .Values.image.digest) -}}
{{- end -}}
{{- if and .Values.ingress.host (not (regexMatch "^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$" .Values.ingress.host)) -}}
{{- $wrong = append $wrong (printf "ingress.host: %q is no host: write states.example.org, without a scheme or a path" .Values.ingress.host) -}}
{{- end -}}
{{- $ways := list .Values.tls.certManager.enabled (ne .Values.tls.secretName "") .Values.tls.plainHttp | compact | len -}}
{{- if eq $ways 0 -}}
{{- $wrong = append $wrong "tls: runs send their tokens and states: set tls.certManager.enabled=true with tls.certManager.issuerRef.name, or tls.secretName to a Secret with tls.crt and tls.key, or, where a mesh encrypts or to try it, tls.plainHttp=true" -}}
{{- end -}}
{{- if and .Values.tls.plainHttp (include "tofustate.hasTls" .) -}}
{{- $wrong = append $wrong "tls: tls.plainHttp and a certificate are both asked for: choose one" -}}
{{- end -}}
{{- if and .Values.tls.certManager.enabled (not .Values.tls.certManager.issuerRef.name) -}}
{{- $wrong = append $wrong "tls.certManager.issuerRef.name: say which issuer of cert-manager signs the certificate" -}}
{{- end -}}
{{- if and (eq .Values.config.auth.method "token") (not (include "tofustate.tokenSecret" .)) -}}
{{- $wrong = append $wrong "config.auth.token.secretName: say which Secret has the token for OpenBao, or let externalSecret.enabled=true make it" -}}
{{- end -}}
{{- if .Values.externalSecret.enabled -}}
{{- if ne .Values.config.auth.method "token" -}}
{{- $wrong = append $wrong "externalSecret.enabled: its token is used with config.auth.method=token only" -}}
{{- end -}}
{{- if not (and .Values.externalSecret.secretStoreRef.name .Values.externalSecret.remoteRef.key) -}}
{{- $wrong = append $wrong "externalSecret: say which store (secretStoreRef.name) and which entry of it (remoteRef.key) has the token" -}}
{{- end -}}
{{- end -}}
{{- if and .Values.config.baoCa.configMap .Values.config.baoCa.secret -}}
{{- $wrong = append $wrong "config.baoCa: a ConfigMap and a Secret are both named: which one has the CA?" -}}
{{- end -}}
{{- if and .Values.ingress.enabled (not .Values.ingress.host) -}}
{{- $wrong = append $wrong "ingress.host: say at which host the states are; tofustate is at its root, not below a path" -}}
{{- end -}}
{{- if and .Values.httpRoute.enabled (not .Values.httpRoute.parentRefs) -}}
{{- $wrong = append $wrong "httpRoute.parentRefs: say which Gateway the route belongs to" -}}
{{- end -}}
{{- if ne (gt (int .Values.config.requestRate) 0) (gt (int .Values.config.requestBurst) 0) -}}
{{- $wrong = append $wrong "config.requestRate, config.requestBurst: both or none of them" -}}
{{- end -}}
{{- if $wrong -}}
{{- fail (printf "these values are missing or wrong:\n- %s" (join "\n- " $wrong)) -}}
{{- end -}}
{{- end -}}
