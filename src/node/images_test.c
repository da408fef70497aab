// SPDX-License-Identifier: Apache-2.0
#include <errno.h>

#include "base/test.h"
#include "node/images.h"

#define DIGEST "@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static void normalises_references(void **state)
{
        static const struct {
                const char *reference, *canonical; /* NULL: refused */
        } cases[] = {
                { "busybox", "docker.io/library/busybox:latest" },
                { "busybox:1.36", "docker.io/library/busybox:1.36" },
                { "docker.io/busybox", "docker.io/library/busybox:latest" },
                { "index.docker.io/library/busybox", "docker.io/library/busybox:latest" },
                { "user/app", "docker.io/user/app:latest" },
                { "localhost/app:x", "localhost/app:x" },
                { "host:5000/a/b__c/d-e.f", "host:5000/a/b__c/d-e.f:latest" },
                { "gcr.io/a/b" DIGEST, "gcr.io/a/b" DIGEST },
                { "a:t" DIGEST, "docker.io/library/a:t" DIGEST },
                { "kind.local/x:v1.0-rc_2", "kind.local/x:v1.0-rc_2" },
                { "", NULL },
                { "A", NULL },
                { "a/", NULL },
                { "/a", NULL },
                { "a//b", NULL },
                { "a:", NULL },
                { "a:.x", NULL },
                { "a@sha256:xyz", NULL },
                { "a@", NULL },
                { "a b", NULL },
                { "../a", NULL },
                { "a..b", NULL },
                { "-a", NULL },
                { "a___b", NULL },
                { "host:port/a", NULL },
                { "a\n", NULL },
        };
        _cleanup_arena_ struct arena arena = {};

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                struct str canonical;
                int r = image_reference_normalise(str_from(cases[i].reference), &arena, &canonical);
                if (!cases[i].canonical) {
                        assert_int_equal(r, -EINVAL);
                        continue;
                }
                assert_int_equal(r, 0);
                assert_string_equal(canonical.data, cases[i].canonical);
        }
}

static void finds_the_built_in_ones(void **state)
{
        const struct images images = {};
        const struct image *image = NULL;

        (void)state;
        assert_int_equal(images_find(&images, STR("busybox"), &image), 0);
        assert_string_equal(image->argv[0], "sh");
        assert_int_equal(images_find(&images, STR("python-runtime-sandbox:latest"), &image), 0);
        assert_string_equal(image->working_dir, "/app");
        /* What is run is in the folder that it brings along. */
        assert_true(str_starts_with(str_from(image->argv[0]), str_from(image->files[0].target)));
        assert_int_equal(images_find(&images, STR("sandbox-router:local"), &image), 0);
        assert_string_equal(image->argv[1], "router");
        assert_int_equal(images_find(&images, STR("sandbox-router"), &image), -ENOENT);
        assert_int_equal(images_find(&images, STR("busybox:1"), &image), -ENOENT);
        assert_int_equal(images_find(&images, STR("busybox" DIGEST), &image), -ENOENT);
        assert_int_equal(images_find(&images, STR("Not Valid"), &image), -EINVAL);
}

static void reads_other_names_from_a_map(void **state)
{
        struct images images = {};
        const struct image *image = NULL;
        struct error error = {};

        (void)state;
        assert_int_equal(images_read_map(&images,
                                         STR("# names of ours\n\n"
                                             "gcr.io/x/py:v1\tpython-runtime-sandbox # note\r\n"
                                             "  tools   busybox:latest"),
                                         &error),
                         0);
        assert_int_equal(images.alias_count, 2);
        assert_int_equal(images_find(&images, STR("gcr.io/x/py:v1"), &image), 0);
        assert_string_equal(image->name, "docker.io/library/python-runtime-sandbox:latest");
        assert_int_equal(images_find(&images, STR("docker.io/library/tools:latest"), &image), 0);
        assert_string_equal(image->name, "docker.io/library/busybox:latest");
        assert_int_equal(images_find(&images, STR("gcr.io/x/py"), &image), -ENOENT);

        static const char *const bad[] = { "a b c", "a", "ok busybox\na nothing-built-in",
                                           "A! busybox" };
        for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
                error = (struct error){};
                assert_int_equal(images_read_map(&images, str_from(bad[i]), &error), -EINVAL);
                assert_non_null(strstr(error.message, i == 2 ? "line 2" : "line 1"));
        }
        assert_int_equal(images.alias_count, 2);
        images_deinit(&images);
        assert_int_equal(images_find(&images, STR("tools"), &image), -ENOENT);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(normalises_references),
                cmocka_unit_test(finds_the_built_in_ones),
                cmocka_unit_test(reads_other_names_from_a_map),
        };

        return run_unit_tests("images", tests);
}
