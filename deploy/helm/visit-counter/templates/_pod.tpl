{{/* What every container of the image may do: nothing (Pod Security Standards, "restricted"). */}}
{{- define "visit-counter.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
runAsNonRoot: true
capabilities: {drop: [ALL]}
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "visit-counter.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{/* Variables: the addresses that are no secret, and what the chart decides. */}}
{{- define "visit-counter.env" -}}
{{- with .Values.log.url }}
- {name: VISIT_COUNTER_LOG__URL, value: {{ . | quote }}}
{{- end }}
- {name: VISIT_COUNTER_LOG__PARTITIONS, value: {{ .Values.log.partitions | int | quote }}}
{{- with .Values.store.url }}
- {name: VISIT_COUNTER_STORE__URL, value: {{ . | quote }}}
{{- end }}
- {name: VISIT_COUNTER_SERVER__TRUSTED_PROXIES, value: {{ .Values.trustedProxies | toJson | quote }}}
# Metrics have a port of their own: the ingress does not lead there.
- {name: VISIT_COUNTER_SERVER__METRICS_PORT, value: "9090"}
{{- with .Values.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "visit-counter.mounts" -}}
- {name: config, mountPath: /etc/visit-counter, readOnly: true}
- {name: sites, mountPath: /etc/visit-counter-sites, readOnly: true}
- {name: tmp, mountPath: /tmp}
{{- if .Values.existingSecret }}
- {name: secrets, mountPath: /run/secrets, readOnly: true}
{{- end }}
{{- end }}

{{- define "visit-counter.volumes" -}}
- name: config
  configMap: {name: {{ include "visit-counter.name" . }}-config}
- name: sites
  projected:
    sources:
      - configMap: {name: {{ include "visit-counter.name" . }}-sites}
      {{- range .Values.sitesFromConfigMaps }}
      - configMap: {name: {{ . }}}
      {{- end }}
      {{- range .Values.sitesFromSecrets }}
      - secret: {name: {{ . }}}
      {{- end }}
- name: tmp
  emptyDir: {sizeLimit: 64Mi}
{{- with .Values.existingSecret }}
- name: secrets
  secret: {secretName: {{ . }}, defaultMode: 0440}
{{- end }}
{{- end }}

{{/* One Deployment: .root, .component, .values, .replicas (nothing: something else scales it) */}}
{{- define "visit-counter.deployment" -}}
{{- $root := .root }}
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ include "visit-counter.name" $root }}-{{ .component }}
  labels: {{- include "visit-counter.labels" . | nindent 4 }}
spec:
  {{- if .replicas }}
  replicas: {{ .replicas | int }}
  {{- end }}
  revisionHistoryLimit: 5
  strategy:
    type: RollingUpdate
    rollingUpdate: {maxSurge: 1, maxUnavailable: {{ eq .component "aggregator" | ternary 1 0 }}}
  selector:
    matchLabels: {{- include "visit-counter.selector" . | nindent 6 }}
  template:
    metadata:
      labels:
        {{- include "visit-counter.labels" . | nindent 8 }}
        {{- with $root.Values.podLabels }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      annotations:
        # Sites are read again as they change; all else needs a new process.
        checksum/config: {{ include "visit-counter.toml" $root | sha256sum }}
        {{- with $root.Values.podAnnotations }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
    spec:
      serviceAccountName: {{ include "visit-counter.serviceAccount" $root }}
      automountServiceAccountToken: false
      # Their variables would begin as our settings do.
      enableServiceLinks: false
      securityContext: {{- include "visit-counter.podSecurity" $root | nindent 8 }}
      # preStop, then server.drain_seconds (8 s).
      terminationGracePeriodSeconds: 30
      {{- with $root.Values.priorityClassName }}
      priorityClassName: {{ . }}
      {{- end }}
      {{- with $root.Values.image.pullSecrets }}
      imagePullSecrets:
        {{- range . }}
        - name: {{ . }}
        {{- end }}
      {{- end }}
      topologySpreadConstraints:
        - maxSkew: 1
          topologyKey: kubernetes.io/hostname
          whenUnsatisfiable: ScheduleAnyway
          labelSelector:
            matchLabels: {{- include "visit-counter.selector" . | nindent 14 }}
      {{- with $root.Values.nodeSelector }}
      nodeSelector: {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with $root.Values.tolerations }}
      tolerations: {{- toYaml . | nindent 8 }}
      {{- end }}
      containers:
        - name: {{ .component }}
          image: {{ include "visit-counter.image" $root | quote }}
          imagePullPolicy: {{ $root.Values.image.pullPolicy }}
          args: [{{ .component }}, --config, /etc/visit-counter/visit-counter.toml, --host, 0.0.0.0, --port, "8080"]
          env: {{- include "visit-counter.env" $root | nindent 12 }}
          ports:
            - {name: http, containerPort: 8080}
            - {name: metrics, containerPort: 9090}
          # Log or store away: alive and not ready. A process that does not answer at all is started anew.
          startupProbe:
            httpGet: {path: /livez, port: http}
            periodSeconds: 2
            failureThreshold: 60
          livenessProbe:
            httpGet: {path: /livez, port: http}
            periodSeconds: 10
            timeoutSeconds: 5
            failureThreshold: 6
          readinessProbe:
            httpGet: {path: /readyz, port: http}
            periodSeconds: 5
            timeoutSeconds: 3
            failureThreshold: 2
          {{- if ne .component "aggregator" }}
          # Until no proxy sends here any more.
          lifecycle:
            preStop: {exec: {command: [sleep, "5"]}}
          {{- end }}
          resources: {{- toYaml .values.resources | nindent 12 }}
          securityContext: {{- include "visit-counter.containerSecurity" $root | nindent 12 }}
          volumeMounts: {{- include "visit-counter.mounts" $root | nindent 12 }}
      volumes: {{- include "visit-counter.volumes" $root | nindent 8 }}
{{- end }}
