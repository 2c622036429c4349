/* Mirrors launch/update_list.c: lists against data sets of pictures and of bare indices. */
#include "launch/update_list.h"

#include <stdlib.h>

#include "tests/datasets/temp_data.h"

static uint32_t *index_of;
static int64_t count;
static lmb_dataset *set;

/* A set of pictures that nobody decodes: <class>/<file>, in the order in which the reader sorts them. */
static void pictures(const char *const *name)
{
    char path[128];

    for (; *name; name++) {
        snprintf(path, sizeof path, "labelled/train/%s", *name);
        put(path, "", 0);
    }
    ck_ok(open_from("{name: folder, path: %s/labelled, channels: 1, height: 2, width: 2}", LMB_PART_TRAIN, &set));
}

static lmb_status list(const char *text)
{
    err = (lmb_error)LMB_ERROR_INIT;
    index_of = NULL;
    put("label.csv", text, strlen(text));
    return lmbi_update_list(in_dir("label.csv"), set, &index_of, &count, &err);
}

/* The list names exactly these files. */
static void names(const char *text, const char *const *file)
{
    int64_t n = 0;

    ck_ok(list(text));
    for (; file[n]; n++) {
        ck_assert_int_lt(n, count);
        ck_assert_str_eq(set->name(set, index_of[n]), file[n]);
    }
    ck_assert_int_eq(n, count);
    free(index_of);
}

static void refuses(const char *text, lmb_status status, const char *says)
{
    lmb_status st = list(text);

    ck_assert_msg(st == status, "%s instead of %s: %s", lmb_status_name(st), lmb_status_name(status), err.msg);
    ck_assert_msg(strstr(err.msg, says) != NULL, "'%s' is not in: %s", says, err.msg);
    err = (lmb_error)LMB_ERROR_INIT;
}

static void done(void)
{
    lmb_dataset_destroy(set);
    end();
}

START_TEST(a_picture_is_found_by_its_name_whatever_the_order)
{
    begin();
    pictures((const char *const[]){ "bar/000052.png", "bar/7.png", "disc/000012.png", "disc/IMG_3.png", "ring/p-4.jpg",
                                    NULL });
    names(
        "number,why,score,answer,file\n12,unsure,0.5,3,\"p.mon\"\n7,strange,1,0,\"p.mon\"\n12,strange,9,3,\"p.mon\"\n",
        (const char *const[]){ "bar/7.png", "disc/000012.png", NULL });
    /* with the device's name before it, too; folders and the suffix are no part of that */
    names("number,file\r\n4,\"/srv/a,b/p.mon\"\r\n52,\"/srv/a,b/p.mon\"\r\n",
          (const char *const[]){ "bar/000052.png", "ring/p-4.jpg", NULL });
    names("number\n0000000052", (const char *const[]){ "bar/000052.png", NULL });
    done();
}
END_TEST

START_TEST(what_is_not_there_is_said)
{
    begin();
    pictures((const char *const[]){ "bar/000052.png", "disc/q-12.png", "disc/IMG_3.png", "ring/1.png", NULL });
    refuses("number,file\n52,p.mon\n12,p.mon\n3,p.mon\n", LMB_E_FORMAT,
            "2 of its 3 samples have no picture in `update.data`: 12, 3 (the first would be 12.png)");
    refuses("number\n0\n2\n3\n4\n5\n6\n7\n", LMB_E_FORMAT,
            "7 of its 7 samples have no picture in `update.data`: 0, 2, 3, 4, 5 ...");
    done();
}
END_TEST

START_TEST(a_sample_is_one_picture)
{
    begin();
    pictures((const char *const[]){ "bar/000012.png", "disc/12.png", "ring/4.png", "ring/p-4.png", NULL });
    refuses("number\n12\n", LMB_E_FORMAT, "sample 12 is two pictures of `update.data`, ");
    refuses("number,file\n4,p.mon\n", LMB_E_FORMAT, "ring/4.png");
    names("number\n4\n", (const char *const[]){ "ring/4.png", NULL });
    done();
}
END_TEST

START_TEST(numbers_of_several_devices_are_told_apart)
{
    begin();
    pictures((const char *const[]){ "bar/phone-1-000052.png", "bar/phone-2-52.png", "bar/phone-2-53.png", "disc/52.png",
                                    "disc/9.png", NULL });
    names("number,file\n52,phone-1.mon\n52,phone-2.mon\n",
          (const char *const[]){ "bar/phone-1-000052.png", "bar/phone-2-52.png", NULL });
    names("number,file\n53,phone-2.mon\n53,phone-2.mon\n", (const char *const[]){ "bar/phone-2-53.png", NULL });
    /* a bare number is nobody's among several */
    refuses("number,file\n52,phone-1.mon\n9,phone-2.mon\n", LMB_E_FORMAT,
            "1 of its 2 samples have no picture in `update.data`: phone-2-9 ");
    refuses("number,file\n52,a/phone-1.mon\n52,b/phone-1.mon\n", LMB_E_FORMAT,
            "two devices of one name, a/phone-1.mon and b/phone-1.mon");
    done();
}
END_TEST

START_TEST(without_names_numbers_are_indices_of_one_device)
{
    begin();
    ck_ok(open_from("{name: synthetic, train: 300, test: 10}", LMB_PART_TRAIN, &set));
    ck_ok(list("number,file\n299,p.mon\n0,p.mon\n"));
    ck_assert_int_eq(count, 2);
    ck_assert_uint_eq(index_of[0], 0);
    ck_assert_uint_eq(index_of[1], 299);
    free(index_of);
    refuses("number\n300\n", LMB_E_FORMAT, "300 is no number of a sample in 0 .. 299");
    refuses("number,file\n1,a.mon\n1,b.mon\n2,c.mon\n", LMB_E_FORMAT, "has samples of 3 devices (a.mon, b.mon ...)");
    done();
}
END_TEST

START_TEST(what_is_no_list_is_refused)
{
    begin();
    ck_ok(open_from("{name: synthetic, train: 300, test: 10}", LMB_PART_TRAIN, &set));
    refuses("", LMB_E_FORMAT, "must be called number");
    refuses("file,number\na,1\n", LMB_E_FORMAT, "must be called number");
    refuses("number,why\n\n", LMB_E_ARG, "names no sample");
    refuses("number\n1\n-2\n", LMB_E_FORMAT, "row 2 has no number");
    refuses("number\n99999999999999999999999\n", LMB_E_FORMAT, "row 1 has no number");
    refuses("number\n18446744073709551616\n", LMB_E_FORMAT, "row 1 has no number");
    refuses("number,file\n1,\"a\n", LMB_E_FORMAT, "row 1 is no CSV");
    refuses("number,file\n1,\"a\"\"", LMB_E_FORMAT, "row 1 is no CSV");
    refuses("number,file\n1,\"a\"b\n", LMB_E_FORMAT, "row 1 is no CSV");
    refuses("number,\"file\n1,a\n", LMB_E_FORMAT, "no CSV");
    put("label.csv", "number\n1\0\n", 10);
    ck_assert_int_eq(lmbi_update_list(in_dir("label.csv"), set, &index_of, &count, &err), LMB_E_FORMAT);
    ck_assert_ptr_nonnull(strstr(err.msg, "is no text"));
    done();
}
END_TEST

LMB_TEST_MAIN("launch/update_list", add(a_picture_is_found_by_its_name_whatever_the_order);
              add(what_is_not_there_is_said); add(a_sample_is_one_picture);
              add(numbers_of_several_devices_are_told_apart); add(without_names_numbers_are_indices_of_one_device);
              add(what_is_no_list_is_refused);)
