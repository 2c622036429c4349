/* tests/comm/test_release.c - a signed model is believed; one changed bit, another key or an older release is not. */
#include "comm/release.h"

#include <string.h>

#include "tests/check_main.h"
#include "tests/core/edge/network.h"

static char why[200];

static void make(uint8_t secret[LMB_SIGN_SECRET], int which, uint64_t release, lmb_edge_buffer *out)
{
    lmb_error err = LMB_ERROR_INIT;
    lmb_edge_buffer file = { NULL, 0, 0 };
    char path[] = "/tmp/limbeck-release-XXXXXX", key[64];
    ck_assert_ptr_nonnull(mkdtemp(path));
    snprintf(key, sizeof key, "%s/%d.key", path, which);
    ck_ok(lmb_sign_file(key, secret, &err));
    remove(key);
    remove(path);
    ck_assert_msg(small_network(&file, why, sizeof why) == LMB_EDGE_OK, "%s", why);
    ck_assert_int_eq(lmb_edge_write_release(file.data, file.size, release, LMB_RELEASE_SIGNATURE, out, why, sizeof why),
                     LMB_EDGE_OK);
    size_t covered = out->size - LMB_RELEASE_SIGNATURE;
    lmb_release_sign(secret, out->data, covered, out->data + covered);
    free(file.data);
}

START_TEST(believed_or_not)
{
    uint8_t secret[LMB_SIGN_SECRET], other[LMB_SIGN_SECRET], key[2][LMB_SIGN_PUBLIC];
    lmb_edge_buffer b = { NULL, 0, 0 }, c = { NULL, 0, 0 };
    lmb_edge_model m;
    make(secret, 1, 5, &b);
    make(other, 2, 6, &c);
    memcpy(key[0], lmb_sign_public(other), LMB_SIGN_PUBLIC);
    memcpy(key[1], lmb_sign_public(secret), LMB_SIGN_PUBLIC);
    lmb_release_keys both = { key, 2 }, one = { key + 1, 1 }, none = { key, 0 };
    lmb_edge_trust trust = { lmb_release_verify, &both, 5 };
    ck_assert_int_eq(lmb_edge_open_trusted(b.data, b.size, &trust, &m, why, sizeof why), LMB_EDGE_OK);
    ck_assert_int_eq(lmb_edge_open_trusted(c.data, c.size, &trust, &m, why, sizeof why), LMB_EDGE_OK);
    trust.ctx = &one;
    ck_assert_int_eq(lmb_edge_open_trusted(b.data, b.size, &trust, &m, why, sizeof why), LMB_EDGE_OK);
    ck_assert_int_eq(lmb_edge_open_trusted(c.data, c.size, &trust, &m, why, sizeof why), LMB_EDGE_E_UNTRUSTED);
    /* the name of a trusted key is not enough */
    memcpy(c.data + c.size - LMB_RELEASE_SIGNATURE, key[1], LMB_SIGN_PUBLIC);
    ck_assert_int_eq(lmb_edge_open_trusted(c.data, c.size, &trust, &m, why, sizeof why), LMB_EDGE_E_UNTRUSTED);
    trust.minimum_release = 6;
    ck_assert_int_eq(lmb_edge_open_trusted(b.data, b.size, &trust, &m, why, sizeof why), LMB_EDGE_E_OLD);
    trust.minimum_release = 0;
    trust.ctx = &none;
    ck_assert_int_eq(lmb_edge_open_trusted(b.data, b.size, &trust, &m, why, sizeof why), LMB_EDGE_E_UNTRUSTED);
    free(b.data);
    free(c.data);
}
END_TEST

/* A bit in every 61st byte and in all of header, section table and signature. */
START_TEST(a_changed_bit)
{
    uint8_t secret[LMB_SIGN_SECRET], key[1][LMB_SIGN_PUBLIC];
    lmb_edge_buffer b = { NULL, 0, 0 };
    lmb_edge_model m;
    make(secret, 1, 5, &b);
    memcpy(key[0], lmb_sign_public(secret), LMB_SIGN_PUBLIC);
    lmb_release_keys one = { key, 1 };
    lmb_edge_trust trust = { lmb_release_verify, &one, 0 };
    for (size_t i = 0; i < b.size; i += i < 300 || i > b.size - LMB_RELEASE_SIGNATURE - 61 ? 1 : 61) {
        b.data[i] ^= (uint8_t)(1 << i % 8);
        lmb_edge_status s = lmb_edge_open_trusted(b.data, b.size, &trust, &m, why, sizeof why);
        int refused = s == LMB_EDGE_E_UNTRUSTED || s == LMB_EDGE_E_FORMAT || s == LMB_EDGE_E_VERSION;
        ck_assert_msg(refused, "byte %zu: %d", i, (int)s);
        b.data[i] ^= (uint8_t)(1 << i % 8);
    }
    ck_assert_int_eq(lmb_edge_open_trusted(b.data, b.size, &trust, &m, why, sizeof why), LMB_EDGE_OK);
    free(b.data);
}
END_TEST

LMB_TEST_MAIN("comm/release", add(believed_or_not); add(a_changed_bit);)
