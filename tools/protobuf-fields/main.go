// SPDX-License-Identifier: Apache-2.0

// Command protobuf-fields prints api/core-protobuf.json: which protobuf field number stands for
// which JSON field in the kinds that the local API serves, as [number, name, type, 1 if an empty
// value is left out]. It reads the struct tags of the published k8s.io/api module; run it as
// `go run . >../../api/core-protobuf.json`.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"reflect"
	"slices"
	"sort"
	"strconv"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	autoscalingv1 "k8s.io/api/autoscaling/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	eventsv1 "k8s.io/api/events/v1"
	networkingv1 "k8s.io/api/networking/v1"
	nodev1 "k8s.io/api/node/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"
	storagev1 "k8s.io/api/storage/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"
)

var roots = []any{
	corev1.Binding{}, corev1.ConfigMap{}, corev1.Endpoints{}, corev1.Event{}, corev1.LimitRange{},
	corev1.Namespace{}, corev1.Node{}, corev1.PersistentVolumeClaim{}, corev1.PersistentVolume{},
	corev1.Pod{}, corev1.ResourceQuota{}, corev1.Secret{}, corev1.ServiceAccount{}, corev1.Service{},
	apiextensionsv1.CustomResourceDefinition{}, appsv1.Deployment{}, appsv1.ReplicaSet{},
	appsv1.StatefulSet{}, authenticationv1.TokenReview{}, authenticationv1.TokenRequest{},
	authenticationv1.SelfSubjectReview{}, authorizationv1.LocalSubjectAccessReview{},
	authorizationv1.SelfSubjectAccessReview{}, authorizationv1.SelfSubjectRulesReview{},
	authorizationv1.SubjectAccessReview{}, autoscalingv1.Scale{},
	autoscalingv2.HorizontalPodAutoscaler{}, coordinationv1.Lease{}, discoveryv1.EndpointSlice{},
	eventsv1.Event{}, networkingv1.NetworkPolicy{}, nodev1.RuntimeClass{}, policyv1.Eviction{},
	policyv1.PodDisruptionBudget{}, rbacv1.ClusterRole{}, rbacv1.ClusterRoleBinding{}, rbacv1.Role{},
	rbacv1.RoleBinding{}, schedulingv1.PriorityClass{}, storagev1.StorageClass{},
	metav1.DeleteOptions{}, metav1.Status{},
}

// Types whose JSON is not that of their fields.
var special = map[reflect.Type]string{
	reflect.TypeOf(metav1.Time{}):          "time",
	reflect.TypeOf(metav1.MicroTime{}):     "microTime",
	reflect.TypeOf(metav1.Duration{}):      "duration",
	reflect.TypeOf(metav1.FieldsV1{}):      "raw",
	reflect.TypeOf(runtime.RawExtension{}): "raw",
	reflect.TypeOf(apiextensionsv1.JSON{}): "raw",
	reflect.TypeOf(resource.Quantity{}):    "quantity",
	reflect.TypeOf(intstr.IntOrString{}):   "intOrString",
}

var messages = map[string][][]any{}

func name(t reflect.Type) string {
	parts := strings.Split(t.PkgPath(), "/")
	return strings.Join(parts[len(parts)-2:], "/") + "." + t.Name()
}

// describe tells how a field of this type is read: a scalar's name, a message's name, with "[]" or
// "{}" before it for lists and maps.
func describe(t reflect.Type) string {
	if known, ok := special[t]; ok {
		return known
	}
	switch t.Kind() {
	case reflect.Pointer:
		return describe(t.Elem())
	case reflect.String:
		return "string"
	case reflect.Bool:
		return "bool"
	case reflect.Int, reflect.Int32, reflect.Int64, reflect.Uint8, reflect.Uint32:
		return "int"
	case reflect.Float32, reflect.Float64:
		return "double"
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Uint8 {
			return "bytes"
		}
		if t.Name() != "" { // a named list is a message whose field 1 are its items
			return "items:[]" + describe(t.Elem())
		}
		return "[]" + describe(t.Elem())
	case reflect.Map:
		return "{}" + describe(t.Elem())
	case reflect.Struct:
		add(t)
		return name(t)
	}
	panic(fmt.Sprintf("no form for %v", t))
}

func add(t reflect.Type) {
	if _, done := messages[name(t)]; done {
		return
	}
	messages[name(t)] = nil
	fields := [][]any{}
	for i := range t.NumField() {
		field := t.Field(i)
		tag := strings.Split(field.Tag.Get("protobuf"), ",")
		if len(tag) < 2 {
			continue // TypeMeta stands outside of the message
		}
		number, err := strconv.Atoi(tag[1])
		if err != nil {
			panic(err)
		}
		jsonTag := strings.Split(field.Tag.Get("json"), ",")
		entry := []any{number, jsonTag[0], describe(field.Type)}
		// Values that are no pointers are always sent; JSON leaves empty ones out.
		if field.Type.Kind() != reflect.Pointer && slices.Contains(jsonTag[1:], "omitempty") {
			entry = append(entry, 1)
		}
		fields = append(fields, entry)
	}
	sort.Slice(fields, func(a, b int) bool { return fields[a][0].(int) < fields[b][0].(int) })
	messages[name(t)] = fields
}

func main() {
	for _, root := range roots {
		add(reflect.TypeOf(root))
	}
	names := []string{}
	for message := range messages {
		names = append(names, message)
	}
	sort.Strings(names)
	fmt.Print("{")
	for i, message := range names {
		fields, err := json.Marshal(messages[message])
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		separator := ","
		if i == 0 {
			separator = ""
		}
		fmt.Printf("%s\n%q:%s", separator, message, fields)
	}
	fmt.Print("\n}\n")
}
