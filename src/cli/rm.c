// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <stdio.h>

#include "base/options.h"
#include "cli/api_client.h"
#include "cli/command.h"
#include "cli/find.h"

/* What there is of a name. */
struct found {
        struct json_doc *claim, *sandbox; /* NULL: there is none */
};

static void found_deinit(struct found *found)
{
        if (found->claim)
                json_doc_unref(found->claim);
        if (found->sandbox)
                json_doc_unref(found->sandbox);
}

static int look(struct api_client *api, const struct name *name, struct error *error,
                struct found *found)
{
        int r = 0;

        if (name->kind != NAME_SANDBOX) {
                r = api_client_get(api, &kind_sandbox_claim, name->text, error, &found->claim);
                if (r < 0 && (r != -ENOENT || name->kind == NAME_CLAIM))
                        return r;
        }
        if (name->kind != NAME_CLAIM) {
                r = api_client_get(api, &kind_sandbox, name->text, error, &found->sandbox);
                if (r < 0 && (r != -ENOENT || name->kind == NAME_SANDBOX))
                        return r;
        }
        if (!found->claim && !found->sandbox)
                return error_set(
                        error, -ENOENT,
                        "there is no sandbox or claim '%.*s' in namespace %.*s: see cay ls",
                        STR_FORMAT(name->text), STR_FORMAT(api->name_space));
        return 0;
}

static int delete (struct api_client *api, const struct kind *kind, struct json_doc *doc,
                   struct error *error)
{
        struct json_value metadata = json_get(json_root(doc), "metadata");
        struct str name = json_string(json_get(metadata, "name"));
        int r = api_client_delete(api, kind, name, json_string(json_get(metadata, "uid")), error);

        if (r == 0)
                printf("%s/%.*s deleted\n", kind == &kind_sandbox ? "sandbox" : "claim",
                       STR_FORMAT(name));
        return r;
}

/* A claim takes its Sandbox along. A Sandbox that a claim holds is not taken away from it. */
static int remove_one(struct api_client *api, const char *text, struct error *error)
{
        _cleanup_(found_deinit) struct found found = {};
        struct name name;
        int r = name_parse(text, error, &name);

        if (r == 0)
                r = look(api, &name, error, &found);
        if (r < 0)
                return r;
        if (!found.sandbox)
                return delete (api, &kind_sandbox_claim, found.claim, error);
        struct str holder = owner_name(json_root(found.sandbox), &kind_sandbox_claim);
        if (found.claim && str_equal(holder, name.text))
                return delete (api, &kind_sandbox_claim, found.claim, error);
        if (found.claim)
                return error_set(error, -EINVAL,
                                 "there are a sandbox and a claim %s: say sandbox/%s or claim/%s",
                                 text, text, text);
        if (holder.length > 0)
                return error_set(error, -EBUSY,
                                 "sandbox %.*s is held by a claim: cay rm claim/%.*s",
                                 STR_FORMAT(name.text), STR_FORMAT(holder));
        return delete (api, &kind_sandbox, found.sandbox, error);
}

int command_rm(int argc, char **argv, struct error *error)
{
        struct api_client_options options = {};
        const struct option_spec specs[] = {
                API_CLIENT_OPTIONS(&options),
                OPTION_END,
        };
        struct api_client api = {};
        int operands, failure = 0;

        if (command_help(command_find("rm"), specs, argc, argv))
                return 0;
        int r = options_parse(specs, argc, argv, false, error, &operands);
        if (r == 0 && operands == 0)
                r = error_set(error, -EINVAL, "name a sandbox or claim: cay rm NAME…");
        if (r == 0)
                r = api_client_open(&api, &options, error);
        if (r < 0)
                return r;
        for (int i = 1; i <= operands && failure != -EINTR; i++) {
                struct error one = {};
                r = remove_one(&api, argv[i], &one);
                if (r < 0)
                        fprintf(stderr, "cay rm: %s\n", one.message);
                failure = r < 0 ? r : failure;
        }
        api_client_close(&api);
        return failure < 0 ? 1 : 0;
}
