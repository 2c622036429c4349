/* launch/doctor_host.c - processor, memory and limits of this machine, and of the container we may be in. See doctor.h.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "core/base/str.h"
#include "core/cpu/cpu.h"
#include "launch/doctor.h"

static const double GIB = 1024.0 * 1024.0 * 1024.0;

lmb_finding *lmb_finding_add(lmb_findings *all, const char *topic, lmb_health health)
{
    lmb_finding *f = &all->f[all->n < LMB_FINDINGS ? all->n++ : LMB_FINDINGS - 1];
    *f = (lmb_finding){ .topic = topic, .health = health };
    return f;
}

/* A small file of /proc or /sys; "" when it is not there. These files have no size to ask for. */
static void slurp(const char *root, const char *path, char *text, size_t cap)
{
    char whole[512];

    text[0] = '\0';
    snprintf(whole, sizeof whole, "%s%s", root, path);
    FILE *f = fopen(whole, "r");
    if (!f)
        return;
    text[fread(text, 1, cap - 1, f)] = '\0';
    fclose(f);
}

/* A limit of our control group: of version 2 our own folder's, or, where that path means nothing here (in a container),
 * the top's; of version 1 `old`, which has its own folder for each kind of limit. */
static void group_file(const char *root, const char *name, const char *old, char *text, size_t cap)
{
    char group[4096], path[384];

    slurp(root, "/proc/self/cgroup", group, sizeof group);
    const char *mine = strncmp(group, "0::", 3) == 0 ? group : strstr(group, "\n0::");
    mine = mine ? strstr(mine, "0::") + 3 : "/";
    int n = (int)strcspn(mine, "\n");
    snprintf(path, sizeof path, "/sys/fs/cgroup%.*s/%s", n < 256 ? n : 256, mine, name);
    slurp(root, path, text, cap);
    if (!text[0]) {
        snprintf(path, sizeof path, "/sys/fs/cgroup/%s", name);
        slurp(root, path, text, cap);
    }
    if (!text[0]) {
        snprintf(path, sizeof path, "/sys/fs/cgroup/%s", old);
        slurp(root, path, text, cap);
    }
}

/* Processors' worth of time that the group may have; 0: no limit ("max 100000", "-1"). */
static double time_limit(const char *root)
{
    char text[128], period[64];
    double quota = 0, every = 0;

    group_file(root, "cpu.max", "cpu/cpu.cfs_quota_us", text, sizeof text);
    if (sscanf(text, "%lf %lf", &quota, &every) == 1) {
        slurp(root, "/sys/fs/cgroup/cpu/cpu.cfs_period_us", period, sizeof period);
        every = strtod(period, NULL);
    }
    return quota > 0 && every > 0 ? quota / every : 0;
}

/* Products of bf16 run at twice the rate of f32 on one processor, at half of it on another of the same instructions. */
static void say_bf16(char *to, size_t cap)
{
    double f32 = lmb_cpu_peak(LMB_F32), ratio = lmb_cpu_peak(LMB_BF16) / f32;

    snprintf(to, cap, " (%.0f GFLOP/s a core); train.precision=bf16 has %.2g times that rate here%s", f32 / 1e9, ratio,
             ratio < 1 ? ": it saves memory, seldom time" : "");
}

static void check_processor(lmb_findings *all)
{
    const lmb_backend *list[LMB_CPU_BACKENDS];
    lmb_str s = LMB_STR_INIT;
    lmb_finding *f = lmb_finding_add(all, "processor", LMB_FINE);
    char bf16[140] = "";

    if (lmb_cpu_backends_bf16("cpu", list, &(lmb_error)LMB_ERROR_INIT) == LMB_OK)
        say_bf16(bf16, sizeof bf16);
    lmb_cpu_machine(&s);
    snprintf(f->found, sizeof f->found, "%s", s.text ? s.text : "unknown");
    lmb_str_free(&s);
    snprintf(f->use, sizeof f->use, "kernels of oneDNN and our own in f32%s", bf16);
    if (!lmb_backend_onednn()) {
        f->health = LMB_ABSENT;
        snprintf(f->use, sizeof f->use, "our own kernels, without oneDNN's");
        snprintf(f->advice, sizeof f->advice, "install libdnnl-dev and build again: training is faster with it");
    }
}

static void check_processors(const char *root, int ranks, int may, lmb_findings *all)
{
    long online = sysconf(_SC_NPROCESSORS_ONLN);
    double limit = time_limit(root), share = may;
    lmb_finding *f = lmb_finding_add(all, "processors", LMB_FINE);

    bool limited = limit > 0 && limit < share;
    if (limited)
        share = limit;
    snprintf(f->found, sizeof f->found, "%ld online, %d that may be used%s", online, may,
             limited ? "" : ", no limit of time");
    if (limited) {
        size_t n = strlen(f->found);
        snprintf(f->found + n, sizeof f->found - n, ", but a limit of time worth %.1f (control group)", share);
    }
    double each = share / ranks;
    int threads = each < 1 ? 1 : (int)each;
    snprintf(f->use, sizeof f->use, "train.threads=%d for each of %d rank%s on this machine", threads, ranks,
             ranks == 1 ? "" : "s");
    if (limited || each < 1) {
        f->health = LMB_LIMITS;
        snprintf(
            f->advice, sizeof f->advice, "%s",
            each < 1
                ? "more ranks than processors wait for each other: start fewer"
                : "more threads than that are put to sleep in turn: set train.threads, or raise the container's limit");
    }
}

static void check_memory(const char *root, lmb_findings *all)
{
    char text[4096], limit[64];
    double total = 0, available = 0, most;
    lmb_finding *f = lmb_finding_add(all, "memory", LMB_FINE);

    slurp(root, "/proc/meminfo", text, sizeof text);
    const char *t = strstr(text, "MemTotal:"), *a = strstr(text, "MemAvailable:");
    if (t)
        total = strtod(t + 9, NULL) * 1024;
    if (a)
        available = strtod(a + 13, NULL) * 1024;
    group_file(root, "memory.max", "memory/memory.limit_in_bytes", limit, sizeof limit);
    most = strtod(limit, NULL); /* "max": 0 */
    snprintf(f->found, sizeof f->found, "%.1f GiB, %.1f GiB of it available", total / GIB, available / GIB);
    if (most > 0 && most < total) {
        size_t n = strlen(f->found);
        f->health = LMB_LIMITS;
        snprintf(f->found + n, sizeof f->found - n, ", but %.1f GiB at most for this control group", most / GIB);
        snprintf(f->advice, sizeof f->advice,
                 "a process that takes more is killed without a word: choose train.batch and "
                 "train.memory=small for it, or raise the limit");
    }
}

static void say_limit(char *text, size_t cap, rlim_t v)
{
    if (v == RLIM_INFINITY)
        snprintf(text, cap, "no limit");
    else
        snprintf(text, cap, "%llu", (unsigned long long)v);
}

static void check_limits(lmb_findings *all)
{
    struct rlimit lock = { 0, 0 }, files = { 0, 0 };
    const rlim_t enough_lock = 1u << 26, enough_files = 1024;
    char text[64];

    getrlimit(RLIMIT_MEMLOCK, &lock);
    getrlimit(RLIMIT_NOFILE, &files);
    bool fine = lock.rlim_cur == RLIM_INFINITY || lock.rlim_cur >= enough_lock;
    lmb_finding *f = lmb_finding_add(all, "locked memory", fine ? LMB_FINE : LMB_LIMITS);
    say_limit(text, sizeof text, lock.rlim_cur);
    snprintf(f->found, sizeof f->found, "%s%s", text, lock.rlim_cur == RLIM_INFINITY ? "" : " bytes");
    if (!fine)
        snprintf(f->advice, sizeof f->advice,
                 "InfiniBand and NCCL's network lock their buffers: `ulimit -l unlimited`, or "
                 "memlock in /etc/security/limits.conf, LimitMEMLOCK=infinity of slurmd, --ulimit memlock=-1 of a "
                 "container");
    fine = files.rlim_cur == RLIM_INFINITY || files.rlim_cur >= enough_files;
    f = lmb_finding_add(all, "open files", fine ? LMB_FINE : LMB_LIMITS);
    say_limit(text, sizeof text, files.rlim_cur);
    snprintf(f->found, sizeof f->found, "%s", text);
    if (!fine)
        snprintf(f->advice, sizeof f->advice, "a server with many clients needs one each: `ulimit -n 65536`");
}

static void check_shared(const char *root, int ranks, lmb_findings *all)
{
    struct statvfs v;
    char path[512];
    const double enough =
        0.25 * GIB; /* NCCL takes tens of MiB for each pair of GPUs, MPI's windows a vector for each rank */
    lmb_finding *f = lmb_finding_add(all, "shared memory", LMB_FINE);

    snprintf(path, sizeof path, "%s/dev/shm", root);
    if (statvfs(path, &v) != 0) {
        f->health = LMB_LIMITS;
        snprintf(f->found, sizeof f->found, "no /dev/shm");
    } else {
        double bytes = (double)v.f_bavail * (double)v.f_frsize;
        f->health = bytes < enough * ranks ? LMB_LIMITS : LMB_FINE;
        snprintf(f->found, sizeof f->found, "%.2f GiB free in /dev/shm", bytes / GIB);
    }
    snprintf(f->use, sizeof f->use, "sums over the ranks of one machine");
    if (f->health == LMB_LIMITS)
        snprintf(f->advice, sizeof f->advice,
                 "give a container more (--shm-size=8g; in Kubernetes an emptyDir of medium Memory)");
}

void lmb_doctor_host(const char *root, int ranks, int processors, lmb_findings *all)
{
    check_processor(all);
    check_processors(root, ranks, processors, all);
    check_memory(root, all);
    check_limits(all);
    check_shared(root, ranks, all);
}
