// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <inttypes.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/log.h"
#include "controller/controller.h"
#include "kinds/core.h"
#include "kinds/names.h"
#include "kinds/sandbox.h"
#include "world.h"
#include "json/edit.h"

/*
 * scale [COUNT]: the controllers with COUNT Sandboxes (100,000) and a tenth of it: what a Sandbox
 * with its Pod costs in memory, and what a look at all, at one and at a pool of all costs in
 * processor time. The objects are made by the controllers in a world of their own, get what a real
 * API server and kubelet add, and are copied. Exit status 1 if a cost grows faster than the number.
 */

enum { NAMESPACES = 100, TOKENS_MAX = 8, PIECES_MAX = 256, TARGET_BYTES = 1024 };

static struct json_doc *parse(struct str text)
{
        struct json_doc *doc = NULL;

        if (json_doc_parse(text, NULL, NULL, NULL, &doc) < 0)
                abort();
        return doc;
}

static uint64_t cpu_ns(void)
{
        struct timespec now;

        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
        return (uint64_t)now.tv_sec * NS_PER_SECOND + (uint64_t)now.tv_nsec;
}

static size_t memory_in_use(void)
{
        struct mallinfo2 info = mallinfo2();

        return info.uordblks + info.hblkhd;
}

/* ---- one object as the pattern of many ---- */

enum token {
        TOKEN_NONE,
        TOKEN_NAME,
        TOKEN_HASH,
        TOKEN_SANDBOX_UID,
        TOKEN_POD_UID,
        TOKEN_NAMESPACE
};

struct piece {
        struct str text; /* before the token */
        enum token token;
};

struct pattern {
        struct buffer text;
        struct piece pieces[PIECES_MAX];
        size_t count;
};

struct token_text {
        enum token token;
        struct str text;
};

/* What kube-apiserver and a kubelet add to what the controllers write; sizes as seen on a real one.
 */
#define MANAGED_BY(manager)                                                                        \
        "{\"apiVersion\":\"v1\",\"fieldsType\":\"FieldsV1\",\"fieldsV1\":{\"f:metadata\":{"        \
        "\"f:labels\":{\".\":{},\"f:agents.x-k8s.io/sandbox-name-hash\":{}},"                      \
        "\"f:ownerReferences\":{\".\":{},\"k:{\\\"uid\\\":\\\"x\\\"}\":{}}},\"f:spec\":{"          \
        "\"f:containers\":{\"k:{\\\"name\\\":\\\"c\\\"}\":{\".\":{},\"f:image\":{},"               \
        "\"f:imagePullPolicy\":{},\"f:name\":{},\"f:resources\":{},"                               \
        "\"f:terminationMessagePath\":{},\"f:terminationMessagePolicy\":{}}},\"f:dnsPolicy\":{},"  \
        "\"f:enableServiceLinks\":{},\"f:restartPolicy\":{},\"f:schedulerName\":{},"               \
        "\"f:securityContext\":{},\"f:terminationGracePeriodSeconds\":{}}},\"manager\":\"" manager \
        "\",\"operation\":\"Update\",\"time\":\"2026-11-21T18:00:00Z\"}"
#define MANAGED_FIELDS                                                                             \
        "\"managedFields\":[" MANAGED_BY("cay-controller") "," MANAGED_BY("kubelet") "],"
#define POD_SPEC                                                                                   \
        "\"restartPolicy\":\"Always\",\"terminationGracePeriodSeconds\":30,\"securityContext\":{}" \
        ","                                                                                        \
        "\"schedulerName\":\"default-scheduler\",\"tolerations\":[{\"key\":"                       \
        "\"node.kubernetes.io/not-ready\",\"operator\":\"Exists\",\"effect\":\"NoExecute\","       \
        "\"tolerationSeconds\":300},{\"key\":\"node.kubernetes.io/unreachable\",\"operator\":"     \
        "\"Exists\",\"effect\":\"NoExecute\",\"tolerationSeconds\":300}],\"priority\":0,"          \
        "\"enableServiceLinks\":true,\"preemptionPolicy\":\"PreemptLowerPriority\","
#define POD_STATUS                                                                                 \
        "\"hostIP\":\"10.1.0.17\",\"startTime\":\"2026-11-21T18:00:00Z\",\"qosClass\":"            \
        "\"BestEffort\",\"containerStatuses\":[{\"name\":\"c\",\"state\":{\"running\":{"           \
        "\"startedAt\":\"2026-11-21T18:00:00Z\"}},\"lastState\":{},\"ready\":true,"                \
        "\"restartCount\":0,\"image\":\"registry.example/python-runtime-sandbox:latest\","         \
        "\"imageID\":\"registry.example/python-runtime-sandbox@sha256:"                            \
        "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\",\"containerID\":"      \
        "\"containerd://0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\","       \
        "\"started\":true}],"

static void insert_after(struct buffer *text, const char *anchor, const char *more)
{
        struct buffer out = { 0 };
        struct str all = buffer_str(text);
        const char *at = memmem(all.data, all.length, anchor, strlen(anchor));

        if (!at)
                abort();
        at += strlen(anchor);
        if (buffer_append(&out, all.data, (size_t)(at - all.data)) < 0 ||
            buffer_append(&out, more, strlen(more)) < 0 ||
            buffer_append(&out, at, (size_t)(all.data + all.length - at)) < 0)
                abort();
        buffer_deinit(text);
        *text = out;
}

static void pattern_init(struct pattern *pattern, struct json_doc *doc,
                         const struct token_text *tokens)
{
        struct json_value root = json_root(doc);
        struct str text;
        size_t begin = 0;

        *pattern = (struct pattern){ 0 };
        if (buffer_append_str(&pattern->text, json_doc_text(doc)) < 0)
                abort();
        insert_after(&pattern->text, "\"metadata\":{", MANAGED_FIELDS);
        if (json_exists(json_get(root, "spec", "nodeName"))) {
                insert_after(&pattern->text, "\"spec\":{", POD_SPEC);
                insert_after(&pattern->text, "\"status\":{", POD_STATUS);
        }
        text = buffer_str(&pattern->text);
        for (size_t i = 0; i < text.length; i++) {
                for (const struct token_text *token = tokens; token->token; token++) {
                        if (text.length - i < token->text.length ||
                            memcmp(text.data + i, token->text.data, token->text.length) != 0)
                                continue;
                        assert(pattern->count < PIECES_MAX - 1);
                        pattern->pieces[pattern->count++] =
                                (struct piece){ .text = { text.data + begin, i - begin },
                                                .token = token->token };
                        i += token->text.length - 1;
                        begin = i + 1;
                        break;
                }
        }
        pattern->pieces[pattern->count++] =
                (struct piece){ .text = { text.data + begin, text.length - begin } };
}

static struct json_doc *pattern_copy(const struct pattern *pattern, unsigned number)
{
        _cleanup_buffer_ struct buffer out = { 0 };
        char name[32], hash[NAME_HASH_SIZE];
        int r = 0;

        snprintf(name, sizeof(name), "scaled-%06u", number);
        name_hash(str_from(name), hash);
        for (size_t i = 0; i < pattern->count && r == 0; i++) {
                r = buffer_append_str(&out, pattern->pieces[i].text);
                if (r < 0)
                        break;
                switch (pattern->pieces[i].token) {
                case TOKEN_NAME:
                        r = buffer_append_str(&out, str_from(name));
                        break;
                case TOKEN_HASH:
                        r = buffer_append_str(&out, str_from(hash));
                        break;
                case TOKEN_SANDBOX_UID:
                        r = buffer_printf(&out, "11111111-0000-4000-8000-%012x", number);
                        break;
                case TOKEN_POD_UID:
                        r = buffer_printf(&out, "22222222-0000-4000-8000-%012x", number);
                        break;
                case TOKEN_NAMESPACE:
                        r = buffer_printf(&out, "\"namespace\":\"n-%u\"", number % NAMESPACES);
                        break;
                case TOKEN_NONE:
                        break;
                }
        }
        if (r < 0)
                abort();
        return parse(buffer_str(&out));
}

/* ---- the world that the patterns come from ---- */

struct patterns {
        struct pattern sandbox, pod;               /* alone, in many namespaces */
        struct pattern member_sandbox, member_pod; /* of one pool */
        struct json_doc *template, *pool, *policy;
};

struct search {
        struct str owner;
        struct json_doc *found;
};

static void take_owned(void *context, struct json_doc *doc)
{
        struct search *search = context;
        struct object_meta meta;
        struct owner_reference owner;

        object_meta_read(json_root(doc), &meta);
        if (object_meta_controller(&meta, &owner) && str_equal(owner.name, search->owner))
                search->found = doc;
}

static struct json_doc *owned_by(struct world *world, const struct kind *kind, const char *owner)
{
        struct search search = { .owner = str_from(owner) };

        api_each(world->api, kind, take_owned, &search);
        if (!search.found)
                abort();
        return search.found;
}

static void create(struct world *world, const struct kind *kind, const char *text)
{
        struct outcome outcome = api_create(world->api, kind, str_from(text));

        if (outcome.status != 201)
                abort();
        json_doc_unref(outcome.object);
}

static void make_pair(struct json_doc *sandbox, struct json_doc *pod, bool in_one_namespace,
                      struct pattern *ret_sandbox, struct pattern *ret_pod)
{
        struct object_meta meta, pod_meta;
        char hash[NAME_HASH_SIZE];

        object_meta_read(json_root(sandbox), &meta);
        object_meta_read(json_root(pod), &pod_meta);
        assert(str_equal(meta.name, pod_meta.name));
        const struct token_text tokens[] = {
                { TOKEN_HASH, name_hash(meta.name, hash) },
                { TOKEN_SANDBOX_UID, meta.uid },
                { TOKEN_POD_UID, pod_meta.uid },
                { TOKEN_NAME, meta.name },
                { in_one_namespace ? TOKEN_NONE : TOKEN_NAMESPACE, STR("\"namespace\":\"n\"") },
                { 0 },
        };
        pattern_init(ret_sandbox, sandbox, tokens);
        pattern_init(ret_pod, pod, tokens);
}

static void patterns_init(struct patterns *patterns)
{
        const struct world_options options = { .seed = 1 };
        struct json_doc *sandbox, *pod;
        struct world world;

        world_open(&world, &options);
        users_prepare(&world);
        create(&world, &kind_sandbox_template,
               "{\"metadata\":{\"name\":\"t\",\"namespace\":\"n\"},\"spec\":{\"podTemplate\":{"
               "\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":"
               "\"registry.example/python-runtime-sandbox:latest\",\"ports\":[{\"containerPort\":"
               "8888}]}]}}}}");
        create(&world, &kind_sandbox_warm_pool,
               "{\"metadata\":{\"name\":\"pool\",\"namespace\":\"n\"},\"spec\":{\"replicas\":1,"
               "\"sandboxTemplateRef\":{\"name\":\"t\"}}}");
        create(&world, &kind_sandbox,
               "{\"metadata\":{\"name\":\"alone-and-cold\",\"namespace\":\"n\"},\"spec\":{"
               "\"podTemplate\":{\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":"
               "\"registry.example/python-runtime-sandbox:latest\",\"ports\":[{\"containerPort\":"
               "8888}]}]}}}}");
        world_pass(&world, 60 * NS_PER_SECOND);
        sandbox = api_get(world.api, &kind_sandbox, STR("n"), STR("alone-and-cold"));
        pod = owned_by(&world, &kind_pod, "alone-and-cold");
        make_pair(sandbox, pod, false, &patterns->sandbox, &patterns->pod);
        sandbox = owned_by(&world, &kind_sandbox, "pool");
        pod = api_get(world.api, &kind_pod, STR("n"),
                      json_string(json_get(json_root(sandbox), "metadata", "name")));
        make_pair(sandbox, pod, true, &patterns->member_sandbox, &patterns->member_pod);
        patterns->template =
                json_doc_ref(api_get(world.api, &kind_sandbox_template, STR("n"), STR("t")));
        patterns->pool =
                json_doc_ref(api_get(world.api, &kind_sandbox_warm_pool, STR("n"), STR("pool")));
        patterns->policy = json_doc_ref(owned_by(&world, &kind_network_policy, "t"));
        world_close(&world);
}

static void patterns_deinit(struct patterns *patterns)
{
        buffer_deinit(&patterns->sandbox.text);
        buffer_deinit(&patterns->pod.text);
        buffer_deinit(&patterns->member_sandbox.text);
        buffer_deinit(&patterns->member_pod.text);
        json_doc_unref(patterns->template);
        json_doc_unref(patterns->pool);
        json_doc_unref(patterns->policy);
}

/* ---- controllers with many of them ---- */

struct herd {
        struct executor_backend backend;
        struct controllers *set;
        struct sandbox_controllers *sandboxes;
        struct instant now;
        uint64_t version;
        size_t writes;
};

static void submit(void *context, struct submission *submission)
{
        struct herd *herd = context;

        herd->writes++;
        submission_done(submission, 0, &(struct action_result){ .status = -ECONNREFUSED });
}

static void feed(struct herd *herd, const struct kind *kind, struct json_doc *doc)
{
        if (controllers_feed(herd->set, kind, CACHE_ADDED, doc) < 0)
                abort();
}

static void feed_copy(struct herd *herd, const struct kind *kind, const struct pattern *pattern,
                      unsigned number)
{
        struct json_doc *doc = pattern_copy(pattern, number);

        feed(herd, kind, doc);
        json_doc_unref(doc);
}

/* The same again with another version, as when something changed that is no business of ours. */
static void touch(struct herd *herd, const struct kind *kind, const struct pattern *pattern,
                  unsigned number)
{
        _cleanup_arena_ struct arena arena = { 0 };
        struct json_doc *doc = pattern_copy(pattern, number), *newer;
        struct json_edit edit;
        char version[24];

        snprintf(version, sizeof(version), "%" PRIu64, ++herd->version);
        json_edit_init(&edit, doc, &arena);
        json_edit_set_string(&edit, "/metadata/resourceVersion", str_from(version));
        if (json_edit_apply(&edit, &newer) < 0)
                abort();
        feed(herd, kind, newer);
        json_doc_unref(doc);
        json_doc_unref(newer);
}

static void look(struct herd *herd)
{
        while (controllers_run(herd->set, herd->now) <= herd->now.monotonic_ns && !herd->writes)
                ;
}

static void feed_pool(struct herd *herd, const struct patterns *patterns, unsigned members)
{
        _cleanup_arena_ struct arena arena = { 0 };
        struct json_doc *pool;
        struct json_edit edit;

        json_edit_init(&edit, patterns->pool, &arena);
        json_edit_set_int(&edit, "/spec/replicas", members);
        json_edit_set_int(&edit, "/status/replicas", members);
        json_edit_set_int(&edit, "/status/readyReplicas", members);
        if (json_edit_apply(&edit, &pool) < 0)
                abort();
        feed(herd, &kind_sandbox_template, patterns->template);
        feed(herd, &kind_network_policy, patterns->policy);
        feed(herd, &kind_sandbox_warm_pool, pool);
        json_doc_unref(pool);
}

static void herd_init(struct herd *herd, const struct patterns *patterns, unsigned count,
                      bool pooled)
{
        const struct controllers_options options = { .seed = 1, .awake = 256 };

        *herd = (struct herd){ .version = 1000000,
                               .now = { .monotonic_ns = NS_PER_SECOND,
                                        .realtime_ns =
                                                (WORLD_EPOCH_SECONDS + 3600) * NS_PER_SECOND } };
        herd->backend = (struct executor_backend){ .context = herd, .submit = submit };
        if (controllers_new(&options, &herd->backend, &herd->set) < 0 ||
            sandbox_controllers_new(herd->set, NULL, &herd->sandboxes) < 0)
                abort();
        controllers_tell_time(herd->set, herd->now);
        for (size_t i = 0; sandbox_controllers_kinds[i]; i++)
                controllers_list_begin(herd->set, sandbox_controllers_kinds[i]);
        if (pooled)
                feed_pool(herd, patterns, count);
        for (unsigned i = 0; i < count; i++) {
                feed_copy(herd, &kind_sandbox,
                          pooled ? &patterns->member_sandbox : &patterns->sandbox, i);
                feed_copy(herd, &kind_pod, pooled ? &patterns->member_pod : &patterns->pod, i);
        }
        for (size_t i = 0; sandbox_controllers_kinds[i]; i++)
                controllers_list_end(herd->set, sandbox_controllers_kinds[i], herd->version);
        look(herd);
}

static void herd_deinit(struct herd *herd)
{
        controllers_free(herd->set);
        sandbox_controllers_free(herd->sandboxes);
}

/* ---- figures ---- */

enum figure { MEMORY, START, ONE, POOL, CLAIM, FIGURES };

static const struct {
        const char *what;
        /* That it may grow from a tenth to all. What goes through all grows tenfold, and five times
         * that where a tenth fits into the processor's caches (more yet if others use them); a pass
         * in a pass would grow some five hundredfold. */
        double most;
} figures[] = {
        [MEMORY] = { "memory of a Sandbox with its Pod, bytes", 1.2 },
        [START] = { "read and look at each, us a Sandbox", 2.5 },
        [ONE] = { "look at one that changed, us", 3 },
        [POOL] = { "look at a pool of all, us", 120 },
        [CLAIM] = { "give a claim one of a pool of all, us", 120 },
};

enum { TOUCHES = 1000, POOL_TOUCHES = 20 };

static double us_each(uint64_t since_ns, unsigned count)
{
        return (double)(cpu_ns() - since_ns) / 1e3 / count;
}

static void expect_calm(const struct herd *herd)
{
        if (herd->writes == 0)
                return;
        fputs("scale: there is something to write where all is as it should be\n", stderr);
        exit(1);
}

static void measure_many(const struct patterns *patterns, unsigned count, double *ret_figures)
{
        size_t before = memory_in_use();
        uint64_t since = cpu_ns();
        struct herd herd;

        herd_init(&herd, patterns, count, false);
        expect_calm(&herd);
        ret_figures[START] = us_each(since, count);
        ret_figures[MEMORY] = (double)(memory_in_use() - before) / count;
        since = cpu_ns();
        for (unsigned i = 0; i < TOUCHES; i++) {
                touch(&herd, &kind_pod, &patterns->pod, i * (count / TOUCHES));
                look(&herd);
        }
        ret_figures[ONE] = us_each(since, TOUCHES);
        expect_calm(&herd);
        herd_deinit(&herd);
}

static void measure_pool(const struct patterns *patterns, unsigned count, double *ret_figures)
{
        static const char claim[] =
                "{\"metadata\":{\"name\":\"claim\",\"namespace\":\"n\",\"uid\":\"33333333-0000-"
                "4000-"
                "8000-000000000000\",\"resourceVersion\":\"2000000\",\"generation\":1,"
                "\"creationTimestamp\":\"2027-01-15T08:10:00Z\"},\"spec\":{\"warmPoolRef\":{"
                "\"name\":"
                "\"pool\"}}}";
        struct json_doc *doc = parse(str_from(claim));
        struct herd herd;
        uint64_t since;

        herd_init(&herd, patterns, count, true);
        expect_calm(&herd);
        since = cpu_ns();
        for (unsigned i = 0; i < POOL_TOUCHES; i++) {
                /* A large pool rests after a look. */
                herd.now.monotonic_ns += 10 * NS_PER_SECOND;
                herd.now.realtime_ns += 10 * NS_PER_SECOND;
                touch(&herd, &kind_sandbox, &patterns->member_sandbox, i);
                look(&herd);
        }
        ret_figures[POOL] = us_each(since, POOL_TOUCHES);
        expect_calm(&herd);
        since = cpu_ns();
        feed(&herd, &kind_sandbox_claim, doc);
        look(&herd);
        ret_figures[CLAIM] = us_each(since, 1);
        if (herd.writes == 0)
                abort();
        json_doc_unref(doc);
        herd_deinit(&herd);
}

int main(int argc, char **argv)
{
        unsigned count = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : 100000;
        double few[FIGURES], many[FIGURES];
        struct patterns patterns;
        int status = 0;

        if (count < 10 * TOUCHES) {
                fputs("usage: scale [COUNT], at least 10000\n", stderr);
                return 2;
        }
        log_configure("sim", LOG_LEVEL_ERROR, LOG_FORMAT_TEXT);
        patterns_init(&patterns);
        measure_many(&patterns, count / 10, few);
        measure_pool(&patterns, count / 10, few);
        measure_many(&patterns, count, many);
        measure_pool(&patterns, count, many);
        printf("a Sandbox has %zu bytes of JSON, its Pod %zu\n%-40s %10u %10u %6s\n",
               patterns.sandbox.text.length, patterns.pod.text.length, "", count / 10, count,
               "ratio");
        for (size_t i = 0; i < FIGURES; i++) {
                double ratio = many[i] / few[i];

                printf("%-40s %10.1f %10.1f %6.2f%s\n", figures[i].what, few[i], many[i], ratio,
                       ratio > figures[i].most ? "  GROWS TOO FAST" : "");
                status |= ratio > figures[i].most;
        }
        printf("wanted is at most %d bytes a Sandbox: %s\n", TARGET_BYTES,
               many[MEMORY] <= 0              ? "unknown, this allocator does not tell"
               : many[MEMORY] <= TARGET_BYTES ? "met"
                                              : "not met");
        patterns_deinit(&patterns);
        return status;
}
