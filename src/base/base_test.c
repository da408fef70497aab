// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/statfs.h>
#include <time.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/buffer.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/list.h"
#include "base/options.h"
#include "base/random.h"
#include "base/str.h"
#include "base/test.h"

static void name_hash_has_the_published_vectors(void **state)
{
        (void)state;
        assert_int_equal(str_fnv1a(STR("")), 0x811c9dc5);
        assert_int_equal(str_fnv1a(STR("a")), 0xe40c292c);
        assert_int_equal(str_fnv1a(STR("my-sandbox")), 0x374de8f5);
        assert_int_equal(str_fnv1a(STR("python-warmpool")), 0x99619c39);
}

static void cut_and_trim(void **state)
{
        struct str head, tail;

        (void)state;
        /* What UBSan sees: nothing is added to NULL. */
        assert_null(str_slice(STR_EMPTY, 0, 0).data);
        assert_true(str_cut(STR("a/b/c"), '/', &head, &tail));
        assert_true(str_equal(head, STR("a")));
        assert_true(str_equal(tail, STR("b/c")));
        assert_false(str_cut(STR("abc"), '/', &head, &tail));
        assert_true(str_equal(head, STR("abc")));
        assert_int_equal(tail.length, 0);
        assert_true(str_equal(str_trim(STR(" \tx y\t")), STR("x y")));
        assert_int_equal(str_trim(STR("  ")).length, 0);
}

static void numbers_are_digits_only(void **state)
{
        uint64_t value = 7;

        (void)state;
        assert_int_equal(str_to_u64(STR("18446744073709551615"), UINT64_MAX, &value), 0);
        assert_true(value == UINT64_MAX);
        assert_int_equal(str_to_u64(STR("18446744073709551616"), UINT64_MAX, &value), -ERANGE);
        assert_int_equal(str_to_u64(STR("8"), 7, &value), -ERANGE);
        assert_int_equal(str_to_u64(STR(""), 7, &value), -EINVAL);
        assert_int_equal(str_to_u64(STR("+1"), 7, &value), -EINVAL);
        assert_int_equal(str_to_u64(STR("1 "), 7, &value), -EINVAL);
}

static void hexadecimal_digits_have_values(void **state)
{
        (void)state;
        assert_int_equal(hex_digit('0'), 0);
        assert_int_equal(hex_digit('9'), 9);
        assert_int_equal(hex_digit('a'), 10);
        assert_int_equal(hex_digit('F'), 15);
        for (const char *c = "/:@G`g \x19\x01"; *c; c++)
                assert_int_equal(hex_digit(*c), -1);
        assert_int_equal(hex_digit('\0'), -1);
}

static void comparison_orders_bytewise_then_by_length(void **state)
{
        (void)state;
        assert_true(str_compare(STR("a"), STR("b")) < 0);
        assert_true(str_compare(STR("ab"), STR("a")) > 0);
        assert_int_equal(str_compare(STR(""), STR("")), 0);
        assert_true(str_equal_ignoring_case(STR("Content-Type"), STR("content-TYPE")));
        assert_false(str_equal_ignoring_case(STR("a"), STR("ab")));
}

static void a_buffer_grows_and_is_stolen(void **state)
{
        _cleanup_buffer_ struct buffer buffer = {};
        _cleanup_free_ char *text = NULL;
        size_t length;

        (void)state;
        for (int i = 0; i < 1000; i++)
                assert_int_equal(buffer_printf(&buffer, "%d,", i % 10), 0);
        assert_int_equal(buffer.length, 2000);
        buffer_consume(&buffer, 1998);
        assert_true(str_equal(buffer_str(&buffer), STR("9,")));
        assert_int_equal(buffer_reserve(&buffer, SIZE_MAX), -EOVERFLOW);
        assert_int_equal(buffer_steal(&buffer, &text, &length), 0);
        assert_string_equal(text, "9,");
        assert_int_equal(length, 2);
        assert_null(buffer.data);
}

static void an_arena_gives_zeroed_memory_again_after_reset(void **state)
{
        _cleanup_arena_ struct arena arena = {};

        (void)state;
        for (int round = 0; round < 3; round++) {
                for (int i = 0; i < 500; i++) {
                        char *memory = arena_alloc(&arena, 100);
                        assert_non_null(memory);
                        for (int k = 0; k < 100; k++)
                                assert_int_equal(memory[k], 0);
                        memset(memory, 0xff, 100);
                }
                arena_reset(&arena);
        }
        assert_null(arena_alloc_array(&arena, SIZE_MAX / 2, 3));
        assert_true(str_equal(arena_printf(&arena, "%s-%d", "x", 7), STR("x-7")));
}

static void the_calendar_is_that_of_the_c_library(void **state)
{
        char text[RFC3339_SECONDS_SIZE], wanted[RFC3339_SECONDS_SIZE];
        const time_t last = 9214646399; /* 2261-12-31T23:59:59Z */
        uint64_t back;

        (void)state;
        /* Each day from the first to the last, at times of the day that go around. */
        for (time_t seconds = 0; seconds <= last; seconds += 86400 + 61) {
                struct tm parts;
                gmtime_r(&seconds, &parts);
                strftime(wanted, sizeof(wanted), "%Y-%m-%dT%H:%M:%SZ", &parts);
                rfc3339_format_seconds((uint64_t)seconds * NS_PER_SECOND, text);
                assert_string_equal(text, wanted);
                assert_int_equal(rfc3339_parse(str_from(text), &back), 0);
                assert_true(back == (uint64_t)seconds * NS_PER_SECOND);
        }
}

static void time_goes_through_rfc3339_and_back(void **state)
{
        static const struct {
                const char *text;
                uint64_t ns;
        } good[] = {
                { "1970-01-01T00:00:00Z", 0 },
                { "2026-11-21T10:00:00Z", UINT64_C(1795255200000000000) },
                { "2026-11-21T12:00:00.5+02:00", UINT64_C(1795255200500000000) },
                { "2024-02-29T00:00:00.000000001Z", UINT64_C(1709164800000000001) },
        };
        static const char *const bad[] = {
                "",
                "2026-11-21",
                "2026-11-21T10:00:00",
                "2026-02-29T00:00:00Z",
                "2026-13-01T00:00:00Z",
                "2026-11-21T24:00:00Z",
                "2026-11-21T10:00:00.Z",
                "2026-11-21T10:00:00Zx",
                "1969-12-31T23:59:59Z",
                "1970-01-01T00:00:00+01:00",
        };
        char text[RFC3339_NANO_SIZE];
        uint64_t ns;

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
                assert_int_equal(rfc3339_parse(str_from(good[i].text), &ns), 0);
                assert_true(ns == good[i].ns);
        }
        for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
                assert_true(rfc3339_parse(str_from(bad[i]), &ns) < 0);
        rfc3339_format_seconds(good[2].ns, text);
        assert_string_equal(text, "2026-11-21T10:00:00Z");
        rfc3339_format_micro(good[2].ns, text);
        assert_string_equal(text, "2026-11-21T10:00:00.500000Z");
        rfc3339_format_nano(good[3].ns, text);
        assert_string_equal(text, "2024-02-29T00:00:00.000000001Z");
}

static void random_names_use_kubernetes_alphabet(void **state)
{
        char suffix[NAME_SUFFIX_LENGTH + 1], uuid[UUID_SIZE], other[UUID_SIZE];

        (void)state;
        for (int i = 0; i < 100; i++) {
                random_name_suffix(suffix);
                assert_int_equal(strlen(suffix), NAME_SUFFIX_LENGTH);
                assert_int_equal(strspn(suffix, "bcdfghjklmnpqrstvwxz2456789"), NAME_SUFFIX_LENGTH);
        }
        random_uuid(uuid);
        random_uuid(other);
        assert_int_equal(strlen(uuid), 36);
        assert_int_equal(uuid[14], '4');
        assert_string_not_equal(uuid, other);
}

static void a_file_is_replaced_whole(void **state)
{
        char folder[] = "/tmp/base_test.XXXXXX";
        _cleanup_buffer_ struct buffer buffer = {};

        (void)state;
        assert_non_null(mkdtemp(folder));
        _cleanup_close_ int directory = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        assert_int_equal(file_write_atomic(directory, "f", STR("one"), 0600), 0);
        assert_int_equal(file_write_atomic(directory, "f", STR("second"), 0600), 0);
        assert_int_equal(file_read(directory, "f", 5, &buffer), -EFBIG);
        buffer_clear(&buffer);
        assert_int_equal(file_read(directory, "f", 6, &buffer), 0);
        assert_true(str_equal(buffer_str(&buffer), STR("second")));
        assert_int_equal(file_read(directory, "absent", 6, &buffer), -ENOENT);
        unlinkat(directory, "f", 0);
        assert_int_equal(rmdir(folder), 0); /* no temporary file is left */
}

static void a_folder_is_spread_where_that_is_known(void **state)
{
        char folder[] = "/tmp/base_test.XXXXXX";
        struct statfs info;
        int before, after;

        (void)state;
        assert_non_null(mkdtemp(folder));
        _cleanup_close_ int directory = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        bool has_flags = ioctl(directory, FS_IOC_GETFLAGS, &before) == 0;
        folder_spread(directory);
        folder_spread(directory);
        /* Not every file system keeps this flag: one that does not must not have changed others. */
        if (has_flags) {
                assert_int_equal(ioctl(directory, FS_IOC_GETFLAGS, &after), 0);
                assert_int_equal(after & ~FS_TOPDIR_FL, before & ~FS_TOPDIR_FL);
        }
        if (has_flags && fstatfs(directory, &info) == 0 && info.f_type == EXT4_SUPER_MAGIC)
                assert_true(after & FS_TOPDIR_FL);
        assert_int_equal(rmdir(folder), 0);
}

static void errors_carry_their_context(void **state)
{
        struct error error = {};

        (void)state;
        assert_int_equal(error_set(&error, -ENOENT, "no file %s", "x"), -ENOENT);
        assert_int_equal(error_prefix(&error, -ENOENT, "reading %s", "y"), -ENOENT);
        assert_string_equal(error.message, "reading y: no file x");
        assert_int_equal(error_set(NULL, -EIO, "unused"), -EIO);
}

static void a_list_survives_removal_while_walking(void **state)
{
        struct item {
                int value;
                struct list link;
        } items[3] = { { .value = 1 }, { .value = 2 }, { .value = 3 } }, *item;
        struct list head;
        int sum = 0;

        (void)state;
        list_init(&head);
        for (size_t i = 0; i < ARRAY_SIZE(items); i++)
                list_append(&head, &items[i].link);
        list_for_each (item, &head, link) {
                sum = sum * 10 + item->value;
                if (item->value == 2)
                        list_remove(&item->link);
        }
        assert_int_equal(sum, 123);
        sum = 0;
        list_for_each (item, &head, link)
                sum = sum * 10 + item->value;
        assert_int_equal(sum, 13);
}

static void options_fill_their_targets(void **state)
{
        struct {
                const char *name;
                bool verbose, quiet;
                int64_t count;
                uint64_t timeout_ns;
                struct option_strings labels;
        } o = { .name = "unset", .quiet = true };
        const struct option_spec specs[] = {
                OPTION_STRING("name", 'n', &o.name, "NAME", "a name"),
                OPTION_FLAG("verbose", 'v', &o.verbose, "say more"),
                OPTION_FLAG("quiet", 0, &o.quiet, "say less"),
                OPTION_NUMBER("count", 0, &o.count, "N", "how many"),
                OPTION_DURATION("timeout", 0, &o.timeout_ns, "how long"),
                OPTION_STRINGS("label", 'l', &o.labels, "KEY=VALUE", "a label"),
                OPTION_END,
        };
        char *argv[] = { "cay",           "one",        "-n",       "x",     "--verbose",
                         "--quiet=false", "--count=-5", "-timeout", "1m30s", "-l",
                         "a=b",           "--label",    "c=d",      "--",    "--two" };
        char *stops[] = { "cay", "-v", "cmd", "-n" };
        char *unknown[] = { "cay", "--nope" };
        char *missing[] = { "cay", "--count" };
        char *bad[] = { "cay", "--timeout", "soon" };
        char *attached[] = { "cay", "--nope=3" };
        static const char *const truths[] = { "true", "1", "t", "T", "TRUE", "True" };
        static const char *const lies[] = { "false", "0", "f", "F", "FALSE", "False" };
        struct error error = {};
        int operands;

        (void)state;
        assert_int_equal(options_parse(specs, ARRAY_SIZE(argv), argv, false, &error, &operands), 0);
        assert_int_equal(operands, 2);
        assert_string_equal(argv[1], "one");
        assert_string_equal(argv[2], "--two");
        assert_string_equal(o.name, "x");
        assert_true(o.verbose);
        assert_false(o.quiet);
        assert_int_equal(o.count, -5);
        assert_true(o.timeout_ns == 90 * NS_PER_SECOND);
        assert_int_equal(o.labels.count, 2);
        assert_string_equal(o.labels.items[1], "c=d");

        assert_int_equal(options_parse(specs, 4, stops, true, &error, &operands), 0);
        assert_int_equal(operands, 2);
        assert_string_equal(stops[2], "-n");
        assert_int_equal(options_parse(specs, 2, unknown, true, &error, &operands), -EINVAL);
        assert_int_equal(options_parse(specs, 2, missing, true, &error, &operands), -EINVAL);
        assert_int_equal(options_parse(specs, 3, bad, true, &error, &operands), -EINVAL);
        assert_string_equal(error.message,
                            "--timeout takes a duration such as 90s or 1m30s, not 'soon'");
        assert_int_equal(options_parse(specs, 2, attached, true, &error, &operands), -EINVAL);
        assert_string_equal(error.message, "there is no option --nope; see --help");
        for (size_t i = 0; i < ARRAY_SIZE(truths); i++) {
                assert_int_equal(options_set(specs, "quiet", truths[i], &error), 0);
                assert_true(o.quiet);
                assert_int_equal(options_set(specs, "quiet", lies[i], &error), 0);
                assert_false(o.quiet);
        }
        assert_int_equal(options_set(specs, "quiet", "tRUE", &error), -EINVAL);
}

static void letters_of_flags_stand_together(void **state)
{
        bool input = false, terminal = false;
        const char *name = NULL;
        const struct option_spec specs[] = {
                OPTION_FLAG("stdin", 'i', &input, "input"),
                OPTION_FLAG("tty", 't', &terminal, "a terminal"),
                OPTION_STRING("name", 'n', &name, "NAME", "a name"),
                OPTION_END,
        };
        static const char *const bad[] = { "-in", "-ix", "--it", "-it=true", "-i-t" };
        char *both[] = { "cay", "-ti", "box" };
        struct error error = {};
        int operands;

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
                char *argv[] = { "cay", (char *)bad[i], "x" };
                assert_int_equal(options_parse(specs, 3, argv, false, &error, &operands), -EINVAL);
                assert_false(input || terminal || name);
        }
        assert_int_equal(options_parse(specs, 3, both, false, &error, &operands), 0);
        assert_true(input && terminal);
        assert_int_equal(operands, 1);
        assert_string_equal(both[1], "box");
}

static void durations_are_go_durations_or_seconds(void **state)
{
        static const struct {
                struct str text;
                uint64_t ns;
        } good[] = {
                { STR("180"), 180 * NS_PER_SECOND },
                { STR("2.5"), 2500 * NS_PER_MS },
                { STR("200ms"), 200 * NS_PER_MS },
                { STR("1h2m3.5s"), 3723500 * NS_PER_MS },
                { STR("0"), 0 },
                { STR("10us"), 10000 },
        };
        static const struct str bad[] = { STR(""),   STR("s"),     STR("-1s"),
                                          STR("1x"), STR("1..5s"), STR("99999999999999999999h"),
                                          STR("1 s") };
        uint64_t ns;

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
                assert_int_equal(duration_parse(good[i].text, &ns), 0);
                assert_true(ns == good[i].ns);
        }
        for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
                assert_int_equal(duration_parse(bad[i], &ns), -EINVAL);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(name_hash_has_the_published_vectors),
                cmocka_unit_test(cut_and_trim),
                cmocka_unit_test(numbers_are_digits_only),
                cmocka_unit_test(hexadecimal_digits_have_values),
                cmocka_unit_test(comparison_orders_bytewise_then_by_length),
                cmocka_unit_test(a_buffer_grows_and_is_stolen),
                cmocka_unit_test(an_arena_gives_zeroed_memory_again_after_reset),
                cmocka_unit_test(the_calendar_is_that_of_the_c_library),
                cmocka_unit_test(time_goes_through_rfc3339_and_back),
                cmocka_unit_test(random_names_use_kubernetes_alphabet),
                cmocka_unit_test(a_file_is_replaced_whole),
                cmocka_unit_test(a_folder_is_spread_where_that_is_known),
                cmocka_unit_test(errors_carry_their_context),
                cmocka_unit_test(a_list_survives_removal_while_walking),
                cmocka_unit_test(options_fill_their_targets),
                cmocka_unit_test(letters_of_flags_stand_together),
                cmocka_unit_test(durations_are_go_durations_or_seconds),
        };

        return run_unit_tests("base", tests);
}
