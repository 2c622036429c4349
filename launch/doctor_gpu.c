/* launch/doctor_gpu.c - driver, CUDA, cuDNN, NCCL and the devices, as the CUDA module sees them. See doctor.h. */
#include <stdlib.h>
#include <string.h>

#include "core/cuda/cuda.h"
#include "launch/doctor.h"

enum { COPIED = 128 << 20 }; /* bytes: more than GPUs keep in their caches */

/* The kernel's part of the driver says its version here, also when nothing of CUDA can be used. */
static void check_driver(const char *root, lmb_findings *all)
{
    char path[512], line[256] = "";
    lmb_finding *f = lmb_finding_add(all, "GPU driver", LMB_FINE);

    snprintf(path, sizeof path, "%s/proc/driver/nvidia/version", root);
    FILE *file = fopen(path, "r");
    if (file) {
        if (!fgets(line, sizeof line, file))
            line[0] = '\0';
        fclose(file);
        line[strcspn(line, "\n")] = '\0';
    }
    snprintf(f->found, sizeof f->found, "%s", line[0] ? line : "none loaded");
    if (!line[0]) {
        f->health = LMB_ABSENT;
        snprintf(f->advice, sizeof f->advice,
                 "for an NVIDIA GPU install its driver (Debian: nvidia-driver); a container needs the NVIDIA "
                 "Container Toolkit and --gpus all");
    }
}

static void check_versions(const lmb_cuda_api *api, lmb_findings *all)
{
    lmb_error e = LMB_ERROR_INIT;
    lmb_cuda_versions v;
    lmb_finding *f = lmb_finding_add(all, "CUDA libraries", LMB_FINE);

    if (api->versions(&v, &e) != LMB_OK) {
        f->health = LMB_WRONG;
        snprintf(f->found, sizeof f->found, "%.300s", e.msg);
        return;
    }
    snprintf(f->found, sizeof f->found, "CUDA %d.%d, cuDNN %d.%d.%d, NCCL %d.%d.%d", v.runtime / 1000,
             v.runtime % 1000 / 10, v.cudnn / 10000, v.cudnn % 10000 / 100, v.cudnn % 100, v.nccl / 10000,
             v.nccl % 10000 / 100, v.nccl % 100);
    lmb_doctor_match(v.driver, v.runtime, f);
}

/* The first driver of each major version of CUDA: CUDA Compatibility, "Minor Version Compatibility". */
static int driver_for(int major) { return major >= 13 ? 580 : major == 12 ? 525 : 450; }

void lmb_doctor_match(int driver, int runtime, lmb_finding *f)
{
    const int has[] = { driver / 1000, driver % 1000 / 10 }, wants[] = { runtime / 1000, runtime % 1000 / 10 };

    if (driver == 0)
        return; /* its own row says so */
    if (has[0] < wants[0]) {
        f->health = LMB_WRONG;
        snprintf(f->advice, sizeof f->advice,
                 "the driver takes CUDA up to %d.%d and these libraries are of %d.%d: install driver %d or newer (or, "
                 "on data-centre GPUs, the package cuda-compat-%d-%d), or build with a toolkit of CUDA %d",
                 has[0], has[1], wants[0], wants[1], driver_for(wants[0]), wants[0], wants[1], has[0]);
    } else if (has[0] == wants[0] && has[1] < wants[1]) {
        snprintf(f->advice, sizeof f->advice,
                 "the driver is of CUDA %d.%d, older than these libraries: machine code runs, PTX of %d.%d does not; a "
                 "GPU that the module has no machine code for needs a newer driver",
                 has[0], has[1], wants[0], wants[1]);
    }
}

/* How many there are. */
static int check_devices(const lmb_cuda_api *api, lmb_findings *all)
{
    lmb_error e = LMB_ERROR_INIT;
    const char *visible = getenv("CUDA_VISIBLE_DEVICES");
    int n = 0;
    lmb_finding *f = lmb_finding_add(all, "GPUs", LMB_FINE);

    if (api->device_count(&n, &e) != LMB_OK) {
        f->health = LMB_ABSENT;
        snprintf(f->found, sizeof f->found, "%.300s", e.msg);
        return 0;
    }
    snprintf(f->found, sizeof f->found, "%d", n);
    for (int i = 0; i < n; i++) {
        lmb_cuda_device d;
        size_t at = strlen(f->found);
        if (api->device_info(i, &d, &e) == LMB_OK && at + 100 < sizeof f->found) /* eight of a kind fit */
            snprintf(f->found + at, sizeof f->found - at, "%s %.40s (%.0f GiB, sm_%d%d)", i ? "," : ":", d.name,
                     (double)d.memory / 1073741824.0, d.major, d.minor);
    }
    snprintf(f->use, sizeof f->use, "train.backend=cuda; rank r of a machine takes number r%s%.60s",
             visible ? "; CUDA_VISIBLE_DEVICES=" : "", visible ? visible : "");
    return n;
}

static void try_none(const char *code, lmb_findings *all)
{
    static const char *const topics[] = { "GPU kernel", "GPU memory", "GPU modes", "GPU copies" };
    lmb_finding *f = lmb_finding_add(all, "GPU code", LMB_ABSENT);

    if (code)
        snprintf(f->found, sizeof f->found, "the module has %.200s, and no GPU runs it", code);
    else
        snprintf(f->found, sizeof f->found, "none without CUDA libraries");
    for (int i = 0; i < 4; i++) {
        f = lmb_finding_add(all, topics[i], LMB_ABSENT);
        snprintf(f->found, sizeof f->found, "not tried without a GPU");
    }
}

void lmb_doctor_gpu(const char *root, int device, lmb_findings *all)
{
    lmb_error e = LMB_ERROR_INIT;
    lmb_cuda *cuda = NULL;

    check_driver(root, all);
    if (lmb_cuda_open(NULL, &cuda, &e) != LMB_OK) {
        lmb_finding *f = lmb_finding_add(all, "CUDA libraries", e.status == LMB_E_UNSUPPORTED ? LMB_ABSENT : LMB_WRONG);
        snprintf(f->found, sizeof f->found, "none that can be used");
        snprintf(f->use, sizeof f->use, "processors alone");
        snprintf(f->advice, sizeof f->advice, "%.310s", e.msg);
        f = lmb_finding_add(all, "GPUs", LMB_ABSENT);
        snprintf(f->found, sizeof f->found, "none without CUDA libraries");
        try_none(NULL, all);
        return;
    }
    check_versions(cuda->api, all);
    const int n = check_devices(cuda->api, all);
    if (n == 0)
        try_none(cuda->api->code, all);
    else if (device < 0)
        lmb_doctor_try(cuda->api, 0, n, COPIED, all);
    else
        lmb_doctor_try(cuda->api, device, 1, 0, all);
    lmb_cuda_close(cuda);
}
