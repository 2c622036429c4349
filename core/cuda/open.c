/* core/cuda/open.c - find the CUDA module, load it, and check that it speaks this interface.
 *
 * This file is all of CUDA that a program links: libc's dlopen. The module is loaded with local symbols and
 * never unloaded, since the CUDA libraries keep threads and exit handlers of their own.
 */
#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/file.h"
#include "core/cuda/cuda.h"

typedef struct opened {
    lmb_cuda cuda; /* first: what the caller holds */
    char path[PATH_MAX];
} opened;

static lmb_status beside_program(char path[PATH_MAX], lmb_error *err)
{
    char exe[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", exe, sizeof exe - 1);

    if (n <= 0)
        return LMB_FAIL(err, LMB_E_IO, "cannot tell where this program lies (/proc/self/exe: %s); set LMB_CUDA_MODULE "
                        "to the path of %s", strerror(errno), LMB_CUDA_MODULE_FILE);
    exe[n] = '\0';
    char *slash = strrchr(exe, '/');
    if (slash)
        *slash = '\0';
    return lmb_path_join(path, PATH_MAX, exe, LMB_CUDA_MODULE_FILE, err);
}

/* The file to load, as an absolute path: a name without a slash would send dlopen along the system's folders. */
static lmb_status locate(const char *dir, char path[PATH_MAX], lmb_error *err)
{
    const char *named = dir ? NULL : secure_getenv("LMB_CUDA_MODULE");
    char wanted[PATH_MAX];

    if (dir)
        LMB_TRY(lmb_path_join(wanted, sizeof wanted, dir, LMB_CUDA_MODULE_FILE, err));
    else if (!named)
        LMB_TRY(beside_program(wanted, err));
    const char *file = named ? named : wanted;
    if (realpath(file, path))
        return LMB_OK;
    return LMB_FAIL(err, LMB_E_UNSUPPORTED, "this installation has no CUDA module (%s: %s); build with the CUDA "
                    "toolkit, cuDNN and NCCL installed, or set LMB_CUDA_MODULE to the path of %s",
                    file, strerror(errno), LMB_CUDA_MODULE_FILE);
}

static lmb_status check_table(const lmb_cuda_api *api, const char *path, lmb_error *err)
{
    if (api->version != LMB_CUDA_API)
        return LMB_FAIL(err, LMB_E_UNSUPPORTED, "%s speaks version %u of the CUDA interface and this program version "
                        "%d; build both from the same sources", path, api->version, LMB_CUDA_API);
    if (api->size != sizeof *api)
        return LMB_FAIL(err, LMB_E_FORMAT, "the table of %s has %u bytes instead of %zu; build the module again", path,
                        api->size, sizeof *api);
    return LMB_OK;
}

lmb_status lmb_cuda_open(const char *dir, lmb_cuda **out, lmb_error *err)
{
    opened *o = calloc(1, sizeof *o);
    lmb_status st;

    if (!o)
        return LMB_FAIL(err, LMB_E_NOMEM, "out of memory (%zu bytes)", sizeof *o);
    LMB_TRY_GOTO(st, fail, locate(dir, o->path, err));

    void *module = dlopen(o->path, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    if (!module) {
        st = LMB_FAIL(err, LMB_E_DEVICE, "cannot load the CUDA module: %s; install the CUDA libraries it was built "
                      "with, or add their folder to LD_LIBRARY_PATH", dlerror());
        goto fail;
    }
    const lmb_cuda_api *api = dlsym(module, LMB_CUDA_MODULE_TABLE);
    if (api)
        st = check_table(api, o->path, err);
    else
        st = LMB_FAIL(err, LMB_E_FORMAT, "%s is no CUDA module of Limbeck: it has no symbol %s", o->path,
                      LMB_CUDA_MODULE_TABLE);
    dlclose(module); /* gives back the handle; RTLD_NODELETE keeps the module */
    if (st != LMB_OK)
        goto fail;

    o->cuda.api = api;
    o->cuda.path = o->path;
    *out = &o->cuda;
    return LMB_OK;
fail:
    free(o);
    return st;
}

void lmb_cuda_close(lmb_cuda *cuda)
{
    free(cuda);
}
