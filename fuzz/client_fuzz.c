// SPDX-License-Identifier: Apache-2.0
#include <stdint.h>
#include <stdlib.h>

#include "client/config.h"
#include "client/exec.h"
#include "client/list_decoder.h"
#include "client/list_watch.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct kind things = { .group = STR("example.com"),
                                    .version = STR("v1"),
                                    .kind = STR("Thing"),
                                    .plural = STR("things"),
                                    .namespaced = true };

/* What a handler may rely on, whatever a server sends. */
static void hear(void *user, const struct kube_event *event)
{
        bool *listing = user;
        bool of_list = event->type == KUBE_LIST_BEGIN || event->type == KUBE_LIST_END;

        if (event->type == KUBE_LIST_END && !*listing)
                abort();
        if (of_list)
                *listing = event->type == KUBE_LIST_BEGIN;
        if (of_list != (event->name.length == 0))
                abort();
        if ((event->type == KUBE_ADDED || event->type == KUBE_MODIFIED) && !event->doc)
                abort();
}

static void init(struct list_watch *lw, bool *listing, bool streamed)
{
        const struct kube_reflector_options options = { .kind = &things,
                                                        .no_watch_list = !streamed,
                                                        .tell_vanished = true,
                                                        .handler = hear,
                                                        .user = listing };

        if (list_watch_init(lw, &options) < 0)
                abort();
}

static void watch(struct str body, size_t piece, bool streamed)
{
        struct list_watch lw;
        struct watch_decoder decoder;
        bool listing = false;
        int r = 0;

        init(&lw, &listing, streamed);
        watch_decoder_init(&decoder, 0);
        list_watch_begun(&lw);
        for (size_t at = 0; at < body.length && r == 0; at += piece)
                r = watch_decoder_feed(&decoder, str_slice(body, at, MIN(at + piece, body.length)),
                                       NULL, list_watch_event, &lw);
        if (r != 0) {
                struct list_watch_failure failure = { .error = MIN(r, 0), .status = 410 };
                enum kube_reflector_state state;
                list_watch_failed(&lw, &failure, &state);
        }
        watch_decoder_deinit(&decoder);
        list_watch_deinit(&lw);
}

/* Wherever it is cut, it is the same list. */
static int page(struct list_watch *lw, struct str body, size_t piece)
{
        _cleanup_doc_ struct json_doc *rest = NULL;
        struct list_decoder decoder;
        int r = 0;

        list_decoder_init(&decoder, 0);
        list_watch_begun(lw);
        for (size_t at = 0; at < body.length && r == 0; at += piece)
                r = list_decoder_feed(&decoder, str_slice(body, at, MIN(at + piece, body.length)),
                                      NULL, list_watch_item, lw);
        if (r == 0)
                r = json_doc_parse(buffer_str(&decoder.rest), NULL, NULL, NULL, &rest);
        if (r == 0)
                r = list_watch_page(lw, rest);
        list_decoder_deinit(&decoder);
        return r;
}

static void pages(struct str body)
{
        struct list_watch lw;
        bool listing = false;
        int results[2];

        for (int i = 0; i < 2; i++) {
                _cleanup_buffer_ struct buffer path = {};
                init(&lw, &listing, false);
                results[i] = page(&lw, body, i == 0 ? 7 : body.length + 1);
                if (results[i] == 0 && list_watch_path(&lw, 1, &path) < 0)
                        abort();
                list_watch_deinit(&lw);
        }
        if (results[0] != results[1])
                abort();
}

static void config(struct str text)
{
        _cleanup_kube_config_ struct kube_config config = {};

        if (kube_config_parse(text, "/nowhere", STR_EMPTY, NULL, &config) < 0)
                return;
        if (config.host.length == 0 || config.port == 0 ||
            (config.certificate.length > 0) != (config.key.length > 0))
                abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        _cleanup_exec_credential_ struct exec_credential credential = {};

        if (size < 2)
                return 0;
        struct str rest = { (const char *)data + 2, size - 2 };
        switch (data[0]) {
        case 'w':
        case 's':
                watch(rest, (size_t)data[1] + 1, data[0] == 's');
                break;
        case 'p':
                pages(rest);
                break;
        case 'c':
                config(rest);
                break;
        default:
                exec_credential_parse(rest, STR_EMPTY, NULL, &credential);
                break;
        }
        return 0;
}
