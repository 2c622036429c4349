/* launch/doctor_modes.c - how a GPU is set, as NVIDIA's management library (NVML) tells: ECC, MIG, persistence, errors
 * of its memory. See doctor.h.
 *
 * Idea: the library comes with the driver, so it is opened by name, and nothing of the CUDA toolkit is needed. Where it
 * is absent, or does not know a setting (cards of the desk have no ECC), the row says so.
 *
 *   source   NVML API Reference Guide: functions by name, 0 is success; nvmlEnableState_t 0 and 1,
 *            NVML_DEVICE_MIG_DISABLE 0 and _ENABLE 1, NVML_MEMORY_ERROR_TYPE_UNCORRECTED 1, NVML_VOLATILE_ECC 0 (since the driver was loaded)
 */
#include <dlfcn.h>
#include <string.h>

#include "launch/doctor.h"

typedef struct nvml {
    int (*init)(void);
    int (*shutdown)(void);
    int (*find)(const char *where, void **device);
    int (*ecc)(void *device, int *now, int *next);
    int (*errors)(void *device, int type, int counter, unsigned long long *n);
    int (*mig)(void *device, unsigned *now, unsigned *next);
    int (*persistence)(void *device, int *now);
} nvml;

/* All of them are as old as the GPUs that we have code for. */
static bool load(void *library, nvml *out)
{
    static const char *const name[] = { "nvmlInit_v2", "nvmlShutdown", "nvmlDeviceGetHandleByPciBusId_v2",
                                        "nvmlDeviceGetEccMode", "nvmlDeviceGetTotalEccErrors", "nvmlDeviceGetMigMode",
                                        "nvmlDeviceGetPersistenceMode" };
    void *at[sizeof name / sizeof *name];

    _Static_assert(sizeof at == sizeof *out, "a name for each function");
    for (size_t i = 0; i < sizeof name / sizeof *name; i++)
        if (!(at[i] = dlsym(library, name[i])))
            return false;
    memcpy(out, at, sizeof *out);
    return true;
}

static void add(lmb_finding *f, const char *text)
{
    size_t n = strlen(f->found);
    if (n + 60 < sizeof f->found) /* of many GPUs the first few */
        snprintf(f->found + n, sizeof f->found - n, "%s", text);
}

static const char *state(int code, int on) { return code != 0 ? "unknown" : on ? "on" : "off"; }

static void ask(const nvml *v, void *gpu, int device, lmb_finding *f)
{
    int ecc = 0, ecc_next = 0, stays = 0;
    unsigned mig = 0, mig_next = 0;
    unsigned long long errors = 0;
    char text[120];
    const int ecc_code = v->ecc(gpu, &ecc, &ecc_next), mig_code = v->mig(gpu, &mig, &mig_next);
    const int stays_code = v->persistence(gpu, &stays);
    const bool counted = v->errors(gpu, 1, 0, &errors) == 0;

    snprintf(text, sizeof text, "%sGPU %d: ECC %s, MIG %s, persistence %s", f->found[0] ? "; " : "", device,
             state(ecc_code, ecc), state(mig_code, mig != 0), state(stays_code, stays));
    add(f, text);
    if (counted && errors > 0) {
        f->health = LMB_WRONG;
        snprintf(f->advice, sizeof f->advice,
                 "GPU %d counts %llu uncorrectable errors of its memory since the driver was loaded: have it reset "
                 "(nvidia-smi -r) or looked at; until then leave it out (CUDA_VISIBLE_DEVICES)", device, errors);
    } else if (mig_code == 0 && mig && f->health == LMB_FINE) {
        f->health = LMB_LIMITS;
        snprintf(f->advice, sizeof f->advice,
                 "GPU %d is cut into instances (MIG): a process has one of them, with its part of memory and "
                 "processors, and NCCL does not sum between instances of one GPU", device);
    } else if (stays_code == 0 && !stays && !f->advice[0]) {
        snprintf(f->advice, sizeof f->advice,
                 "persistence is off: each first process waits seconds for the driver to wake GPU %d; "
                 "`nvidia-smi -pm 1` or the service nvidia-persistenced keeps it awake", device);
    }
}

void lmb_doctor_modes(const char *where, int device, lmb_finding *f)
{
    void *library = dlopen("libnvidia-ml.so.1", RTLD_NOW | RTLD_LOCAL), *gpu = NULL;
    char text[120];
    nvml v;

    if (library && load(library, &v) && v.init() == 0) {
        if (v.find(where, &gpu) == 0) {
            ask(&v, gpu, device, f);
        } else {
            snprintf(text, sizeof text, "%sGPU %d: NVML does not know %s", f->found[0] ? "; " : "", device, where);
            add(f, text);
        }
        v.shutdown();
    } else if (!f->found[0]) {
        f->health = LMB_ABSENT;
        snprintf(f->found, sizeof f->found, "unknown: NVML (libnvidia-ml.so.1, of the driver) can not be used");
        snprintf(f->advice, sizeof f->advice, "a container needs NVIDIA_DRIVER_CAPABILITIES=compute,utility");
    }
    if (library)
        dlclose(library);
}
