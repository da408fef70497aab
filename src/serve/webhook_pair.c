// SPDX-License-Identifier: Apache-2.0
#include "serve/webhook_pair.h"

#include <errno.h>

#include "base/arena.h"
#include "base/clock.h"
#include "crypto/encode.h"
#include "crypto/openssl.h"
#include "crypto/trust.h"
#include "json/edit.h"
#include "json/writer.h"

/* A pair is replaced when this part of its time is left. */
enum { RENEW_FRACTION = 3 };

void webhook_pair_deinit(struct webhook_pair *pair)
{
        buffer_deinit(&pair->authorities);
        certificate_pair_deinit(&pair->serving);
        certificate_pair_deinit(&pair->next);
}

/* ---- making ---- */

static int make(const struct webhook_pair_policy *policy, uint64_t now, struct error *error,
                struct buffer *authorities, struct certificate_pair *ret_pair)
{
        _cleanup_ca_ struct ca *ca = NULL;
        const struct certificate_request request = {
                .purpose = CERTIFICATE_SERVER,
                .common_name = policy->names[0],
                .names = policy->names,
                .name_count = policy->count,
                .now = now,
                .valid_seconds = policy->valid_s,
        };

        int r = ca_make(STR("agent-sandbox-conversion-webhook-ca"), now, policy->valid_s, error,
                        &ca);
        if (r == 0)
                r = buffer_append_str(authorities, ca_certificate(ca));
        return r < 0 ? r : ca_issue(ca, &request, error, ret_pair);
}

int webhook_pair_make(const struct webhook_pair_policy *policy, uint64_t now, struct error *error,
                      struct webhook_pair *ret_pair)
{
        struct webhook_pair pair = {};

        int r = make(policy, now, error, &pair.authorities, &pair.serving);
        if (r < 0) {
                webhook_pair_deinit(&pair);
                return r;
        }
        *ret_pair = pair;
        return 0;
}

/* ---- the Secret ---- */

static const struct {
        const char *key, *pointer;
        size_t offset;
} parts[] = {
        { "ca.crt", "/data/ca.crt", offsetof(struct webhook_pair, authorities) },
        { "tls.crt", "/data/tls.crt", offsetof(struct webhook_pair, serving.certificate) },
        { "tls.key", "/data/tls.key", offsetof(struct webhook_pair, serving.key) },
        { "next.crt", "/data/next.crt", offsetof(struct webhook_pair, next.certificate) },
        { "next.key", "/data/next.key", offsetof(struct webhook_pair, next.key) },
};

static struct buffer *part(const struct webhook_pair *pair, size_t i)
{
        return (struct buffer *)((uintptr_t)pair + parts[i].offset);
}

int webhook_pair_read(struct json_value secret, struct webhook_pair *ret_pair)
{
        struct webhook_pair pair = {};
        int r = 0;

        for (size_t i = 0; r != -ENOMEM && i < ARRAY_SIZE(parts); i++)
                r = base64_decode(part(&pair, i), BASE64_STANDARD,
                                  json_string(json_get(secret, "data", parts[i].key)));
        if (r == -ENOMEM) {
                webhook_pair_deinit(&pair);
                return r;
        }
        *ret_pair = pair;
        return 0;
}

static int append_new(const struct webhook_pair *pair, struct str name_space, struct str name,
                      struct buffer *out)
{
        struct json_writer writer;
        int r = 0;

        json_writer_init(&writer, out);
        json_begin_object(&writer);
        json_field_string(&writer, "apiVersion", STR("v1"));
        json_field_string(&writer, "kind", STR("Secret"));
        json_field_object(&writer, "metadata");
        json_field_string(&writer, "name", name);
        json_field_string(&writer, "namespace", name_space);
        json_end_object(&writer);
        json_field_string(&writer, "type", STR("Opaque"));
        json_field_object(&writer, "data");
        for (size_t i = 0; r == 0 && i < ARRAY_SIZE(parts); i++) {
                _cleanup_secret_ struct buffer text = {};
                if (part(pair, i)->length == 0)
                        continue;
                r = base64_append(&text, BASE64_STANDARD, part(pair, i)->data,
                                  part(pair, i)->length);
                json_field_string(&writer, parts[i].key, buffer_str(&text));
        }
        json_end_object(&writer);
        json_end_object(&writer);
        return r < 0 ? r : json_writer_finish(&writer);
}

int webhook_pair_append(const struct webhook_pair *pair, struct json_value secret,
                        struct str name_space, struct str name, struct buffer *out)
{
        _cleanup_secret_ struct buffer made = {};
        _cleanup_doc_ struct json_doc *fresh = NULL, *edited = NULL;
        _cleanup_arena_ struct arena arena = {};
        struct json_edit edit;

        int r = append_new(pair, name_space, name, &made);
        if (r < 0)
                return r;
        if (!json_exists(secret))
                return buffer_append_str(out, buffer_str(&made));
        r = json_doc_parse(buffer_str(&made), NULL, NULL, NULL, &fresh);
        if (r < 0)
                return r;
        json_edit_init(&edit, secret.doc, &arena);
        json_edit_set_value(&edit, "/data", json_get(json_root(fresh), "data"));
        r = json_edit_apply(&edit, &edited);
        return r < 0 ? r : buffer_append_str(out, json_doc_text(edited));
}

/* ---- judging ---- */

static int check(const struct webhook_pair *pair, const struct certificate_pair *certificate,
                 const struct webhook_pair_policy *policy, uint64_t now, struct error *why,
                 uint64_t *ret_not_after)
{
        const struct server_pair server = {
                .certificate = buffer_str(&certificate->certificate),
                .key = buffer_str(&certificate->key),
                .authorities = buffer_str(&pair->authorities),
                .names = policy->names,
                .count = policy->required,
                .now = now,
        };

        return server_pair_check(&server, why, ret_not_after);
}

int webhook_pair_judge(const struct webhook_pair *pair, const struct webhook_pair_policy *policy,
                       uint64_t now, struct error *why)
{
        _cleanup_buffer_ struct buffer kept = {};
        uint64_t not_after = 0, next_not_after = 0;
        size_t ended = 0;

        int r = check(pair, &pair->serving, policy, now, why, &not_after);
        if (r < 0)
                return r == -ENOMEM ? r : WEBHOOK_PAIR_UNUSABLE;
        if (pair->next.certificate.length > 0) {
                r = check(pair, &pair->next, policy, now, NULL, &next_not_after);
                if (r == -ENOMEM)
                        return r;
                if (r == 0 && next_not_after > not_after)
                        return WEBHOOK_PAIR_CHANGING;
        }
        if (not_after < now + policy->valid_s * NS_PER_SECOND / RENEW_FRACTION)
                return WEBHOOK_PAIR_OLD;
        r = bundle_append(&kept, buffer_str(&pair->authorities), now, &ended);
        if (r == -ENOMEM)
                return r;
        return r == 0 && ended > 0 ? WEBHOOK_PAIR_LITTER : WEBHOOK_PAIR_GOOD;
}

/* ---- going on ---- */

static int copy_pair(const struct certificate_pair *from, struct certificate_pair *ret_pair)
{
        int r = buffer_append_str(&ret_pair->certificate, buffer_str(&from->certificate));

        return r < 0 ? r : buffer_append_str(&ret_pair->key, buffer_str(&from->key));
}

int webhook_pair_advance(const struct webhook_pair *pair, enum webhook_pair_verdict verdict,
                         const struct webhook_pair_policy *policy, uint64_t now,
                         struct error *error, struct webhook_pair *ret_pair)
{
        struct webhook_pair made = {};
        int r = 0;

        if (verdict == WEBHOOK_PAIR_UNUSABLE)
                r = make(policy, now, error, &made.authorities, &made.serving);
        else if (verdict == WEBHOOK_PAIR_OLD)
                r = make(policy, now, error, &made.authorities, &made.next);
        if (r == 0 && (verdict == WEBHOOK_PAIR_OLD || verdict == WEBHOOK_PAIR_LITTER))
                r = copy_pair(&pair->serving, &made.serving);
        if (r == 0 && verdict == WEBHOOK_PAIR_CHANGING)
                r = copy_pair(&pair->next, &made.serving);
        /* Another replica may serve the old pair for a while. What is no certificate is dropped. */
        if (r == 0)
                r = bundle_append(&made.authorities, buffer_str(&pair->authorities), now, NULL);
        if (r == -EBADMSG)
                r = 0;
        if (r < 0) {
                webhook_pair_deinit(&made);
                return r;
        }
        *ret_pair = made;
        return 0;
}
