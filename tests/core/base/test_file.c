/* Mirrors core/base/file.c. */
#include "core/base/file.h"

#include <string.h>
#include <sys/stat.h>
#include <zlib.h>

#include "tests/check_main.h"
#include "tests/temp_dir.h"

static lmb_error err;
static char dir[256], path[512];

static void setup(void)
{
    err = (lmb_error)LMB_ERROR_INIT;
    temp_make(dir, sizeof dir);
    ck_ok(lmb_path_join(path, sizeof path, dir, "a.bin", &err));
}

START_TEST(write_then_read)
{
    void *data;
    uint64_t size;
    size_t n;

    setup();
    ck_assert(!lmb_file_exists(path));
    ck_ok(lmb_file_write(path, "old", 3, &err));
    ck_ok(lmb_file_write(path, "a\0b", 3, &err));
    ck_ok(lmb_file_append(path, "cd", 2, &err));
    ck_assert(lmb_file_exists(path));
    ck_ok(lmb_file_size(path, &size, &err));
    ck_assert_uint_eq(size, 5);
    ck_ok(lmb_file_read(path, 5, &data, &n, &err));
    ck_assert_uint_eq(n, 5);
    ck_assert_mem_eq(data, "a\0bcd", 6);
    free(data);
    ck_assert_int_eq(lmb_file_read(path, 4, &data, &n, &err), LMB_E_FORMAT);
    ck_assert_ptr_nonnull(strstr(err.msg, "more than the 4 bytes that are read"));
    temp_remove(dir);
}
END_TEST

START_TEST(no_temporary_is_left)
{
    char tmp[600];
    setup();
    snprintf(tmp, sizeof tmp, "%s.tmp", path);
    ck_ok(lmb_file_write(path, "x", 1, &err));
    ck_assert(!lmb_file_exists(tmp));
    ck_ok(lmb_file_write(tmp, "x", 1, &err));
    ck_assert_int_eq(lmb_file_publish(tmp, dir, &err), LMB_E_IO);
    ck_assert(!lmb_file_exists(tmp));
    lmb_error_clear(&err);
    /* Renaming onto a folder that is not empty fails: the old content stays and the temporary goes. */
    ck_ok(lmb_path_join(path, sizeof path, dir, "folder/inside", &err));
    ck_ok(lmb_file_make_dirs(path, &err));
    ck_ok(lmb_path_join(path, sizeof path, dir, "folder", &err));
    ck_assert_int_eq(lmb_file_write(path, "x", 1, &err), LMB_E_IO);
    ck_assert_ptr_nonnull(strstr(err.msg, "is no file"));
    snprintf(tmp, sizeof tmp, "%s.tmp", path);
    ck_assert(!lmb_file_exists(tmp));
    temp_remove(dir);
}
END_TEST

START_TEST(a_full_disk_is_said)
{
    setup();
    if (access("/dev/full", W_OK) == 0) {
        ck_assert_int_eq(lmb_file_append("/dev/full", "12345", 5, &err), LMB_E_IO);
        ck_assert_str_eq(err.msg, "/dev/full: no space left on the disk for 5 bytes; free some and start again");
    }
    temp_remove(dir);
}
END_TEST

START_TEST(missing_files_and_folders_are_said)
{
    void *data;
    size_t n;
    setup();
    ck_assert_int_eq(lmb_file_read(path, 10, &data, &n, &err), LMB_E_IO);
    ck_assert_ptr_nonnull(strstr(err.msg, "there is no such file"));
    lmb_error_clear(&err);
    ck_assert_int_eq(lmb_file_read(dir, 10, &data, &n, &err), LMB_E_IO);
    ck_assert_ptr_nonnull(strstr(err.msg, "not a regular file"));
    lmb_error_clear(&err);
    ck_ok(lmb_file_write(path, "x", 1, &err));
    ck_assert_int_eq(lmb_file_make_dirs(path, &err), LMB_E_IO);
    lmb_error_clear(&err);
    ck_assert_int_eq(lmb_file_make_dirs("", &err), LMB_E_ARG);
    ck_assert_str_eq(err.msg, "the path of a folder is empty; name one");
    temp_remove(dir);
}
END_TEST

START_TEST(a_private_folder_is_its_owners_alone)
{
    static const char *const names[] = { "above/private", "above/with a slash//" };
    struct stat st;

    setup();
    mode_t before = umask(022);
    for (int i = 0; i < 2; i++) {
        ck_ok(lmb_path_join(path, sizeof path, dir, names[i], &err));
        ck_ok(lmb_file_make_private_dir(path, &err));
        ck_ok(lmb_file_make_private_dir(path, &err)); /* it is there */
        ck_assert_int_eq(stat(path, &st), 0);
        ck_assert_uint_eq(st.st_mode & 0777, 0700);
    }
    ck_ok(lmb_path_join(path, sizeof path, dir, "above", &err));
    ck_assert_int_eq(stat(path, &st), 0);
    ck_assert_uint_eq(st.st_mode & 0777, 0755);
    umask(before);
    temp_remove(dir);
}
END_TEST

START_TEST(join_refuses_what_does_not_fit)
{
    char small[8];
    setup();
    ck_ok(lmb_path_join(small, sizeof small, "ab/", "cdef", &err));
    ck_assert_str_eq(small, "ab/cdef");
    ck_assert_int_eq(lmb_path_join(small, sizeof small, "ab", "cdefg", &err), LMB_E_ARG);
    temp_remove(dir);
}
END_TEST

static size_t write_gz(const char *mode, size_t n)
{
    char *text = malloc(n);
    gzFile f = gzopen(path, mode);
    for (size_t i = 0; i < n; i++)
        text[i] = (char)('a' + i % 26);
    ck_assert_int_eq(gzwrite(f, text, (unsigned)n), (int)n);
    gzclose(f);
    free(text);
    return n;
}

START_TEST(gzip_in_one_or_more_members)
{
    void *data;
    size_t n, half;
    uint64_t size;

    setup();
    half = write_gz("wb", 200000);
    write_gz("ab", 50); /* a second member in the same file */
    ck_ok(lmb_file_read(path, 1 << 20, &data, &n, &err)); /* the plain reader does not unpack */
    ck_assert_mem_eq(data, "\x1f\x8b", 2);
    free(data);
    ck_ok(lmb_file_read_gz(path, half + 50, &data, &n, &err));
    ck_assert_uint_eq(n, half + 50);
    ck_assert_mem_eq((char *)data + half, "abc", 3);
    ck_assert_int_eq(((char *)data)[n], 0);
    free(data);
    ck_assert_int_eq(lmb_file_read_gz(path, half + 49, &data, &n, &err), LMB_E_FORMAT);
    lmb_error_clear(&err);
    ck_ok(lmb_file_size(path, &size, &err));
    ck_assert_int_eq(truncate(path, (off_t)size - 4), 0);
    ck_assert_int_eq(lmb_file_read_gz(path, 1 << 20, &data, &n, &err), LMB_E_FORMAT);
    ck_assert_ptr_nonnull(strstr(err.msg, "damaged or ends in the middle"));
    temp_remove(dir);
}
END_TEST

START_TEST(only_files_are_replaced)
{
    char tmp[sizeof path + 8];
    setup();
    ck_assert_int_eq(mkfifo(path, 0600), 0); /* as /dev/null would be, for whoever may */
    ck_assert_int_eq(lmb_file_write(path, "x", 1, &err), LMB_E_IO);
    ck_assert_ptr_nonnull(strstr(err.msg, "is no file"));
    lmb_error_clear(&err);
    snprintf(tmp, sizeof tmp, "%s.tmp", path);
    ck_assert(!lmb_file_exists(tmp));
    ck_ok(lmb_file_write(tmp, "x", 1, &err));
    ck_assert_int_eq(lmb_file_publish(tmp, path, &err), LMB_E_IO);
    ck_assert(!lmb_file_exists(tmp));
    lmb_error_clear(&err);
    temp_remove(dir);
}
END_TEST

START_TEST(gzip_reader_reads_plain_files)
{
    void *data;
    size_t n;
    setup();
    ck_ok(lmb_file_write(path, "plain", 5, &err));
    ck_ok(lmb_file_read_gz(path, 5, &data, &n, &err));
    ck_assert_mem_eq(data, "plain", 6);
    free(data);
    ck_assert_int_eq(lmb_file_read_gz(path, 4, &data, &n, &err), LMB_E_FORMAT);
    temp_remove(dir);
}
END_TEST

LMB_TEST_MAIN("core/base/file", add(write_then_read); add(no_temporary_is_left); add(a_full_disk_is_said);
              add(missing_files_and_folders_are_said); add(a_private_folder_is_its_owners_alone);
              add(join_refuses_what_does_not_fit);
              add(gzip_in_one_or_more_members); add(gzip_reader_reads_plain_files);
              add(only_files_are_replaced);)
