{{- define "tofustate.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | trimAll "-." -}}
{{- end -}}

{{- define "tofustate.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimAll "-." -}}
{{- else if contains (include "tofustate.name" .) .Release.Name -}}
{{- .Release.Name | trunc 40 | trimAll "-." -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "tofustate.name" .) | trunc 40 | trimAll "-." -}}
{{- end -}}
{{- end -}}

{{- define "tofustate.selector" -}}
app.kubernetes.io/name: {{ include "tofustate.name" . | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end -}}

{{- define "tofustate.labels" -}}
{{ include "tofustate.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
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
{{- else if .Values.httpRoute.enabled -}}
{{- /* The first that is a host: one with a wildcard is none. */}}
{{- with regexFind "(^|,)[^*,][^,]*" (join "," .Values.httpRoute.hostnames) -}}
{{- printf "https://%s" (trimPrefix "," .) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "tofustate.tokenSecret" -}}
{{- default (ternary (printf "%s-openbao" (include "tofustate.fullname" .)) "" .Values.externalSecret.enabled) .Values.config.auth.token.secretName -}}
{{- end -}}

{{/* Whose annotations the Ingress gets. One class name is that of two controllers, of which either passes over the other's. */}}
{{- define "tofustate.ingressControllers" -}}
{{- $class := default "" .Values.ingress.className -}}
{{- if .Values.ingress.controller -}}
{{- .Values.ingress.controller -}}
{{- else if contains "nginx" $class }}nginx f5-nginx
{{- else if contains "traefik" $class }}traefik
{{- else if contains "haproxy" $class }}haproxy haproxy-ingress
{{- else }}none
{{- end -}}
{{- end -}}
