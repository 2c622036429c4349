/* Mirrors federated/codecs/: every row of the table through the promises of federated/codec.h, then each codec's
 * own. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/base/config.h"
#include "core/base/random.h"
#include "federated/codec.h"
#include "tests/check_main.h"

enum { N = 40001 }; /* two whole blocks and a part that is no power of two */
static lmb_error err;
static float value[N], back[N], mean[N];

static lmb_codec_spec spec_of(const char *text)
{
    lmb_codec_spec s;
    err = (lmb_error)LMB_ERROR_INIT;
    ck_ok(lmb_codec_parse(text, &s, &err));
    return s;
}

/* Most values small, a few large, some zero: as changes are. */
static void make_values(uint32_t which)
{
    lmb_rand r = lmb_rand_at(11, LMB_RAND_TEST, which, 0);
    for (uint32_t i = 0; i < N; i++)
        value[i] = i % 50 == 7 ? 0 : lmb_rand_normal(&r, i) * (i % 97 ? 0.001f : 0.1f);
}

/* value -> back; the number of bytes. */
static size_t there_and_back(const lmb_codec_spec *s, uint64_t seed, size_t n)
{
    uint8_t *data, *again;
    size_t bytes, bytes2;
    bool exact;

    err = (lmb_error)LMB_ERROR_INIT;
    ck_ok(lmb_codec_encode(s, seed, value, n, &data, &bytes, &err));
    uint64_t limit = lmb_codec_limit(s, n, &exact);
    ck_assert_msg(exact ? bytes == limit : bytes <= limit, "%s: %zu bytes, said are %llu", s->text, bytes,
                  (unsigned long long)limit);
    ck_ok(lmb_codec_encode(s, seed, value, n, &again, &bytes2, &err));
    ck_assert_uint_eq(bytes, bytes2);
    ck_assert_mem_eq(data, again, bytes); /* a pure function of values and seed */
    for (size_t cut = 1; cut <= bytes; cut *= 7) { /* any other length is refused */
        ck_assert_int_eq(lmb_codec_decode_all(s, seed, data, bytes - cut, back, n, &err), LMB_E_FORMAT);
        err = (lmb_error)LMB_ERROR_INIT;
    }
    ck_ok(lmb_codec_decode_all(s, seed, data, bytes, back, n, &err));
    free(data);
    free(again);
    return bytes;
}

static double norm(const float *a, const float *b, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += ((double)a[i] - (b ? (double)b[i] : 0)) * ((double)a[i] - (b ? (double)b[i] : 0));
    return sqrt(sum);
}

START_TEST(every_codec_goes_there_and_back)
{
    static const size_t sizes[] = { 1, 7, 8, 9, 255, 256, 300, 16383, 16384, 16385, N };
    for (int k = 0; lmb_codecs[k]; k++)
        for (int zstd = 0; zstd <= 3; zstd += 3) {
            char text[64];
            snprintf(text, sizeof text, "{name: %s, zstd: %d}", lmb_codecs[k]->name, zstd);
            lmb_codec_spec s;
            err = (lmb_error)LMB_ERROR_INIT;
            if (lmb_codec_parse(text, &s, &err) == LMB_E_UNSUPPORTED && zstd)
                continue; /* built without */
            for (size_t j = 0; j < sizeof sizes / sizeof *sizes; j++) {
                mark_point();
                make_values((uint32_t)j);
                there_and_back(&s, 5, sizes[j]);
                double size = norm(value, NULL, sizes[j]), error = norm(value, back, sizes[j]);
                ck_assert_msg(!lmb_codecs[k]->lossless || error == 0, "%s, %zu values", text, sizes[j]);
                ck_assert_msg(error <= size, "%s, %zu values: error %g of %g", text, sizes[j], error, size);
                ck_assert_msg(norm(back, NULL, sizes[j]) <= (1 + lmb_codecs[k]->slack) * size, "%s, %zu values: slack",
                              text, sizes[j]);
                memset(value, 0, sizeof value);
                there_and_back(&s, 5, sizes[j]);
                ck_assert_double_eq(norm(back, NULL, sizes[j]), 0);
            }
        }
}
END_TEST

START_TEST(a_spec_is_a_line_of_text)
{
    static const char *const bad[] = { "{name: int9}",
                                       "{name: int8, group: 3}",
                                       "{name: rotation, bits: 5}",
                                       "{name: topk, share: 0}",
                                       "{name: bf16, zstd: 20}",
                                       "{name: bf16, group: 64}",
                                       "[]",
                                       "{}",
                                       "",
                                       "int8\nname: f32" };
    for (int k = 0; lmb_codecs[k]; k++) {
        ck_assert_uint_le(lmb_codecs[k]->config_bytes, LMB_CODEC_CONFIG);
        lmb_codec_spec s = spec_of(lmb_codecs[k]->name), again = spec_of(s.text);
        ck_assert_str_eq(s.text, again.text);
        ck_assert_mem_eq(&s.config, &again.config, sizeof s.config);
    }
    ck_assert_str_eq(spec_of("{zstd: 0, name: rotation, bits: 2}").text, "{name: rotation, bits: 2, zstd: 0}");
    ck_assert_str_eq(spec_of("{name: topk, share: 0.025}").text, "{name: topk, share: 0.025, zstd: 0}");
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        lmb_codec_spec s;
        err = (lmb_error)LMB_ERROR_INIT;
        ck_assert_msg(lmb_codec_parse(bad[i], &s, &err) != LMB_OK, "accepted: %s", bad[i]);
        ck_assert_uint_gt(strlen(err.msg), 10);
    }
}
END_TEST

START_TEST(bytes_of_a_million_values)
{
    static const struct { const char *text; uint64_t bytes; } want[] = {
        { "f32", 4000000 }, { "bf16", 2000000 },
        { "int8", 1000000 + 4 * (61 * 64 + 3) },                    /* 61 blocks of 64 groups, 576 values in 3 */
        { "{name: topk, share: 0.01}", 2 * 62 + 4 * 10000 },
        { "{name: rotation, bits: 1}", 61 * (4 + 2048) + (4 + 64) + (4 + 8) }, /* 576 values are 512 and 64 */
        { "{name: rotation, bits: 4}", 61 * (4 + 8192) + (4 + 256) + (4 + 32) },
    };
    for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
        lmb_codec_spec s = spec_of(want[i].text);
        bool exact;
        ck_assert_uint_eq(lmb_codec_limit(&s, 1000000, &exact), want[i].bytes);
        ck_assert_int_eq(exact, strstr(want[i].text, "topk") == NULL);
    }
}
END_TEST

/* ---- errors ---- */

START_TEST(bf16_rounds_to_nearest)
{
    lmb_codec_spec s = spec_of("bf16");
    static const float in[] = { 1.0f, 1.00390625f, 1.01171875f, -3.14159265f, 1e-40f, 3.38e38f, 0 };
    static const float out[] = { 1.0f, 1.0f, 1.015625f, -3.140625f, 9.18355e-41f, 3.3762e38f, 0 }; /* ties to even */
    memcpy(value, in, sizeof in);
    there_and_back(&s, 0, 7);
    for (int i = 0; i < 7; i++)
        ck_assert_msg(fabsf(back[i] - out[i]) <= fabsf(out[i]) * 1e-4f, "%g became %g", (double)in[i], (double)back[i]);
    make_values(0);
    there_and_back(&s, 0, N);
    for (int i = 0; i < N; i++)
        ck_assert(fabsf(back[i] - value[i]) <= fabsf(value[i]) / 256);
}
END_TEST

START_TEST(int8_errs_by_less_than_a_step)
{
    lmb_codec_spec s = spec_of("{name: int8, group: 100}");
    make_values(0);
    there_and_back(&s, 77, N);
    for (int at = 0; at < N; at++) {
        int block = at / LMB_CODEC_BLOCK * LMB_CODEC_BLOCK, from = block + (at - block) / 100 * 100;
        int to = from + 100 < block + LMB_CODEC_BLOCK ? from + 100 : block + LMB_CODEC_BLOCK;
        float most = 0;
        for (int i = from; i < to && i < N; i++)
            most = fmaxf(most, fabsf(value[i]));
        ck_assert_msg(fabsf(back[at] - value[at]) <= most / 127 * 1.0001f, "%d: %g became %g", at, (double)value[at],
                      (double)back[at]);
    }
}
END_TEST

/* Lloyd's iteration on the standard normal distribution, by the error function. */
static void lloyd(int bits, double *level)
{
    int n = 1 << (bits - 1);
    for (int k = 0; k < n; k++)
        level[k] = (k + 0.5) * 3.0 / n;
    for (int turn = 0; turn < 20000; turn++)
        for (int k = 0; k < n; k++) {
            double lo = k ? (level[k - 1] + level[k]) / 2 : 0, hi = k + 1 < n ? (level[k] + level[k + 1]) / 2 : 40;
            double mass = 0.5 * (erfc(lo / sqrt(2)) - erfc(hi / sqrt(2)));
            level[k] = (exp(-lo * lo / 2) - exp(-hi * hi / 2)) / sqrt(2 * acos(-1)) / mass;
        }
}

/* The levels show in what is decoded, and the mean squared error is the best that any levels give. */
START_TEST(rotation_is_as_good_as_its_bits_allow)
{
    for (int bits = 1; bits <= 4; bits++) {
        char text[40];
        double level[8], distortion = 1, error = 0, size = 0;
        lloyd(bits, level);
        for (int k = 0; k < 1 << (bits - 1); k++) {
            double lo = k ? (level[k - 1] + level[k]) / 2 : 0,
                   hi = k + 1 < 1 << (bits - 1) ? (level[k] + level[k + 1]) / 2 : 40;
            distortion -= level[k] * level[k] * (erfc(lo / sqrt(2)) - erfc(hi / sqrt(2)));
        }
        distortion = 1 / (1 - distortion) - 1; /* of the unbiased scale */
        snprintf(text, sizeof text, "{name: rotation, bits: %d}", bits);
        lmb_codec_spec s = spec_of(text);
        for (uint32_t turn = 0; turn < 6; turn++) {
            make_values(turn);
            there_and_back(&s, 1000 + turn, 2 * LMB_CODEC_BLOCK);
            error += pow(norm(value, back, 2 * LMB_CODEC_BLOCK), 2);
            size += pow(norm(value, NULL, 2 * LMB_CODEC_BLOCK), 2);
        }
        ck_assert_msg(fabs(error / size - distortion) < 0.03 * distortion, "%d bits: error %g, expected %g", bits,
                      error / size, distortion);
        /* what is decoded is right in the direction of what was encoded, and a spike has only one */
        memset(value, 0, sizeof value);
        value[3] = 2;
        there_and_back(&s, 9, LMB_CODEC_BLOCK);
        ck_assert_float_eq_tol(back[3], 2, 1e-4f);
    }
}
END_TEST

/* The mean over seeds is the value: what the server averages is right even where each update is not. A rotation by
 * signs and Hadamard is not quite a uniform one: what remains of its bias is small beside the error. */
START_TEST(the_mean_over_seeds_is_the_value)
{
    static const char *const text[] = { "int8", "{name: int8, group: 4096}", "{name: rotation, bits: 1}",
                                        "{name: rotation, bits: 2}" };
    enum { SEEDS = 400, M = 3000 };
    for (size_t k = 0; k < sizeof text / sizeof *text; k++) {
        lmb_codec_spec s = spec_of(text[k]);
        double one = 0;
        make_values(1);
        memset(mean, 0, sizeof mean);
        for (uint64_t seed = 0; seed < SEEDS; seed++) {
            uint8_t *data;
            size_t bytes;
            ck_ok(lmb_codec_encode(&s, lmb_codec_seed(3, seed, 1), value, M, &data, &bytes, &err));
            ck_ok(lmb_codec_decode_all(&s, lmb_codec_seed(3, seed, 1), data, bytes, back, M, &err));
            free(data);
            one += pow(norm(value, back, M), 2) / SEEDS;
            for (int i = 0; i < M; i++)
                mean[i] += back[i] / SEEDS;
        }
        double left = pow(norm(value, mean, M), 2); /* independent errors: one / SEEDS */
        ck_assert_msg(one > 0 && left < (text[k][0] == '{' && strstr(text[k], "rot") ? 1.5 : 1.2) * one / SEEDS,
                      "%s: squared error %g of one, %g of the mean of %d", text[k], one, left, SEEDS);
    }
}
END_TEST

START_TEST(topk_sends_the_greatest)
{
    lmb_codec_spec s = spec_of("{name: topk, share: 0.0002}"); /* of 40001: 9 */
    make_values(2);
    for (int i = 0; i < 8; i++)
        value[i * 5000 + 1] = i % 2 ? 5 : -6;
    value[39000] = value[39001] = value[40000] = 3; /* a tie for the last place: the first wins */
    there_and_back(&s, 0, N);
    for (int i = 0; i < N; i++)
        ck_assert_float_eq(back[i], (i % 5000 == 1 && i < 40000) || i == 39000 ? value[i] : 0);
}
END_TEST

/* What is left out comes later: after T rounds the sum of what was sent is the sum of the changes but for the
 * memory. */
START_TEST(error_feedback_recovers_the_sum)
{
    lmb_codec_spec s = spec_of("{name: topk, share: 0.05}");
    static float memory[N], sent[N], total[N];
    double kept = 0;
    memset(memory, 0, sizeof memory);
    memset(sent, 0, sizeof sent);
    memset(total, 0, sizeof total);
    for (uint32_t round = 0; round < 60; round++) {
        lmb_rand r = lmb_rand_at(12, LMB_RAND_TEST, round, 0);
        for (uint32_t i = 0; i < N; i++) { /* a steady direction with noise */
            float change = 0.01f * (float)(i % 11) + 0.02f * lmb_rand_normal(&r, i);
            total[i] += change;
            value[i] = change + memory[i];
        }
        there_and_back(&s, 0, N);
        for (int i = 0; i < N; i++) {
            sent[i] += back[i];
            memory[i] = value[i] - back[i];
        }
        kept = norm(memory, NULL, N);
    }
    for (int i = 0; i < N; i++)
        mean[i] = total[i] - sent[i];
    ck_assert_double_eq_tol(norm(mean, memory, N), 0, 1e-3);
    ck_assert_msg(kept < 0.4 * norm(total, NULL, N), "%g of %g are still to be sent", kept, norm(total, NULL, N));
}
END_TEST

/* ---- hostile bytes ---- */

static lmb_status decode(const char *text, size_t n, const void *data, size_t bytes)
{
    lmb_codec_spec s = spec_of(text);
    uint8_t *exact = malloc(bytes + !bytes);
    memcpy(exact, data, bytes);
    err = (lmb_error)LMB_ERROR_INIT;
    lmb_status st = lmb_codec_decode_all(&s, 1, exact, bytes, back, n, &err);
    free(exact);
    return st;
}

START_TEST(hostile_payloads)
{
    static const float nan_[2] = { 1, NAN }, huge[2] = { INFINITY, 1 };
    static const uint16_t bf_nan[2] = { 0x7fc0, 0 };
    static const struct {
        float scale;
        uint8_t q[4];
    } bad_scale = { -1, { 1, 2, 3, 4 } }, inf_scale = { INFINITY, { 0, 0, 0, 0 } },
      overflow = { 3e38f, { 127, 1, 1, 1 } };
    static const uint16_t many[] = { 5, 0, 1, 2, 3, 4, 0, 0, 0, 0, 0 }, outside[] = { 1, 4, 0x3f80 },
                          twice[] = { 2, 1, 1, 0x3f80, 0x3f80 }, falling[] = { 2, 2, 1, 0x3f80, 0x3f80 },
                          fine[] = { 2, 1, 3, 0x3f80, 0xc000 }, late[] = { 1, 3 };
    static const struct { float scale; uint8_t q[2]; } rotated = { NAN, { 0, 0 } };

    ck_assert_int_eq(decode("f32", 2, nan_, 8), LMB_E_NUMERIC);
    ck_assert_ptr_nonnull(strstr(err.msg, "value 1 of the update is nan; values must be finite"));
    ck_assert_int_eq(decode("f32", 2, huge, 8), LMB_E_NUMERIC);
    ck_assert_int_eq(decode("f32", 2, nan_, 7), LMB_E_FORMAT);
    ck_assert_int_eq(decode("f32", 1, nan_, 8), LMB_E_FORMAT);
    ck_assert_ptr_nonnull(strstr(err.msg, "4 bytes follow"));
    ck_assert_int_eq(decode("bf16", 2, bf_nan, 4), LMB_E_NUMERIC);
    ck_assert_int_eq(decode("int8", 4, &bad_scale, 8), LMB_E_FORMAT);
    ck_assert_ptr_nonnull(strstr(err.msg, "scale"));
    ck_assert_int_eq(decode("int8", 4, &inf_scale, 8), LMB_E_FORMAT);
    ck_assert_int_eq(decode("int8", 4, &overflow, 8), LMB_E_NUMERIC);
    ck_assert_int_eq(decode("{name: topk, share: 1}", 4, many, sizeof many), LMB_E_FORMAT);
    ck_assert_ptr_nonnull(strstr(err.msg, "announces 5 values, it has 4 places"));
    ck_assert_int_eq(decode("{name: topk, share: 1}", 4, outside, sizeof outside), LMB_E_FORMAT);
    ck_assert_int_eq(decode("{name: topk, share: 1}", 4, twice, sizeof twice), LMB_E_FORMAT);
    ck_assert_int_eq(decode("{name: topk, share: 1}", 4, falling, sizeof falling), LMB_E_FORMAT);
    ck_assert_int_eq(decode("{name: topk, share: 1}", 4, late, sizeof late), LMB_E_FORMAT);
    ck_assert_int_eq(decode("{name: topk, share: 1}", 4, fine, sizeof fine), LMB_OK);
    ck_assert(back[0] == 0 && back[1] == 1 && back[2] == 0 && back[3] == -2);
    ck_assert_int_eq(decode("{name: rotation, bits: 2}", 8, &rotated, 6), LMB_E_FORMAT);
}
END_TEST

/* A payload of many more zeros than the model has values, in few bytes. */
START_TEST(decompression_bombs)
{
    lmb_codec_spec big, s;
    static float zeros[N];
    uint8_t *data;
    size_t bytes;
    bool exact;

    err = (lmb_error)LMB_ERROR_INIT;
    if (lmb_codec_parse("{name: f32, zstd: 19}", &big, &err) == LMB_E_UNSUPPORTED)
        return;
    s = spec_of("{name: f32, zstd: 1}");
    ck_ok(lmb_codec_encode(&big, 0, zeros, N, &data, &bytes, &err));
    ck_assert_uint_lt(bytes, lmb_codec_limit(&s, 100, &exact)); /* its size gives nothing away */
    ck_assert_int_eq(lmb_codec_decode_all(&s, 0, data, bytes, back, 100, &err), LMB_E_FORMAT);
    ck_assert_ptr_nonnull(strstr(err.msg, "decompresses to more bytes than its values take"));
    err = (lmb_error)LMB_ERROR_INIT;
    ck_assert_int_eq(lmb_codec_decode_all(&s, 0, data, bytes, back, N - 1, &err), LMB_E_FORMAT);
    err = (lmb_error)LMB_ERROR_INIT;
    ck_ok(lmb_codec_decode_all(&s, 0, data, bytes, back, N, &err));
    data = realloc(data, bytes + 1);
    data[bytes] = 0;
    ck_assert_int_eq(lmb_codec_decode_all(&s, 0, data, bytes + 1, back, N, &err), LMB_E_FORMAT);
    ck_assert_ptr_nonnull(strstr(err.msg, "goes on after its end"));
    free(data);
    /* a header that announces a window of 2 GiB, and one of gigabytes of content */
    static const uint8_t window[] = { 0x28, 0xb5, 0x2f, 0xfd, 0x00, 0xa8, 0x01, 0x00, 0x00 };
    static const uint8_t content[] = { 0x28, 0xb5, 0x2f, 0xfd, 0xc0, 0x00, 0, 0, 0, 0, 1, 0, 0, 0, 0x01, 0x00, 0x00 };
    ck_assert_int_eq(decode("{name: f32, zstd: 1}", 100, window, sizeof window), LMB_E_FORMAT);
    ck_assert_int_eq(decode("{name: f32, zstd: 1}", 100, content, sizeof content), LMB_E_FORMAT);
    ck_assert_int_eq(decode("{name: f32, zstd: 1}", 100, "", 0), LMB_E_FORMAT);
}
END_TEST

START_TEST(seeds_differ)
{
    ck_assert_uint_eq(lmb_codec_seed(1, 2, 3), lmb_codec_seed(1, 2, 3));
    ck_assert_uint_ne(lmb_codec_seed(1, 2, 3), lmb_codec_seed(2, 2, 3));
    ck_assert_uint_ne(lmb_codec_seed(1, 2, 3), lmb_codec_seed(1, 3, 3));
    ck_assert_uint_ne(lmb_codec_seed(1, 2, 3), lmb_codec_seed(1, 2, 2));
}
END_TEST

LMB_TEST_MAIN("federated/codecs", add(every_codec_goes_there_and_back); add(a_spec_is_a_line_of_text);
              add(bytes_of_a_million_values); add(bf16_rounds_to_nearest); add(int8_errs_by_less_than_a_step);
              add(rotation_is_as_good_as_its_bits_allow); add(the_mean_over_seeds_is_the_value);
              add(topk_sends_the_greatest); add(error_feedback_recovers_the_sum); add(hostile_payloads);
              add(decompression_bombs); add(seeds_differ);)
