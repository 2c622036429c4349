/* tests/core/edge/test_hostile.c - files that lie. Whatever the bytes, the reader answers with one sentence or the
 * network runs inside its memory; ASan and UBSan are the judges in the build that has them. */
#include "tests/check_main.h"
#include "tests/fuzz/edge_file.h"

/* A refusal says something and ends in one line. */
static int try_file(const unsigned char *file, size_t bytes)
{
    char why[200] = "";
    int result = edge_try(file, bytes, why, sizeof why);
    if (result == 0)
        ck_assert_msg(strlen(why) > 10 && !strchr(why, '\n'), "said: '%s'", why);
    return result;
}

START_TEST(every_truncation_is_refused)
{
    net_file f = net_every_kind(3);
    ck_assert_int_eq(try_file(f.data, f.bytes), 2);
    for (size_t n = 0; n < f.bytes; n++) {
        if (n > 2048 && n % 97 && n < f.bytes - 64) /* all of the head and the end, samples of the weights */
            continue;
        unsigned char *copy = malloc(n ? n : 1);
        memcpy(copy, f.data, n);
        ck_assert_int_eq(try_file(copy, n), 0);
        if (n >= 64) { /* again with a length field that agrees */
            uint64_t said = n;
            memcpy(copy + 16, &said, 8);
            edge_fix_checksums(copy, n);
            ck_assert_int_eq(try_file(copy, n), 0);
        }
        free(copy);
    }
    free(f.data);
}
END_TEST

START_TEST(checksums_notice_any_flip)
{
    net_file f = net_every_kind(3);
    uint64_t seed = 77;
    lmbi_edge_section s;
    for (int round = 0; round < 3000; round++) {
        /* Bytes between sections are padding and mean nothing: flip in the header or inside a section. */
        size_t at = net_random(&seed) % (64 + 24 * LMBI_EDGE_KNOWN);
        if (round % 2) {
            memcpy(&s, f.data + 64 + 24 * (net_random(&seed) % LMBI_EDGE_KNOWN), sizeof s);
            at = (size_t)(s.offset + net_random(&seed) % s.length);
        }
        const unsigned char flip = (unsigned char)(1u << net_random(&seed) % 8);
        f.data[at] ^= flip;
        ck_assert_int_eq(try_file(f.data, f.bytes), 0);
        f.data[at] ^= flip;
    }
    free(f.data);
}
END_TEST

/* Flips with valid checksums, most of them in the records: each must be refused or run. */
START_TEST(flips_behind_checksums_are_harmless)
{
    enum { ROUNDS = 6000 };
    net_file f = net_every_kind(3);
    unsigned char *copy = malloc(f.bytes);
    uint64_t seed = 1234 + (uint64_t)_i;
    int refused = 0, run = 0;
    for (int round = 0; round < ROUNDS; round++) {
        memcpy(copy, f.data, f.bytes);
        for (unsigned flips = 1 + net_random(&seed) % 3; flips; flips--) {
            lmbi_edge_section s;
            size_t at = net_random(&seed) % f.bytes;
            if (net_random(&seed) % 8) {
                memcpy(&s, f.data + 64 + 24 * (net_random(&seed) % 3), sizeof s); /* TENS, OPS, QNT */
                at = (size_t)(s.offset + net_random(&seed) % s.length);
            }
            if (net_random(&seed) % 2)
                copy[at] ^= (unsigned char)(1u << net_random(&seed) % 8);
            else
                copy[at] = (unsigned char)net_random(&seed);
        }
        edge_fix_checksums(copy, f.bytes);
        int result = try_file(copy, f.bytes);
        refused += result == 0;
        run += result == 2;
    }
    ck_assert_int_gt(refused, ROUNDS / 10); /* both ways are exercised */
    ck_assert_int_gt(run, ROUNDS / 10);
    free(copy);
    free(f.data);
}
END_TEST

/* One field each, with valid checksums; the sentence must name it. */
static const struct {
    int section; /* -1: the header; else relative to the section's start */
    size_t at;
    unsigned char bytes[8];
    size_t n;
    const char *sentence;
} lies[] = {
    { -1, 0, { 'X' }, 1, "magic" },
    { -1, 8, { 2 }, 1, "format version 2, this reader knows 1" },
    { -1, 24, { 2 }, 1, "flags 0x2" },
    { -1, 28, { 0 }, 1, "0 sections" },
    { -1, 32, { 255, 255, 255, 255 }, 4, "more than 2^30" },
    { -1, 32, { 0, 0, 0, 0 }, 4, "ends outside the arena of 0 bytes" },
    { -1, 36, { 255, 255 }, 2, "the output is tensor 65535" },
    { -1, 64, { 'N', 'E', 'W', ' ' }, 4, "a newer reader is needed" },
    { -1, 64 + 8, { 1 }, 1, "misplaced" },
    { -1, 64 + 16, { 255, 255, 255, 255, 255, 255, 255, 255 }, 8, "ends outside the file" },
    { LMBI_EDGE_TENS, 0, { 0, 0, 0, 0 }, 4, "is not between 1 and 2^28 bytes" },
    { LMBI_EDGE_TENS, 0, { 255, 255, 255, 255, 255, 255, 255, 255 }, 8, "is not between 1 and 2^28 bytes" },
    { LMBI_EDGE_TENS, 16, { 0, 0, 192, 127 }, 4, "scale is not a positive" }, /* NaN */
    { LMBI_EDGE_TENS, 24, { 255, 255, 255, 255 }, 4, "name is outside" },
    { LMBI_EDGE_OPS, 0, { 99 }, 1, "kind 99" },
    { LMBI_EDGE_OPS, 1, { 2 }, 1, "2 inputs, wants 1..1" },
    { LMBI_EDGE_OPS, 2, { 9, 8 }, 2, "clamps to 9..8" },
    { LMBI_EDGE_OPS, 8, { 1 }, 1, "not computed yet" },
    { LMBI_EDGE_OPS, 26, { 0 }, 1, "stride" },
    { LMBI_EDGE_OPS, 30, { 200 }, 1, "padding" },
    { LMBI_EDGE_OPS, 24, { 2 }, 1, "the window gives" },
    { LMBI_EDGE_OPS, 36, { 0 }, 1, "0 groups" },
    { LMBI_EDGE_OPS, 40, { 255, 255, 255, 255 }, 4, "weights end outside" },
    { LMBI_EDGE_OPS, 44, { 255, 255, 255, 255 }, 4, "multipliers end outside" },
    { LMBI_EDGE_QNT, 0, { 255, 255, 255, 127 }, 4, "channel 0 has a bias" },
    { LMBI_EDGE_QNT, 4, { 0, 0, 192, 127 }, 4, "channel 0 has a bias" }, /* NaN */
    { LMBI_EDGE_STRS, 0, { 'x' }, 1, "begin with an empty one" },
    { LMBI_EDGE_STRS, 1, { 27 }, 1, "control character" },
    { LMBI_EDGE_META, 0, { 27 }, 1, "control character" },
};

START_TEST(each_lie_is_named)
{
    net_file f = net_every_kind(3);
    lmbi_edge_section s = { 0, 0, 0, 0 };
    char why[200] = "";
    if (lies[_i].section >= 0)
        memcpy(&s, f.data + 64 + 24 * lies[_i].section, sizeof s);
    memcpy(f.data + s.offset + lies[_i].at, lies[_i].bytes, lies[_i].n);
    edge_fix_checksums(f.data, f.bytes);
    ck_assert_int_eq(edge_try(f.data, f.bytes, why, sizeof why), 0);
    ck_assert_msg(strstr(why, lies[_i].sentence) != NULL, "said: %s", why);
    free(f.data);
}
END_TEST

/* A later version may add sections an old reader can do without; higher minor versions are accepted. */
START_TEST(skippable_sections_are_skipped)
{
    net_file f = net_every_kind(3);
    const uint32_t type = LMBI_EDGE_MAY_SKIP | 1;
    const uint16_t minor = 9;
    memcpy(f.data + 64 + 24 * LMBI_EDGE_META, &type, 4);
    memcpy(f.data + 10, &minor, 2);
    edge_fix_checksums(f.data, f.bytes);
    ck_assert_int_eq(try_file(f.data, f.bytes), 2);
    free(f.data);
}
END_TEST

LMB_TEST_MAIN("core/edge/hostile", add(every_truncation_is_refused); add(checksums_notice_any_flip);
              add_loop(flips_behind_checksums_are_harmless, 3);
              add_loop(each_lie_is_named, (int)(sizeof lies / sizeof lies[0])); add(skippable_sections_are_skipped);)
