{{/* What a schema cannot say in words that help: everything that is wrong, at once. */}}
{{- define "tofustate.check" -}}
{{- $wrong := list -}}
{{- $name := include "tofustate.fullname" . -}}
{{- if not (regexMatch "^[a-z]([-a-z0-9]*[a-z0-9])?$" $name) -}}
{{- $wrong = append $wrong (printf "fullnameOverride: the release %s makes %q, which no Service can be called: that takes small letters, digits and hyphens, a letter first. Set fullnameOverride to such a name, or call the release otherwise" .Release.Name $name) -}}
{{- end -}}
{{- if not .Values.config.instance -}}
{{- $wrong = append $wrong "config.instance: name the installation as `tofustate bootstrap --instance` was told; the states in OpenBao are found by it, so it never changes" -}}
{{- end -}}
{{- if and .Values.config.instance (not (regexMatch "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$" .Values.config.instance)) -}}
{{- $wrong = append $wrong (printf "config.instance: %q is no name: small letters, digits and hyphens, 63 at most" .Values.config.instance) -}}
{{- end -}}
{{- /* A host, and a port up to 65535. */}}
{{- $server := "https?://(\\[[0-9a-fA-F:.]+\\]|[^]\\[/?#@: ]+)(:([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5]))?" -}}
{{- range splitList "," .Values.config.baoAddr -}}
{{- if not (regexMatch (printf "^%s/?$" $server) (trim .)) -}}
{{- $wrong = append $wrong (printf "config.baoAddr: %q is no address of OpenBao: write https://host:8200, with commas between several, and nothing after the port" (trim .)) -}}
{{- end -}}
{{- end -}}
{{- range $key := list "internalUrl" "externalUrl" "otelEndpoint" -}}
{{- $url := get $.Values.config $key -}}
{{- if and $url (not (regexMatch (printf "^%s(/[^?#@ ]*)?$" $server) $url)) -}}
{{- $wrong = append $wrong (printf "config.%s: %q is no URL: write https://states.example.org" $key $url) -}}
{{- end -}}
{{- end -}}
{{- if and (hasPrefix "http:" (default "" .Values.config.internalUrl)) (include "tofustate.hasTls" .) -}}
{{- $wrong = append $wrong "config.internalUrl: by http:// runs would send their tokens in the clear, and the Service has TLS: write https://" -}}
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
{{- $kubernetes := .Values.config.auth.kubernetes -}}
{{- if eq .Values.config.auth.method "token" -}}
{{- if or $kubernetes.role (ne $kubernetes.mount "kubernetes") (ne $kubernetes.audience "openbao") -}}
{{- $wrong = append $wrong "config.auth.kubernetes: is about the login by the ServiceAccount, which config.auth.method=token does without: leave it out" -}}
{{- end -}}
{{- if .Values.rbac.authDelegator -}}
{{- $wrong = append $wrong "rbac.authDelegator: lets OpenBao review the token of a login, and config.auth.method=token does without one: leave it out" -}}
{{- end -}}
{{- else -}}
{{- if or .Values.config.auth.token.secretName (ne .Values.config.auth.token.key "token") -}}
{{- $wrong = append $wrong "config.auth.token: is used with config.auth.method=token only: set that, or leave it out" -}}
{{- end -}}
{{- if and .Values.rbac.authDelegator (eq $kubernetes.audience "openbao") -}}
{{- $wrong = append $wrong "rbac.authDelegator: OpenBao then reviews the operator's token with that token, so it has to be for the API server, too: set config.auth.kubernetes.audience to the API server's own, such as https://kubernetes.default.svc" -}}
{{- end -}}
{{- end -}}
{{- if and .Values.rbac.authDelegator (not .Values.rbac.create) -}}
{{- $wrong = append $wrong "rbac.authDelegator: is one of the rights that rbac.create=false leaves to somebody else: they bind the ClusterRole system:auth-delegator" -}}
{{- end -}}
{{- if and .Values.serviceAccount.annotations (not .Values.serviceAccount.create) -}}
{{- $wrong = append $wrong "serviceAccount.annotations: the chart does not change a ServiceAccount that it did not make: annotate it, or leave them out" -}}
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
{{- if and .Values.tls.certManager.enabled .Values.tls.secretName -}}
{{- $wrong = append $wrong (printf "tls: cert-manager would write its certificate into %s, the Secret that tls.secretName says is yours: choose one, tls.certManager.enabled or tls.secretName" .Values.tls.secretName) -}}
{{- end -}}
{{- $least := add .Values.config.linger 95 -}}
{{- if lt (int .Values.terminationGracePeriodSeconds) (int $least) -}}
{{- $wrong = append $wrong (printf "terminationGracePeriodSeconds: a stop takes up to %d s, which are config.linger (%d), 75 for the requests that are under way and 20 to say goodbye: %d would kill it before" (int $least) (int .Values.config.linger) (int .Values.terminationGracePeriodSeconds)) -}}
{{- end -}}
{{- if and .Values.image.tag .Values.image.digest -}}
{{- $wrong = append $wrong "image: a tag and a digest are both named, and the digest would be taken: with image.tag set image.digest=\"\"" -}}
{{- end -}}
{{- if and .Values.ingress.enabled (not .Values.ingress.className) (not .Values.ingress.controller) -}}
{{- $wrong = append $wrong "ingress.className: without it the cluster's default class serves the host, and whose annotations it needs is not known: name the class, or say with ingress.controller whose it is (none: no annotations)" -}}
{{- end -}}
{{- $labels := concat (include "tofustate.labels" . | fromYaml | keys) (list "app.kubernetes.io/component") -}}
{{- range $key := keys (default dict .Values.podLabels) | sortAlpha -}}
{{- if has $key $labels -}}
{{- $wrong = append $wrong (printf "podLabels: %s is the chart's own: the Service and the Deployment find the Pods by such labels" $key) -}}
{{- end -}}
{{- end -}}
{{- range $key := keys (default dict .Values.metrics.serviceMonitor.labels) | sortAlpha -}}
{{- if has $key $labels -}}
{{- $wrong = append $wrong (printf "metrics.serviceMonitor.labels: %s is the chart's own, on each of its objects" $key) -}}
{{- end -}}
{{- end -}}
{{- $taken := include "tofustate.taken" . | fromYaml -}}
{{- $set := list -}}
{{- range include "tofustate.env" . | fromYamlArray -}}
{{- $set = append $set .name -}}
{{- end -}}
{{- range .Values.extraEnv -}}
{{- if hasKey $taken .name -}}
{{- $wrong = append $wrong (printf "extraEnv: %s is the chart's own: set %s" .name (get $taken .name)) -}}
{{- else if has .name $set -}}
{{- $wrong = append $wrong (printf "extraEnv: %s is set already, by the chart or further up in the list" .name) -}}
{{- end -}}
{{- $set = append $set .name -}}
{{- end -}}
{{- $options := dict -}}
{{- range $variable, $from := $taken -}}
{{- $_ := set $options (trimPrefix "TOFUSTATE_" $variable | lower | replace "_" "-" | printf "--%s") $from -}}
{{- end -}}
{{- $given := list -}}
{{- range .Values.extraArgs -}}
{{- $option := splitList "=" . | first -}}
{{- if hasKey $options $option -}}
{{- $wrong = append $wrong (printf "extraArgs: %s is the chart's own: set %s" $option (get $options $option)) -}}
{{- else if has $option $given -}}
{{- $wrong = append $wrong (printf "extraArgs: %s is there twice" $option) -}}
{{- end -}}
{{- if hasPrefix "--" $option -}}
{{- $given = append $given $option -}}
{{- end -}}
{{- end -}}
{{- if $wrong -}}
{{- fail (printf "these values are missing or wrong:\n- %s" (join "\n- " $wrong)) -}}
{{- end -}}
{{- end -}}
