/* Mirrors launch/doctor*.c: a machine made of files, and ranks made of rows. The command itself:
 * tests/mpi/test_doctor.sh. */
#include "launch/doctor.h"

#include <string.h>
#include <sys/stat.h>

#include "core/base/file.h"
#include "core/cpu/cpu.h"
#include "tests/comm/fake_nccl.h"
#include "tests/launch/findings.h"
#include "tests/temp_dir.h"

static lmb_error err;
static char root[128];

static void begin(void)
{
    err = (lmb_error)LMB_ERROR_INIT;
    temp_make(root, sizeof root);
}

static void put(const char *dir, const char *name, const char *text)
{
    char path[300];
    snprintf(path, sizeof path, "%s%s", root, dir);
    ck_ok(lmb_file_make_dirs(path, &err));
    snprintf(path, sizeof path, "%s%s/%s", root, dir, name);
    ck_ok(lmb_file_write(path, text, strlen(text), &err));
}

START_TEST(a_machine_without_limits)
{
    lmb_findings all = { .n = 0 };

    begin();
    put("/proc", "meminfo", "MemTotal:       16777216 kB\nMemFree: 1 kB\nMemAvailable:    8388608 kB\n");
    put("/proc/self", "cgroup", "0::/user.slice\n");
    put("/sys/fs/cgroup/user.slice", "cpu.max", "max 100000\n");
    put("/sys/fs/cgroup/user.slice", "memory.max", "max\n");
    lmb_doctor_host(root, 2, 16, &all);
    if (strstr(get(&all, "processor")->found, "avx512bf16") && lmb_backend_onednn())
        ck_says(get(&all, "processor")->use, "times that rate");
    ck_assert_int_eq(get(&all, "processors")->health, LMB_FINE);
    ck_says(get(&all, "processors")->use, "train.threads=8 for each of 2 ranks");
    ck_assert_int_eq(get(&all, "memory")->health, LMB_FINE);
    ck_assert_str_eq(get(&all, "memory")->found, "16.0 GiB, 8.0 GiB of it available");
    ck_assert_int_eq(get(&all, "shared memory")->health, LMB_LIMITS); /* there is no /dev/shm under this root */
    temp_remove(root);
}
END_TEST

/* Version 2 by its path, version 2 seen from inside a container, and version 1. */
START_TEST(limits_of_a_container_are_found)
{
    static const char *const folders[] = { "/sys/fs/cgroup/job/7", "/sys/fs/cgroup" };

    for (int way = 0; way < 3; way++) {
        lmb_findings all = { .n = 0 };
        begin();
        put("/proc", "meminfo", "MemTotal:       16777216 kB\nMemAvailable:    8388608 kB\n");
        put("/proc/self", "cgroup", way == 2 ? "9:name=systemd:/\n8:cpu:/\n" : "9:x:/y\n0::/job/7\n");
        if (way < 2) {
            put(folders[way], "cpu.max", "250000 100000\n");
            put(folders[way], "memory.max", "2147483648\n");
        } else {
            put("/sys/fs/cgroup/cpu", "cpu.cfs_quota_us", "250000\n");
            put("/sys/fs/cgroup/cpu", "cpu.cfs_period_us", "100000\n");
            put("/sys/fs/cgroup/memory", "memory.limit_in_bytes", "2147483648\n");
        }
        lmb_doctor_host(root, 1, 16, &all);
        ck_assert_int_eq(get(&all, "processors")->health, LMB_LIMITS);
        ck_says(get(&all, "processors")->found, "worth 2.5");
        ck_says(get(&all, "processors")->use, "train.threads=2 ");
        ck_assert_int_eq(get(&all, "memory")->health, LMB_LIMITS);
        ck_says(get(&all, "memory")->found, "but 2.0 GiB at most");
        temp_remove(root);
    }
}
END_TEST

START_TEST(more_ranks_than_processors)
{
    lmb_findings all = { .n = 0 };

    begin();
    put("/sys/fs/cgroup/cpu", "cpu.cfs_quota_us", "-1\n"); /* no limit */
    put("/sys/fs/cgroup/cpu", "cpu.cfs_period_us", "100000\n");
    lmb_doctor_host(root, 4, 2, &all);
    ck_assert_int_eq(get(&all, "processors")->health, LMB_LIMITS);
    ck_says(get(&all, "processors")->use, "train.threads=1 ");
    ck_says(get(&all, "processors")->advice, "start fewer");
    temp_remove(root);
}
END_TEST

START_TEST(a_driver_says_its_version)
{
    lmb_findings all = { .n = 0 };

    begin();
    put("/proc/driver/nvidia", "version", "NVRM version: NVIDIA UNIX x86_64 Kernel Module  580.95\nGCC version: 12\n");
    setenv("LMB_CUDA_MODULE", "/nonexistent/module.so", 1);
    lmb_doctor_gpu(root, -1, &all);
    ck_assert_int_eq(get(&all, "GPU driver")->health, LMB_FINE);
    ck_assert_str_eq(get(&all, "GPU driver")->found, "NVRM version: NVIDIA UNIX x86_64 Kernel Module  580.95");
    ck_assert_int_eq(get(&all, "CUDA libraries")->health, LMB_ABSENT);
    ck_says(get(&all, "CUDA libraries")->advice, "/nonexistent/module.so");
    ck_assert_int_eq(get(&all, "GPUs")->health, LMB_ABSENT);
    temp_remove(root);
}
END_TEST

static void describe(lmb_rank_about *r, const char *host, const char *program, int processor, int gpus)
{
    memset(r, 0, sizeof *r);
    snprintf(r->host, sizeof r->host, "%s", host);
    snprintf(r->program, sizeof r->program, "%s", program);
    r->may[processor / 8] = (unsigned char)(1 << processor % 8);
    r->gpus = gpus;
}

START_TEST(ranks_that_fit)
{
    lmb_rank_about r[4];
    lmb_findings all = { .n = 0 };
    int ranks, processors;

    for (int i = 0; i < 4; i++)
        describe(&r[i], i < 2 ? "a" : "b", "abc", i == 3 ? 2 : i, 2); /* the two on b share a processor */
    lmb_doctor_compare(r, 4, &all);
    ck_assert_int_eq(get(&all, "ranks")->health, LMB_FINE);
    ck_assert_str_eq(get(&all, "ranks")->found,
                     "4 on 2 machines; a: 2 with 2 processors, 2 GPUs; b: 2 with 1 processors, 2 GPUs");
    lmb_doctor_machine(r, 4, 0, &ranks, &processors);
    ck_assert(ranks == 2 && processors == 2);
}
END_TEST

START_TEST(ranks_that_do_not_fit)
{
    lmb_rank_about r[3];
    lmb_findings all = { .n = 0 }, crowd = { .n = 0 }, uneven = { .n = 0 };

    for (int i = 0; i < 3; i++)
        describe(&r[i], i < 2 ? "a" : "b", i == 2 ? "def" : "abc", i, 2);
    lmb_doctor_compare(r, 3, &all);
    ck_assert_int_eq(get(&all, "ranks")->health, LMB_WRONG);
    ck_says(get(&all, "ranks")->advice, "rank 2 on b runs another program (def) than rank 0 on a (abc)");
    for (int i = 0; i < 3; i++)
        describe(&r[i], "a", "abc", i, 2);
    lmb_doctor_compare(r, 3, &crowd);
    ck_assert_int_eq(get(&crowd, "ranks")->health, LMB_LIMITS);
    ck_says(get(&crowd, "ranks")->advice, "a has 3 ranks and 2 GPUs");
    describe(&r[1], "b", "abc", 0, 1);
    lmb_doctor_compare(r, 3, &uneven);
    ck_says(get(&uneven, "ranks")->advice, "b has 1 GPUs, a has 2");
}
END_TEST

/* One process has nobody to talk to: no rows, no failure. */
START_TEST(alone_there_are_no_links)
{
    lmb_comm *c = NULL;
    lmb_link link[LMB_LINKS];
    int n = 99;

    err = (lmb_error)LMB_ERROR_INIT;
    ck_ok(lmbi_comm_open_self(&c, &err));
    ck_ok(lmb_doctor_collectives(c, link, &n, &err));
    ck_assert_int_eq(n, 0);
    lmb_comm_close(c);
}
END_TEST

/* Every way between GPUs, over one rank on host memory; and (case 1) numbers that come out wrong. */
START_TEST(gpus_are_measured_and_checked)
{
    lmb_comm *c = NULL;
    lmb_link link[LMB_LINKS];
    int n = 0;

    err = (lmb_error)LMB_ERROR_INIT;
    memset(&fake, 0, sizeof fake);
    fake.corrupt = _i;
    ck_ok(lmbi_comm_open_self(&c, &err));
    lmb_status st = lmb_doctor_gpus(c, &fake_api, 0, false, link, &n, &err);
    if (_i == 0) {
        ck_ok(st);
        ck_assert_int_eq(n, 12);
        for (int i = 0; i < n; i++)
            ck_assert(link[i].seconds > 0);
        ck_assert_str_eq(link[3].what, "GPUs: sum, bf16");
        ck_assert_uint_eq(link[3].bytes, 2048);
    } else {
        ck_assert_int_eq(st, LMB_E_PEER);
        ck_says(err.msg, "rank 0 got wrong numbers from its GPU (GPUs: sum, f32, 1024 numbers)");
        ck_assert_int_eq(n, 0);
    }
    ck_assert(fake.streams == 0 && !fake.alive);
    lmb_comm_close(c);
}
END_TEST

START_TEST(a_gpu_for_every_rank)
{
    lmb_rank_about r[3];

    describe(&r[0], "a", "abc", 0, 2);
    describe(&r[1], "b", "abc", 0, 1);
    describe(&r[2], "a", "abc", 1, 2);
    ck_assert_int_eq(lmb_doctor_device(r, 3, 0), 0);
    ck_assert_int_eq(lmb_doctor_device(r, 3, 1), 0);
    ck_assert_int_eq(lmb_doctor_device(r, 3, 2), 1);
    r[0].gpus = r[2].gpus = 1;
    ck_assert_int_eq(lmb_doctor_device(r, 3, 1), -1); /* on another host, some share one */
    r[2].set.b[0] = 1; /* a launcher has shown each of them one of its own: number 0 to both */
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(lmb_doctor_device(r, 3, i), 0);
    lmb_findings all = { .n = 0 };
    describe(&r[1], "b", "abc", 0, 2);
    lmb_doctor_compare(r, 3, &all);
    ck_assert_int_eq(get(&all, "ranks")->health, LMB_FINE);
    ck_assert_str_eq(get(&all, "ranks")->found,
                     "3 on 2 machines; a: 2 with 2 processors, 2 GPUs; b: 1 with 1 processors, 2 GPUs");
}
END_TEST

LMB_TEST_MAIN("launch/doctor", add(a_machine_without_limits); add(limits_of_a_container_are_found);
              add(more_ranks_than_processors); add(a_driver_says_its_version); add(ranks_that_fit);
              add(ranks_that_do_not_fit); add(alone_there_are_no_links); add_loop(gpus_are_measured_and_checked, 2);
              add(a_gpu_for_every_rank);)
