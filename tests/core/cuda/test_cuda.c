/* Mirrors core/cuda: finding and refusing modules, and what ours says without a GPU. Needs no device. */
#include "core/cuda/cuda.h"

#include <string.h>
#include <unistd.h>

#include "core/base/file.h"
#include "tests/check_main.h"

#define STAND_INS LMB_BINARY_DIR "/tests/core/cuda/"

static lmb_error err;

static void refuses(const char *dir, lmb_status status, const char *sentence)
{
    lmb_cuda *cuda = NULL;
    err = (lmb_error)LMB_ERROR_INIT;
    ck_assert_int_eq(lmb_cuda_open(dir, &cuda, &err), status);
    ck_assert_msg(strstr(err.msg, sentence) != NULL, "'%s' does not say '%s'", err.msg, sentence);
    ck_assert_ptr_null(cuda);
}

START_TEST(absent_module_is_one_sentence)
{
    refuses("/nowhere", LMB_E_UNSUPPORTED, "no CUDA module (/nowhere/liblimbeck_cuda.so: No such file or directory)");
    refuses("", LMB_E_UNSUPPORTED, "no CUDA module");
    ck_assert_int_eq(unsetenv("LMB_CUDA_MODULE"), 0);
    refuses(NULL, LMB_E_UNSUPPORTED, "tests/core/cuda/liblimbeck_cuda.so"); /* beside this program is none */
}
END_TEST

START_TEST(long_paths_are_refused)
{
    static char dir[8000];
    memset(dir, 'x', sizeof dir - 1);
    lmb_cuda *cuda = NULL;
    ck_assert_int_ne(lmb_cuda_open(dir, &cuda, NULL), LMB_OK);
}
END_TEST

START_TEST(environment_names_a_file_never_a_library_of_the_system)
{
    ck_assert_int_eq(setenv("LMB_CUDA_MODULE", "libm.so.6", 1), 0);
    refuses(NULL, LMB_E_UNSUPPORTED, "(libm.so.6: No such file or directory)");
    ck_assert_int_eq(setenv("LMB_CUDA_MODULE", STAND_INS "no_table/" LMB_CUDA_MODULE_FILE, 1), 0);
    refuses(NULL, LMB_E_FORMAT, "no symbol lmb_cuda_module");
    refuses("/nowhere", LMB_E_UNSUPPORTED, "(/nowhere/"); /* a folder that is given comes first */
    ck_assert_int_eq(unsetenv("LMB_CUDA_MODULE"), 0);
}
END_TEST

START_TEST(other_interfaces_are_refused)
{
    char text[100];
    snprintf(text, sizeof text, "speaks version 999 of the CUDA interface and this program version %d", LMB_CUDA_API);
    refuses(STAND_INS "other_version", LMB_E_UNSUPPORTED, text);
    refuses(STAND_INS "other_size", LMB_E_FORMAT, "has 8 bytes instead of");
    refuses(STAND_INS "no_table", LMB_E_FORMAT, "no symbol lmb_cuda_module");
}
END_TEST

START_TEST(a_file_that_is_no_library)
{
    char dir[] = "/tmp/limbeck-cuda-XXXXXX", path[64];
    err = (lmb_error)LMB_ERROR_INIT;
    ck_assert_ptr_nonnull(mkdtemp(dir));
    ck_ok(lmb_path_join(path, sizeof path, dir, LMB_CUDA_MODULE_FILE, &err));
    ck_ok(lmb_file_write(path, "no library", 10, &err));
    refuses(dir, LMB_E_DEVICE, "cannot load the CUDA module");
    ck_assert_int_eq(unlink(path), 0);
    ck_assert_int_eq(rmdir(dir), 0);
}
END_TEST

#ifdef LMB_HAVE_CUDA
START_TEST(our_module_opens)
{
    lmb_cuda *cuda;
    lmb_cuda_versions v;
    err = (lmb_error)LMB_ERROR_INIT;
    ck_ok(lmb_cuda_open(LMB_BINARY_DIR "/launch", &cuda, &err));
    ck_assert_ptr_nonnull(strstr(cuda->path, "/launch/liblimbeck_cuda.so"));
    ck_ok(cuda->api->versions(&v, &err)); /* the oldest of each that the sources are written for */
    ck_assert_int_ge(v.driver, 0);
    ck_assert_int_ge(v.runtime, 12000);
    ck_assert_int_ge(v.cudnn, 90000);
    ck_assert_int_ge(v.nccl, 20000);

    /* A table without a gap: everything behind the head is a pointer to a function. */
    const char *row = (const char *)&cuda->api->versions, *end = (const char *)(cuda->api + 1);
    for (; row < end; row += sizeof(void (*)(void))) {
        void (*f)(void);
        memcpy(&f, row, sizeof f);
        ck_assert_msg(f != NULL, "entry %d is empty", (int)(row - (const char *)cuda->api));
    }
    lmb_cuda_close(cuda);
}
END_TEST

/* Without a GPU each call is a clean error, and the ones that do nothing still do. */
START_TEST(no_device_is_one_sentence)
{
    lmb_cuda *cuda;
    lmb_cuda_stream *s = NULL;
    void *memory = NULL;
    int n = -1;
    err = (lmb_error)LMB_ERROR_INIT;
    ck_ok(lmb_cuda_open(LMB_BINARY_DIR "/launch", &cuda, &err));
    if (cuda->api->device_count(&n, &err) == LMB_OK) {
        ck_assert_int_ge(n, 1);
    } else {
        ck_assert_int_eq(err.status, LMB_E_DEVICE);
        ck_assert_ptr_eq(strstr(err.msg, "no CUDA device: "), err.msg);
        ck_assert_int_eq(n, -1);
        ck_assert_int_eq(cuda->api->device_select(0, NULL), LMB_E_DEVICE);
        ck_assert_int_eq(cuda->api->stream_create(&s, NULL), LMB_E_DEVICE);
        ck_assert_int_eq(cuda->api->alloc(64, &memory, NULL), LMB_E_DEVICE);
        ck_assert(!s && !memory);
        ck_assert_int_eq(cuda->api->relu(NULL, NULL, 0, NULL, NULL), LMB_OK);
        ck_assert_int_eq(cuda->api->relu(NULL, NULL, 1, NULL, NULL), LMB_E_DEVICE);
    }
    cuda->api->stream_destroy(NULL);
    cuda->api->event_destroy(NULL);
    cuda->api->free(NULL);
    lmb_cuda_close(cuda);
    lmb_cuda_close(NULL);
}
END_TEST
#else
START_TEST(this_build_has_no_module)
{
    refuses(LMB_BINARY_DIR "/launch", LMB_E_UNSUPPORTED, "this installation has no CUDA module");
    lmb_cuda_close(NULL);
}
END_TEST
#endif

LMB_TEST_MAIN("core/cuda/cuda", add(absent_module_is_one_sentence); add(long_paths_are_refused);
              add(environment_names_a_file_never_a_library_of_the_system); add(other_interfaces_are_refused);
              add(a_file_that_is_no_library);
#ifdef LMB_HAVE_CUDA
              add(our_module_opens); add(no_device_is_one_sentence);
#else
              add(this_build_has_no_module);
#endif
)
