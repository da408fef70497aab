// SPDX-License-Identifier: Apache-2.0
#include <errno.h>

#include "base/buffer.h"
#include "base/test.h"
#include "node/pod_spec.h"

#define META     "\"metadata\":{\"name\":\"p\",\"namespace\":\"n\",\"uid\":\"u\"}"
#define POD(...) "{" META ",\"spec\":{" __VA_ARGS__ "}}"
#define ONE(...) POD("\"containers\":[{\"name\":\"main\",\"image\":\"b\"," __VA_ARGS__ "}]")

struct reading {
        struct arena arena;
        struct json_doc *doc;
        struct pod_spec spec;
        struct error error;
        int result;
};

static void read_text(struct reading *reading, const char *json)
{
        *reading = (struct reading){};
        assert_int_equal(json_doc_parse(str_from(json), NULL, NULL, &reading->error, &reading->doc),
                         0);
        reading->result = pod_spec_read(json_root(reading->doc), &reading->arena, &reading->error,
                                        &reading->spec);
}

static void done(struct reading *reading)
{
        json_doc_unref(reading->doc);
        arena_deinit(&reading->arena);
}

static bool is(struct str s, const char *text)
{
        return str_equal(s, str_from(text));
}

static void reads_a_whole_pod(void **state)
{
        struct reading reading;

        (void)state;
        read_text(
                &reading,
                "{\"metadata\":{\"name\":\"p\",\"namespace\":\"n\",\"uid\":\"u\","
                "\"deletionTimestamp\":\"2026-01-01T00:00:00Z\",\"deletionGracePeriodSeconds\":7},"
                "\"spec\":{\"nodeName\":\"here\",\"serviceAccountName\":\"sa\",\"hostname\":\"h\","
                "\"restartPolicy\":\"OnFailure\",\"terminationGracePeriodSeconds\":5,"
                "\"tolerations\":[{\"key\":\"a\"}],\"nodeSelector\":{\"a\":\"b\"},"
                "\"hostNetwork\":false,\"securityContext\":{\"runAsUser\":1000,\"fsGroup\":2000,"
                "\"supplementalGroups\":[3,4],\"seccompProfile\":{\"type\":\"RuntimeDefault\"}},"
                "\"dnsConfig\":{\"options\":[{\"name\":\"ndots\",\"value\":\"2\"},{\"name\":"
                "\"edns0\"}],\"nameservers\":[\"1.1.1.1\"]},\"dnsPolicy\":\"None\","
                "\"hostAliases\":[{\"ip\":\"1.2.3.4\",\"hostnames\":[\"a\",\"b\"]}],"
                "\"volumes\":[{\"name\":\"e\",\"emptyDir\":{\"medium\":\"Memory\",\"sizeLimit\":"
                "\"1Mi\"}},{\"name\":\"c\",\"configMap\":{\"name\":\"cm\",\"defaultMode\":256,"
                "\"items\":[{\"key\":\"k\",\"path\":\"d/f\",\"mode\":384}]}},{\"name\":\"p\","
                "\"projected\":{\"sources\":[{\"serviceAccountToken\":{\"path\":\"token\","
                "\"expirationSeconds\":3607}},{\"downwardAPI\":{\"items\":[{\"path\":\"ns\","
                "\"fieldRef\":{\"fieldPath\":\"metadata.namespace\"}}]}}]}},{\"name\":\"v\","
                "\"persistentVolumeClaim\":{\"claimName\":\"data\",\"readOnly\":true}}],"
                "\"initContainers\":[{\"name\":\"init\",\"image\":\"i\"}],"
                "\"containers\":[{\"name\":\"main\",\"image\":\"b\",\"command\":[\"sh\",\"-c\"],"
                "\"args\":[\"true\"],\"workingDir\":\"/w\",\"ports\":[{\"name\":\"http\","
                "\"containerPort\":8080,\"protocol\":\"TCP\"}],\"env\":[{\"name\":\"A\",\"value\":"
                "\"1\"},{\"name\":\"B\",\"valueFrom\":{\"secretKeyRef\":{\"name\":\"s\",\"key\":"
                "\"k\",\"optional\":true}}}],\"envFrom\":[{\"prefix\":\"P_\",\"configMapRef\":{"
                "\"name\":\"cm\"}}],\"resources\":{\"limits\":{\"cpu\":\"500m\",\"memory\":"
                "\"64Mi\"}},\"volumeMounts\":[{\"name\":\"v\",\"mountPath\":\"/data/\",\"subPath\":"
                "\"x/y\",\"readOnly\":true}],\"readinessProbe\":{\"httpGet\":{\"port\":\"http\","
                "\"path\":\"/ok\",\"httpHeaders\":[{\"name\":\"X\",\"value\":\"y\"}]},"
                "\"periodSeconds\":3},\"livenessProbe\":{\"exec\":{\"command\":[\"true\"]},"
                "\"terminationGracePeriodSeconds\":1},\"securityContext\":{\"runAsUser\":5,"
                "\"readOnlyRootFilesystem\":true,\"capabilities\":{\"drop\":[\"ALL\"],\"add\":["
                "\"NET_BIND_SERVICE\"]},\"allowPrivilegeEscalation\":false}}]}}");
        if (reading.result < 0)
                print_error("%s\n", reading.error.message);
        assert_int_equal(reading.result, 0);
        const struct pod_spec *spec = &reading.spec;
        assert_true(spec->is_deleting);
        assert_int_equal(spec->deletion_grace_s, 7);
        assert_int_equal(spec->restart_policy, POD_RESTART_ON_FAILURE);
        assert_int_equal(spec->grace_s, 5);
        assert_int_equal(spec->fs_group, 2000);
        assert_int_equal(spec->group_count, 2);
        assert_int_equal(spec->dns_policy, POD_DNS_NONE);
        assert_true(is(spec->dns_options.items[0], "ndots:2"));
        assert_true(is(spec->dns_options.items[1], "edns0"));
        assert_true(is(spec->host_aliases[0].names.items[1], "b"));
        assert_int_equal(spec->volume_count, 4);
        assert_true(spec->volumes[0].in_memory);
        assert_int_equal(spec->volumes[0].size_limit, 1 << 20);
        assert_int_equal(spec->volumes[1].default_mode, 0400);
        assert_int_equal(spec->volumes[1].projections[0].items[0].mode, 0600);
        assert_int_equal(spec->volumes[2].projection_count, 2);
        assert_int_equal(spec->volumes[2].projections[0].token_seconds, 3607);
        assert_true(is(spec->volumes[2].projections[1].items[0].key, "metadata.namespace"));
        assert_true(is(spec->volumes[3].claim, "data"));
        assert_int_equal(spec->init_count, 1);
        assert_int_equal(spec->container_count, 2);
        assert_int_equal(spec->qos, POD_QOS_BURSTABLE);
        assert_int_equal(spec->containers[0].security.user, 1000);

        const struct pod_container *main = &spec->containers[1];
        assert_int_equal(pod_spec_find_container(spec, STR("main")), 1);
        assert_int_equal(pod_spec_find_container(spec, STR("mai")), -1);
        assert_int_equal(main->security.user, 5);
        assert_int_equal(main->security.group, -1);
        assert_true(main->security.read_only_root);
        assert_int_equal(main->env_count, 2);
        assert_int_equal(main->env[1].kind, POD_ENV_SECRET_KEY);
        assert_true(main->env[1].optional);
        assert_true(is(main->env_from[0].prefix, "P_"));
        assert_int_equal(main->limits.cpu_milli, 500);
        assert_int_equal(main->requests.memory, 64 << 20);
        assert_int_equal(main->mounts[0].volume, 3);
        assert_int_equal(main->readiness.handler.kind, POD_HANDLER_HTTP);
        assert_int_equal(main->readiness.handler.port, 8080);
        assert_int_equal(main->readiness.period_s, 3);
        assert_int_equal(main->readiness.failure_threshold, 3);
        assert_int_equal(main->readiness.grace_s, -1);
        assert_int_equal(main->liveness.grace_s, 1);
        done(&reading);
}

static void fills_in_defaults(void **state)
{
        struct reading reading;

        (void)state;
        read_text(&reading, ONE("\"livenessProbe\":{\"tcpSocket\":{\"port\":80}}"));
        assert_int_equal(reading.result, 0);
        assert_int_equal(reading.spec.restart_policy, POD_RESTART_ALWAYS);
        assert_int_equal(reading.spec.grace_s, 30);
        assert_int_equal(reading.spec.fs_group, -1);
        assert_int_equal(reading.spec.qos, POD_QOS_BEST_EFFORT);
        assert_true(is(reading.spec.service_account, "default"));
        assert_int_equal(reading.spec.containers[0].security.user, -1);
        assert_true(is(reading.spec.containers[0].message_path, "/dev/termination-log"));
        assert_int_equal(reading.spec.containers[0].liveness.timeout_s, 1);
        done(&reading);

        read_text(&reading, ONE("\"resources\":{\"limits\":{\"cpu\":1,\"memory\":\"1Gi\"}}"));
        assert_int_equal(reading.result, 0);
        assert_int_equal(reading.spec.qos, POD_QOS_GUARANTEED);
        assert_string_equal(pod_qos_name(reading.spec.qos), "Guaranteed");
        done(&reading);
}

#define VOLUME(...) POD("\"volumes\":[{\"name\":\"v\"," __VA_ARGS__ "}]," CONTAINERS)
#define CONTAINERS  "\"containers\":[{\"name\":\"main\",\"image\":\"b\"}]"

static const struct {
        const char *json;
        int result;
        const char *field; /* what the sentence begins with */
} refusals[] = {
        { POD("\"hostNetwork\":true," CONTAINERS), -EOPNOTSUPP, "spec.hostNetwork:" },
        { POD("\"hostPID\":true," CONTAINERS), -EOPNOTSUPP, "spec.hostPID:" },
        { POD("\"shareProcessNamespace\":true," CONTAINERS), -EOPNOTSUPP,
          "spec.shareProcessNamespace:" },
        { POD("\"hostUsers\":true," CONTAINERS), -EOPNOTSUPP, "spec.hostUsers:" },
        { POD("\"runtimeClassName\":\"gvisor\"," CONTAINERS), -EOPNOTSUPP,
          "spec.runtimeClassName:" },
        { POD("\"somethingNew\":{\"a\":1}," CONTAINERS), -EOPNOTSUPP, "spec.somethingNew:" },
        { POD("\"restartPolicy\":\"Sometimes\"," CONTAINERS), -EOPNOTSUPP, "spec.restartPolicy:" },
        { POD("\"os\":{\"name\":\"windows\"}," CONTAINERS), -EOPNOTSUPP, "spec.os.name:" },
        { POD("\"securityContext\":{\"sysctls\":[{\"name\":\"a\"}]}," CONTAINERS), -EOPNOTSUPP,
          "spec.securityContext.sysctls:" },
        { POD("\"securityContext\":{\"seccompProfile\":{\"type\":\"Unconfined\"}}," CONTAINERS),
          -EOPNOTSUPP, "spec.securityContext.seccompProfile.type:" },
        { POD("\"securityContext\":{\"runAsUser\":-1}," CONTAINERS), -EINVAL,
          "spec.securityContext.runAsUser:" },
        { POD("\"terminationGracePeriodSeconds\":\"x\"," CONTAINERS), -EINVAL,
          "spec.terminationGracePeriodSeconds:" },
        { POD("\"volumes\":[{\"name\":\"../x\"}]," CONTAINERS), -EINVAL, "spec.volumes[0].name:" },
        { VOLUME("\"hostPath\":{\"path\":\"/\"}"), -EOPNOTSUPP, "spec.volumes[0].hostPath:" },
        { VOLUME("\"emptyDir\":{\"medium\":\"HugePages\"}"), -EOPNOTSUPP,
          "spec.volumes[0].emptyDir.medium:" },
        { VOLUME("\"emptyDir\":{\"sizeLimit\":\"many\"}"), -EINVAL,
          "spec.volumes[0].emptyDir.sizeLimit:" },
        { VOLUME("\"secret\":{\"secretName\":\"s\",\"items\":[{\"key\":\"k\",\"path\":\"../x\"}]}"),
          -EINVAL, "spec.volumes[0].secret.items[0].path:" },
        { VOLUME("\"projected\":{\"sources\":[{\"clusterTrustBundle\":{\"path\":\"x\"}}]}"),
          -EOPNOTSUPP, "spec.volumes[0].projected.sources[0].clusterTrustBundle:" },
        { VOLUME("\"projected\":{\"sources\":[{\"serviceAccountToken\":{\"path\":\"/x\"}}]}"),
          -EINVAL, "spec.volumes[0].projected.sources[0].serviceAccountToken.path:" },
        { ONE("\"securityContext\":{\"privileged\":true}"), -EOPNOTSUPP,
          "spec.containers[0].securityContext.privileged:" },
        { ONE("\"securityContext\":{\"capabilities\":{\"add\":[\"SYS_ADMIN\"]}}"), -EOPNOTSUPP,
          "spec.containers[0].securityContext.capabilities.add:" },
        { ONE("\"securityContext\":{\"procMount\":\"Unmasked\"}"), -EOPNOTSUPP,
          "spec.containers[0].securityContext.procMount:" },
        { ONE("\"lifecycle\":{\"preStop\":{\"tcpSocket\":{\"port\":1}}}"), -EOPNOTSUPP,
          "spec.containers[0].lifecycle.preStop.tcpSocket:" },
        { ONE("\"lifecycle\":{\"stopSignal\":\"SIGUSR1\"}"), -EOPNOTSUPP,
          "spec.containers[0].lifecycle.stopSignal:" },
        { ONE("\"lifecycle\":{\"postStart\":{\"exec\":{\"command\":[]}}}"), -EINVAL,
          "spec.containers[0].lifecycle.postStart.exec.command:" },
        { ONE("\"lifecycle\":{\"postStart\":{\"sleep\":{\"seconds\":-1}}}"), -EINVAL,
          "spec.containers[0].lifecycle.postStart.sleep.seconds:" },
        { POD(CONTAINERS ",\"initContainers\":[{\"name\":\"i\",\"lifecycle\":{\"preStop\":{"
                         "\"sleep\":{\"seconds\":1}}}}]"),
          -EINVAL, "spec.initContainers[0].lifecycle:" },
        { POD(CONTAINERS ",\"initContainers\":[{\"name\":\"i\",\"readinessProbe\":{\"grpc\":{"
                         "\"port\":1}}}]"),
          -EINVAL, "spec.initContainers[0].readinessProbe:" },
        { ONE("\"volumeDevices\":[{\"name\":\"x\"}]"), -EOPNOTSUPP,
          "spec.containers[0].volumeDevices:" },
        { ONE("\"ports\":[{\"containerPort\":80,\"hostPort\":80}]"), -EOPNOTSUPP,
          "spec.containers[0].ports[0].hostPort:" },
        { ONE("\"ports\":[{\"containerPort\":70000}]"), -EINVAL,
          "spec.containers[0].ports[0].containerPort:" },
        { ONE("\"env\":[{\"name\":\"a=b\",\"value\":\"c\"}]"), -EINVAL,
          "spec.containers[0].env[0].name:" },
        { ONE("\"env\":[{\"name\":\"a\",\"value\":\"x\\u0000y\"}]"), -EINVAL,
          "spec.containers[0].env[0].value:" },
        { ONE("\"env\":[{\"name\":\"a\",\"valueFrom\":{\"fileKeyRef\":{\"path\":\"x\"}}}]"),
          -EOPNOTSUPP, "spec.containers[0].env[0].valueFrom.fileKeyRef:" },
        { ONE("\"command\":[1]"), -EINVAL, "spec.containers[0].command:" },
        { ONE("\"command\":\"sh\""), -EINVAL, "spec.containers[0].command:" },
        { ONE("\"resources\":{\"limits\":{\"nvidia.com/gpu\":1}}"), -EOPNOTSUPP,
          "spec.containers[0].resources.limits.nvidia.com/gpu:" },
        { ONE("\"resources\":{\"limits\":{\"memory\":\"-1\"}}"), -EINVAL,
          "spec.containers[0].resources.limits.memory:" },
        { ONE("\"volumeMounts\":[{\"name\":\"none\",\"mountPath\":\"/x\"}]"), -EINVAL,
          "spec.containers[0].volumeMounts[0].name:" },
        { ONE("\"volumeMounts\":[{\"name\":\"v\",\"mountPath\":\"/x/../../etc\"}]"), -EINVAL,
          "spec.containers[0].volumeMounts[0].mountPath:" },
        { ONE("\"volumeMounts\":[{\"name\":\"v\",\"mountPath\":\"/x\",\"mountPropagation\":"
              "\"Bidirectional\"}]"),
          -EOPNOTSUPP, "spec.containers[0].volumeMounts[0].mountPropagation:" },
        { ONE("\"readinessProbe\":{\"grpc\":{\"port\":0}}"), -EINVAL,
          "spec.containers[0].readinessProbe.grpc.port:" },
        { ONE("\"readinessProbe\":{\"grpc\":{\"port\":1,\"tls\":true}}"), -EOPNOTSUPP,
          "spec.containers[0].readinessProbe.grpc.tls:" },
        { ONE("\"readinessProbe\":{\"httpGet\":{\"port\":\"web\"}}"), -EINVAL,
          "spec.containers[0].readinessProbe.httpGet.port:" },
        { ONE("\"readinessProbe\":{\"httpGet\":{\"port\":80,\"path\":\"/a b\"}}"), -EINVAL,
          "spec.containers[0].readinessProbe.httpGet.path:" },
        { ONE("\"readinessProbe\":{\"httpGet\":{\"port\":80,\"httpHeaders\":[{\"name\":\"a\","
              "\"value\":\"b\\r\\nc\"}]}}"),
          -EINVAL, "spec.containers[0].readinessProbe.httpGet.httpHeaders:" },
        { POD("\"containers\":[]"), -EINVAL, "spec.containers:" },
        { POD("\"containers\":[{\"name\":\"a\"},{\"name\":\"a\"}]"), -EINVAL,
          "spec.containers[1].name:" },
        { POD("\"containers\":[{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{}]"), -E2BIG,
          "spec.containers:" },
        { POD("\"containers\":[7]"), -EINVAL, "spec.containers[0].name:" },
        { POD(CONTAINERS ",\"initContainers\":[{\"name\":\"i\",\"restartPolicy\":\"Never\"}]"),
          -EOPNOTSUPP, "spec.initContainers[0].restartPolicy:" },
        { "{\"metadata\":{\"name\":\"p\"}}", -EINVAL, "metadata:" },
        { "[]", -EINVAL, "metadata:" },
};

static void names_the_field_that_it_refuses(void **state)
{
        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(refusals); i++) {
                struct reading reading;
                read_text(&reading, refusals[i].json);
                if (reading.result != refusals[i].result ||
                    strncmp(reading.error.message, refusals[i].field, strlen(refusals[i].field)) !=
                            0)
                        print_error("%zu: %d, \"%s\" instead of \"%s\"\n", i, reading.result,
                                    reading.error.message, refusals[i].field);
                assert_int_equal(reading.result, refusals[i].result);
                assert_int_equal(strncmp(reading.error.message, refusals[i].field,
                                         strlen(refusals[i].field)),
                                 0);
                assert_int_equal(reading.spec.container_count, 0);
                done(&reading);
        }
}

static void what_says_nothing_is_no_reason_to_refuse(void **state)
{
        struct reading reading;

        (void)state;
        read_text(&reading,
                  POD("\"hostNetwork\":false,\"hostPID\":null,\"runtimeClassName\":\"\","
                      "\"resourceClaims\":[],\"ephemeralContainers\":[],\"hostUsers\":false,"
                      "\"containers\":[{\"name\":\"m\",\"image\":\"b\",\"lifecycle\":{},"
                      "\"securityContext\":{\"privileged\":false},\"volumeDevices\":null}]"));
        assert_int_equal(reading.result, 0);
        done(&reading);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(reads_a_whole_pod),
                cmocka_unit_test(fills_in_defaults),
                cmocka_unit_test(names_the_field_that_it_refuses),
                cmocka_unit_test(what_says_nothing_is_no_reason_to_refuse),
        };

        return run_unit_tests("pod_spec", tests);
}
