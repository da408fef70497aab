{{/* SPDX-License-Identifier: Apache-2.0 */}}
{{/* The names are upstream's, so that one takes the other's place: they do not have the release's. */}}

{{- define "cay.labels" -}}
app: {{ .name }}
app.kubernetes.io/name: {{ .name }}
app.kubernetes.io/part-of: agent-sandbox
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
{{- end }}

{{- define "cay.image" -}}
{{- with .Values.image -}}
{{ .repository }}{{ if .digest }}@{{ .digest }}{{ else }}:{{ .tag | default $.Chart.AppVersion }}{{ end }}
{{- end }}
{{- end }}

{{/*
Fails if another release has brought what .name names, which is one for the whole cluster. Without a
cluster, as in `helm template`, nothing is known.
*/}}
{{- define "cay.once" -}}
{{- $role := lookup "rbac.authorization.k8s.io/v1" "ClusterRole" "" .name }}
{{- $owner := dig "metadata" "annotations" dict $role }}
{{- $release := index $owner "meta.helm.sh/release-name" | default "" }}
{{- $namespace := index $owner "meta.helm.sh/release-namespace" | default "" }}
{{- $ours := and (eq $release .root.Release.Name) (eq $namespace .root.Release.Namespace) }}
{{- if and $release (not $ours) }}
{{- fail (printf "%s is in this cluster already, of the release %s in the namespace %s, and two would fight over the same objects: upgrade that one, or uninstall it first" .name $release $namespace) }}
{{- end }}
{{- end }}

{{/* What the admission of `restricted` wants, and a root file system that nobody writes to. */}}
{{- define "cay.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{- define "cay.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

{{/* Where Pods of .values may run. */}}
{{- define "cay.placement" -}}
{{- with .nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/*
The documents of one of files/*.yaml, which name our namespace, for another one. `without` is a
pattern of names to leave out.
*/}}
{{- define "cay.documents" -}}
{{- $root := .root }}
{{- range splitList "\n---\n" ($root.Files.Get .file) }}
{{- $document := . | replace "agent-sandbox-system" $root.Release.Namespace | fromYaml }}
{{- $name := $document.metadata.name }}
{{- $namespaced := and $root.Values.controller.namespace (eq $document.kind "ClusterRoleBinding") (regexMatch "^agent-sandbox-controller(-extensions)?$" $name) }}
{{- if $namespaced }}
{{- $_ := set $document "kind" "RoleBinding" }}
{{- $_ := set $document.metadata "namespace" $root.Values.controller.namespace }}
{{- end }}
{{- if and (ne $document.kind "Namespace") (not (regexMatch $.without $name)) }}
---
{{ toYaml $document }}
{{- end }}
{{- end }}
{{- end }}
