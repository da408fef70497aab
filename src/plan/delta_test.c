// SPDX-License-Identifier: Apache-2.0
#include "base/test.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/failing_allocation.h"
#include "base/limit.h"
#include "plan/delta.h"

#define UID_A "21822431-a1f0-49f7-aec8-8da187cc3fd8"
#define UID_B "44b2ef10-3a35-453b-94e2-0c9ca4c8d3cd"
#define UID_C "44b2ef10-3a35-453b-94e2-0c9ca4c8d3ce"

#define POD(name, uid, version, at, hash, owner, ip)                                               \
        "{\"kind\":\"Pod\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"" name                   \
        "\",\"namespace\":\"default\",\"uid\":\"" uid "\",\"resourceVersion\":\"" version          \
        "\",\"generation\":1,\"creationTimestamp\":\"2026-11-22T00:" at                            \
        "Z\",\"labels\":{\"agents.x-k8s.io/sandbox-name-hash\":\"" hash                            \
        "\"},\"ownerReferences\":[{\"apiVersion\":\"agents.x-k8s.io/v1beta1\",\"kind\":"           \
        "\"Sandbox\",\"name\":\"" name "\",\"uid\":\"" owner                                       \
        "\",\"controller\":true,\"blockOwnerDeletion\":true}]},\"spec\":{\"nodeName\":\"node\","   \
        "\"containers\":[{\"resources\":{}}]},\"status\":{\"phase\":\"Running\",\"podIP\":\"" ip   \
        "\",\"podIPs\":[{\"ip\":\"" ip "\"}],\"conditions\":[{\"type\":\"PodScheduled\","          \
        "\"status\":\"True\",\"lastTransitionTime\":\"2026-11-22T00:" at                           \
        "Z\"},{\"type\":\"Ready\",\"status\":\"True\",\"lastTransitionTime\":\"2026-11-22T00:" at  \
        "Z\"}]}}"

/* Writes and reads `text`, behind what is in the buffer already; returns the delta's length. */
static size_t there_and_back(const struct like *like, struct str text)
{
        _cleanup_buffer_ struct buffer delta = {}, out = {};

        assert_int_equal(delta_write(like, text, &delta), 0);
        assert_int_equal(buffer_append_str(&out, STR("before")), 0);
        /* An allocation of its own, so that a byte too much is read past its end. */
        char *copy = malloc(delta.length + 1);
        assert_non_null(copy);
        memcpy(copy, delta.data, delta.length);
        assert_int_equal(delta_read(like, (struct str){ copy, delta.length }, text.length, &out),
                         0);
        free(copy);
        assert_int_equal(out.length, 6 + text.length);
        assert_memory_equal(out.data, "before", 6);
        assert_memory_equal(out.data + 6, text.data, text.length);
        return delta.length;
}

static void tells_what_differs(void **state)
{
        static const char like_pod[] = POD("bench-00311", UID_A, "1406", "56:10", "a932b96f",
                                           "b88020be-dd8b-412a-96b6-4407506fc09c", "10.128.1.29");
        static const struct {
                const char *like, *text; /* like NULL: none */
                size_t least, most;      /* of the delta */
        } rows[] = {
                { NULL, "", 0, 0 },
                { "", "", 0, 0 },
                { "something", "", 0, 0 },
                { NULL, "a", 2, 2 },
                { "", "abcdefgh", 9, 11 },
                { "abcdefgh", "abcdefgh", 1, 2 },
                { "abcdefgh", "abc", 1, 1 },
                { "abcdefgh", "abcdefghi", 1, 4 },
                { "abcdefgh", "ab", 3, 3 },
                { "the same, longer than a word", "longer than a word, the same", 1, 20 },
                { NULL, "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", 1, 8 },
                { like_pod, like_pod, 1, 3 },
                { like_pod,
                  POD("bench-00a3d", UID_B, "3809", "56:36", "bece8848",
                      "f0ccb447-923d-4348-869e-afdc2d65f4d6", "10.128.3.109"),
                  60, 105 },
                { like_pod,
                  POD("a-longer-name", UID_B, "38091", "59:59", "bece8848",
                      "f0ccb447-923d-4348-869e-afdc2d65f4d6", "fd00::1"),
                  60, 130 },
                { "no like at all", like_pod, 100, 600 },
        };

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
                struct like *like = NULL;
                size_t length;

                if (rows[i].like)
                        assert_int_equal(like_new(str_from(rows[i].like), &like), 0);
                length = there_and_back(like, str_from(rows[i].text));
                if (length < rows[i].least || length > rows[i].most)
                        fail_msg("row %zu: %zu bytes", i, length);
                like_free(like);
        }
}

static void uids_take_half(void **state)
{
        static const struct {
                const char *like, *text;
                size_t most;
        } rows[] = {
                { "{\"uid\":\"" UID_A "\"}", "{\"uid\":\"" UID_B "\"}", 21 },
                { "{\"uid\":\"" UID_A "\"}", "{\"uid\":\"" UID_A "\"}", 3 },
                /* One that begins, or ends, as another is no reason to tell it in two parts, if
                 * these are longer. */
                { "{\"uid\":\"" UID_A "\"}", "{\"uid\":\"2182ef10-3a35-453b-94e2-0c9ca4c8d3cd\"}",
                  21 },
                { "{\"uid\":\"" UID_B "\"}", "{\"uid\":\"" UID_C "\"}", 6 },
                { "{}", "{\"a\":\"" UID_B "\",\"b\":\"" UID_B "\"}", 34 },
                { "[" UID_B "]", "\"" UID_C "\"", 8 },
                { "{}", "\"" UID_B, 18 },
                /* No uids. */
                { "{}", "{\"uid\":\"44B2EF10-3a35-453b-94e2-0c9ca4c8d3cd\"}", 60 },
                { "{}", "{\"uid\":\"44b2ef10-3a35-453b-94e2-0c9ca4c8d3c-\"}", 60 },
                { "{}", "{\"uid\":\"44b2ef1003a35-453b-94e2-0c9ca4c8d3cd\"}", 60 },
                { "{}", "\"44b2ef10-3a35-453b-94e2-0c9ca4c8d3c", 60 },
                { "{}", UID_B "\"", 60 },
        };

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
                struct like *like;
                size_t length;

                assert_int_equal(like_new(str_from(rows[i].like), &like), 0);
                length = there_and_back(like, str_from(rows[i].text));
                if (length > rows[i].most)
                        fail_msg("row %zu: %zu bytes", i, length);
                like_free(like);
        }
}

static uint32_t draw(uint64_t *random, uint32_t below)
{
        *random = *random * 6364136223846793005U + 1442695040888963407U;
        return (uint32_t)(*random >> 33) % below;
}

/* A text of few letters, pieces of the other one and now and then something like a uid. */
static size_t make_text(uint64_t *random, char *text, size_t most, struct str other)
{
        uint32_t letters = 1 + draw(random, 20);
        size_t length = draw(random, 8) ? draw(random, 400) : draw(random, (uint32_t)most);

        for (size_t at = 0; at < length;) {
                size_t room = length - at, from, n;

                switch (draw(random, 6)) {
                case 0:
                        from = other.length ? draw(random, (uint32_t)other.length) : 0;
                        n = draw(random, 90);
                        n = MIN(n, room);
                        n = MIN(n, other.length - from);
                        memcpy(text + at, other.data + from, n);
                        break;
                case 1:
                        n = MIN(room, sizeof(UID_A) + 1);
                        memcpy(text + at, "\"" UID_A "\"", n);
                        if (n > 9)
                                text[at + 1 + draw(random, 8)] =
                                        "0123456789abcdefA"[draw(random, 17)];
                        break;
                case 2:
                        n = draw(random, 60);
                        n = MIN(n, room);
                        n = MIN(n, at);
                        if (n)
                                memmove(text + at, text + at - n, n);
                        break;
                default:
                        n = 1;
                        text[at] = (char)('a' + draw(random, letters));
                }
                at += n;
        }
        return length;
}

static void tells_anything(void **state)
{
        enum { MOST = 40000 };
        char *other = malloc(MOST), *text = malloc(MOST);
        uint64_t random = 1;

        (void)state;
        assert_non_null(other);
        assert_non_null(text);
        for (unsigned i = 0; i < 3000; i++) {
                size_t n = make_text(&random, other, MOST, (struct str){ text, 0 });
                size_t m = make_text(&random, text, MOST, (struct str){ other, n });
                struct like *like;

                assert_int_equal(like_new((struct str){ other, n }, &like), 0);
                there_and_back(like, (struct str){ text, m });
                there_and_back(NULL, (struct str){ text, m });
                like_free(like);
        }
        free(other);
        free(text);
}

/* What cannot be told shorter must still find room. */
static void takes_the_largest(void **state)
{
        _cleanup_buffer_ struct buffer out = {};
        size_t length = LIMIT_BODY;
        char *text = malloc(length + 1);
        uint64_t random = 1;
        struct like *like;

        (void)state;
        assert_non_null(text);
        for (size_t i = 0; i <= length; i++)
                text[i] = (char)(' ' + draw(&random, 95));
        assert_int_equal(delta_write(NULL, (struct str){ text, length + 1 }, &out), -EFBIG);
        assert_in_range(there_and_back(NULL, (struct str){ text, length }), length, length + 16);
        assert_int_equal(like_new((struct str){ text, length }, &like), 0);
        assert_in_range(there_and_back(like, (struct str){ text, length }), 1, 6);
        /* Its end first. */
        for (size_t i = 0; i < length / 2; i++) {
                char c = text[i];

                text[i] = text[length / 2 + i];
                text[length / 2 + i] = c;
        }
        assert_in_range(there_and_back(like, (struct str){ text, length }), 1, length);
        like_free(like);
        free(text);
}

static void reads_when_sealed(void **state)
{
        _cleanup_buffer_ struct buffer delta = {}, out = {};
        struct str text = STR("{\"name\":\"one of those that are alike\"}");
        struct like *like;

        (void)state;
        assert_int_equal(like_new(STR("{\"name\":\"two of those that are alike\"}"), &like), 0);
        assert_int_equal(delta_write(like, text, &delta), 0);
        assert_true(delta.length < text.length / 2);
        like_seal(like);
        assert_int_equal(delta_read(like, buffer_str(&delta), text.length, &out), 0);
        assert_true(str_equal(buffer_str(&out), text));
        like_free(like);
}

static void every_allocation_may_fail(void **state)
{
        struct str text = STR("{\"uid\":\"" UID_A "\",\"name\":\"one\"}");
        long n = 0;

        (void)state;
        for (bool failed = true; failed; n++) {
                _cleanup_buffer_ struct buffer delta = {}, out = {};
                struct like *like = NULL;
                int r;

                allocation_fail_after(n);
                r = like_new(STR("{\"uid\":\"" UID_B "\",\"name\":\"two\"}"), &like);
                if (r == 0)
                        r = delta_write(like, text, &delta);
                if (r == 0)
                        r = delta_read(like, buffer_str(&delta), text.length, &out);
                failed = allocation_failed();
                assert_int_equal(r, failed ? -ENOMEM : 0);
                like_free(like);
        }
        assert_int_equal(n, 5);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(tells_what_differs), cmocka_unit_test(uids_take_half),
                cmocka_unit_test(tells_anything),     cmocka_unit_test(takes_the_largest),
                cmocka_unit_test(reads_when_sealed),  cmocka_unit_test(every_allocation_may_fail),
        };

        return run_unit_tests("delta", tests);
}
