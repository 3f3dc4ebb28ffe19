{{/* The name of the release's objects. */}}
{{- define "visit-counter.name" -}}
{{- if contains .Chart.Name .Release.Name }}{{ .Release.Name | trunc 48 | trimSuffix "-" }}{{ else }}{{ printf "%s-%s" .Release.Name .Chart.Name | trunc 48 | trimSuffix "-" }}{{ end }}
{{- end }}

{{/* What selects the pods of one component: .root, .component */}}
{{- define "visit-counter.selector" -}}
app.kubernetes.io/name: {{ .root.Chart.Name }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{/* All labels of one component's objects. */}}
{{- define "visit-counter.labels" -}}
{{ include "visit-counter.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "visit-counter.image" -}}
{{ .Values.image.repository }}{{ if .Values.image.digest }}@{{ .Values.image.digest }}{{ else }}:{{ .Values.image.tag | default .Chart.AppVersion }}{{ end }}
{{- end }}

{{- define "visit-counter.serviceAccount" -}}
{{ .Values.serviceAccount.name | default (ternary (include "visit-counter.name" .) "default" .Values.serviceAccount.create) }}
{{- end }}

{{/* A table of TOML. JSON's texts, numbers, truths and lists of these are TOML's too; a table in a list is not. */}}
{{- define "visit-counter.table" -}}
{{- range $key, $value := . }}
{{- if not (kindIs "invalid" $value) }}
{{ $key }} = {{ $value | toJson }}
{{- end }}
{{- end }}
{{- end }}

{{/* visit-counter.toml; addresses come as variables or secret files. */}}
{{- define "visit-counter.toml" -}}
sites_dir = "/etc/visit-counter-sites"
{{- range $section, $table := .Values.config }}

[{{ $section }}]
{{- include "visit-counter.table" $table }}
{{- end }}
{{- with .Values.siteDefaults }}

[defaults]
{{- include "visit-counter.table" . }}
{{- end }}
{{- end }}

{{/* The brokers and the topic of log.url. */}}
{{- define "visit-counter.brokers" -}}
{{ .Values.keda.bootstrapServers | default (regexReplaceAll "^kafka://([^/]+)/.*$" .Values.log.url "${1}") }}
{{- end }}
{{- define "visit-counter.topic" -}}
{{ .Values.keda.topic | default (regexReplaceAll "^kafka://[^/]+/(.*)$" .Values.log.url "${1}") }}
{{- end }}

{{/* The site that `helm test` is for. */}}
{{- define "visit-counter.testSite" -}}
{{ .Values.test.site | default (keys .Values.sites | sortAlpha | first | default "") }}
{{- end }}
