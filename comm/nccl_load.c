/* comm/nccl_load.c - find the NCCL module and check that it speaks comm/nccl_api.h, as core/cuda/open.c does for
 * kernels. */
#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "comm/nccl.h"

static lmb_status locate(char path[PATH_MAX], lmb_error *err)
{
    const char *named = secure_getenv("LMB_NCCL_MODULE");
    char beside[PATH_MAX] = "";

    if (!named) {
        ssize_t n = readlink("/proc/self/exe", beside, sizeof beside - sizeof LMB_NCCL_MODULE_FILE - 1);
        char *slash = n > 0 ? strrchr(beside, '/') : NULL;
        if (slash)
            memcpy(slash + 1, LMB_NCCL_MODULE_FILE, sizeof LMB_NCCL_MODULE_FILE);
    }
    const char *wanted = named ? named : beside;
    if (realpath(wanted, path)) /* absolute: a bare name would send dlopen along the system's folders */
        return LMB_OK;
    return LMB_FAIL(
        err, LMB_E_UNSUPPORTED,
        "this installation has no NCCL module (%s: %s); build with the CUDA toolkit, cuDNN and NCCL installed", wanted,
        strerror(errno));
}

lmb_status lmb_nccl_load(const lmb_nccl_api **out, lmb_error *err)
{
    char path[PATH_MAX];

    LMB_TRY(locate(path, err));
    void *module = dlopen(path, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE); /* NCCL keeps threads: never unloaded */
    if (!module)
        return LMB_FAIL(err, LMB_E_DEVICE, "cannot load the NCCL module: %s; add NCCL's folder to LD_LIBRARY_PATH",
                        dlerror());
    const lmb_nccl_api *api = dlsym(module, LMB_NCCL_MODULE_TABLE);
    lmb_status st = LMB_OK;
    if (!api)
        st = LMB_FAIL(err, LMB_E_FORMAT, "%s is no NCCL module of Limbeck: it has no symbol %s", path,
                      LMB_NCCL_MODULE_TABLE);
    else if (api->version != LMB_NCCL_API || api->size != sizeof *api)
        st = LMB_FAIL(err, LMB_E_UNSUPPORTED,
                      "%s has version %u of the interface (%u bytes), this program version %d (%zu); build "
                      "both from the same sources",
                      path, api->version, api->size, LMB_NCCL_API, sizeof *api);
    dlclose(module);
    if (st == LMB_OK)
        *out = api;
    return st;
}
