/* Mirrors launch/doctor_try.c, doctor_modes.c and what doctor_gpu.c says of versions: a table that plays a module
 * (fake_cuda.h) and a library that plays NVML (played_nvml.c, by LD_LIBRARY_PATH). */
#include "launch/doctor.h"

#include "tests/launch/fake_cuda.h"
#include "tests/launch/findings.h"

static void try(lmb_findings *all, int n, size_t bytes)
{
    all->n = 0;
    lmb_doctor_try(&fake_cuda_api, 0, n, bytes, all);
    ck_assert(fake_cuda.blocks == 0 && fake_cuda.streams == 0);
}

START_TEST(a_gpu_that_does_what_it_is_told)
{
    lmb_findings all;

    fake_cuda_begin();
    try(&all, 1, 1 << 22);
    for (int i = 0; i < all.n; i++)
        ck_assert_msg(all.f[i].health == LMB_FINE && !all.f[i].advice[0], "%s: %s", all.f[i].topic, all.f[i].advice);
    ck_assert_str_eq(get(&all, "GPU code")->found, "GPU 0 runs sm_90");
    ck_says(get(&all, "GPU code")->use, ": sm_80 sm_90 compute_90 ");
    ck_says(get(&all, "GPU kernel")->found, "GPU 0 in ");
    ck_assert_str_eq(get(&all, "GPU memory")->found, "GPU 0: 79.0 of 80.0 GiB free");
    ck_assert_str_eq(get(&all, "GPU modes")->found, "GPU 0: ECC on, MIG off, persistence on");
    const lmb_finding *f = get(&all, "GPU copies");
    double in, in_slow, out, out_slow, on;
    ck_assert_msg(sscanf(f->found, "to the GPU %lf GB/s from pinned and %lf from pageable memory, back %lf and %lf; on "
                         "the GPU %lf GB/s", &in, &in_slow, &out, &out_slow, &on) == 5, "%s", f->found);
    ck_assert(in > 0 && in_slow > 0 && out > 0 && out_slow > 0 && on > 0);
}
END_TEST

START_TEST(of_several_the_one_that_computes_wrong_is_named)
{
    lmb_findings all;

    fake_cuda_begin();
    fake_cuda.wrong = 2;
    try(&all, 4, 0);
    ck_assert_int_eq(get(&all, "GPU kernel")->health, LMB_WRONG);
    ck_says(get(&all, "GPU kernel")->advice, "GPU 2 computes wrong: 1 of 1048576 numbers");
    ck_says(get(&all, "GPU memory")->found, "GPU 3: 79.0 of 80.0 GiB free");
    for (int i = 0; i < all.n; i++)
        ck_assert_str_ne(all.f[i].topic, "GPU copies");
}
END_TEST

START_TEST(a_gpu_that_starts_no_kernel)
{
    lmb_findings all;

    fake_cuda_begin();
    fake_cuda.no_kernel = "no kernel image is available";
    try(&all, 1, 1 << 20);
    ck_assert_int_eq(get(&all, "GPU kernel")->health, LMB_WRONG);
    ck_assert_str_eq(get(&all, "GPU kernel")->found, "GPU 0 fails");
    ck_assert_str_eq(get(&all, "GPU kernel")->advice, "GPU 0: no kernel image is available");
}
END_TEST

START_TEST(code_that_the_driver_compiled)
{
    lmb_findings all;

    fake_cuda_begin();
    fake_cuda.state.code = 120;
    try(&all, 1, 0);
    ck_assert_str_eq(get(&all, "GPU code")->found, "GPU 0 runs compute_90");
    ck_says(get(&all, "GPU code")->advice, "the driver compiled PTX for sm_90, which took the first kernel ");
}
END_TEST

START_TEST(memory_that_others_use)
{
    lmb_findings all;

    fake_cuda_begin();
    fake_cuda.state.free = (uint64_t)4 << 20; /* an eighth of it is copied */
    fake_cuda.most = 4 << 20;
    try(&all, 1, 1 << 24);
    ck_assert_int_eq(get(&all, "GPU memory")->health, LMB_LIMITS);
    ck_says(get(&all, "GPU memory")->advice, "80.0 GiB of GPU 0 are in use by others");
    ck_assert_int_eq(get(&all, "GPU copies")->health, LMB_FINE);
    fake_cuda_begin();
    fake_cuda.most = 4 << 20; /* as much as the kernel needs */
    try(&all, 1, 1 << 24);
    ck_assert_int_eq(get(&all, "GPU copies")->health, LMB_LIMITS);
    ck_assert_str_eq(get(&all, "GPU copies")->found, "not measured with 16 MiB: out of memory");
}
END_TEST

START_TEST(modes)
{
    static const struct { const char *where; lmb_health health; const char *found, *advice; } rows[] = {
        { "0000:01:00.0", LMB_FINE, "GPU 3: ECC on, MIG off, persistence on", "" },
        { "0000:02:00.0", LMB_LIMITS, "GPU 3: ECC on, MIG on, persistence on", "cut into instances (MIG)" },
        { "0000:03:00.0", LMB_WRONG, "GPU 3: ECC on", "GPU 3 counts 2 uncorrectable errors" },
        { "0000:04:00.0", LMB_FINE, "persistence off", "`nvidia-smi -pm 1`" },
        { "0000:05:00.0", LMB_FINE, "GPU 3: ECC unknown, MIG unknown, persistence on", "" },
        { "0000:77:00.0", LMB_FINE, "GPU 3: NVML does not know 0000:77:00.0", "" },
    };

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        lmb_finding f = { .topic = "GPU modes" };
        lmb_doctor_modes(rows[i].where, 3, &f);
        ck_assert_int_eq(f.health, rows[i].health);
        ck_says(f.found, rows[i].found);
        ck_says(f.advice, rows[i].advice);
        ck_assert(rows[i].advice[0] || !f.advice[0]);
    }
}
END_TEST

START_TEST(drivers_and_libraries)
{
    lmb_finding none = { .topic = "" }, newer = none, minor = none, major = none;

    lmb_doctor_match(0, 13000, &none);
    lmb_doctor_match(13010, 12080, &newer);
    ck_assert(none.health == LMB_FINE && !none.advice[0] && newer.health == LMB_FINE && !newer.advice[0]);
    lmb_doctor_match(12020, 12080, &minor);
    ck_assert_int_eq(minor.health, LMB_FINE);
    ck_says(minor.advice,
            "the driver is of CUDA 12.2, older than these libraries: machine code runs, PTX of 12.8 does not");
    lmb_doctor_match(12090, 13000, &major);
    ck_assert_int_eq(major.health, LMB_WRONG);
    ck_says(major.advice,
            "the driver takes CUDA up to 12.9 and these libraries are of 13.0: install driver 580 or newer");
}
END_TEST

LMB_TEST_MAIN("launch/doctor_try", add(a_gpu_that_does_what_it_is_told);
              add(of_several_the_one_that_computes_wrong_is_named); add(a_gpu_that_starts_no_kernel);
              add(code_that_the_driver_compiled); add(memory_that_others_use); add(modes); add(drivers_and_libraries);)
