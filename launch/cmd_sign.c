/* launch/cmd_sign.c - `limbeck sign`: a .lmb that devices can believe, and the look that they take at it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "comm/release.h"
#include "core/base/file.h"
#include "core/edge/packed.h"
#include "distill/quantize/laid_file.h"
#include "distill/quantize/packed_file.h"
#include "launch/cmd.h"

enum { MOST = 1 << 28 };

static const char usage[] =
    "usage: limbeck sign MODEL.lmb --key FILE --release N [--out FILE.lmb]\n"
    "       limbeck sign MODEL.lmb --check PUBLIC-KEY [--minimum N]\n\n"
    "Signs all bytes of a model with Ed25519 and gives it a release: a number that grows with each version. A device\n"
    "that opens it with lmb_edge_open_trusted refuses what was changed, what others signed, and older releases.\n"
    "A packed file stays packed: the signature is over what travels (core/edge/packed.h). Weights that are laid out for kernels\n"
    "and are not those of the network are not signed.\n\n"
    "  --key FILE         the secret key, made on first use: one line of 64 hexadecimal digits that only you can read\n"
    "  --release N        1 .. 9223372036854775807; not below that of the file\n"
    "  --out FILE         default: MODEL.lmb itself is replaced\n"
    "  --check KEY        the public key that signing prints: does the file hold, as a device sees it?\n"
    "  --minimum N        of --check: the oldest release that is allowed\n";

static lmb_status status_of(lmb_edge_status s, const char *path, const char *why, lmb_error *err)
{
    lmb_status st = s == LMB_EDGE_E_UNTRUSTED || s == LMB_EDGE_E_OLD ? LMB_E_DENIED
                    : s == LMB_EDGE_E_NOMEM                          ? LMB_E_NOMEM
                                                                     : LMB_E_FORMAT;
    return s == LMB_EDGE_OK ? LMB_OK : LMB_FAIL(err, st, "%s: %s", path, why);
}

/* Packed or plain: the signature is over the file that travels. */
static lmb_edge_status open_signed(const void *file, size_t n, const lmb_edge_trust *trust, void **plain,
                                   lmb_edge_model *m, char *why, size_t cap)
{
    size_t bytes = 0;
    lmb_edge_status s = lmb_edge_verify(file, n, trust, why, cap);

    if (s == LMB_EDGE_OK)
        s = lmb_edge_unpacked_bytes(file, n, &bytes, why, cap);
    if (s != LMB_EDGE_OK || !bytes)
        return s != LMB_EDGE_OK ? s : lmb_edge_open_trusted(file, n, trust, m, why, cap);
    *plain = malloc(bytes);
    if (!*plain)
        return LMB_EDGE_E_NOMEM;
    s = lmb_edge_unpack(file, n, *plain, bytes, why, cap);
    if (s == LMB_EDGE_OK)
        s = lmb_edge_open(*plain, bytes, m, why, cap);
    if (s != LMB_EDGE_OK || m->release >= trust->minimum_release)
        return s;
    snprintf(why, cap, "release %llu is older than %llu, the oldest that is allowed here",
             (unsigned long long)m->release, (unsigned long long)trust->minimum_release);
    return LMB_EDGE_E_OLD;
}

static lmb_status check(const char *path, const lmb_args *a, lmb_error *err)
{
    uint8_t key[1][LMB_SIGN_PUBLIC];
    lmb_release_keys keys = { key, 1 };
    lmb_edge_trust trust = { lmb_release_verify, &keys, 0 };
    char why[200] = "";
    void *file, *plain = NULL;
    lmb_edge_model m;
    int64_t minimum;
    size_t n;

    LMB_TRY(lmb_public_parse(lmb_args_get(a, "check", ""), key[0], err));
    LMB_TRY(lmb_args_int(a, "minimum", 0, 0, INT64_MAX, &minimum, err));
    trust.minimum_release = (uint64_t)minimum;
    LMB_TRY(lmb_file_read(path, MOST, &file, &n, err));
    lmb_status st = status_of(open_signed(file, n, &trust, &plain, &m, why, sizeof why), path, why, err);
    if (st == LMB_OK)
        printf("%s: release %llu, signed by this key\n", path, (unsigned long long)m.release);
    free(plain);
    free(file);
    return st;
}

/* The plain file with this release, packed again if it was, and room for a signature. */
static lmb_edge_status lay_out(const void *plain, size_t n, uint64_t release, bool packed, lmb_edge_buffer *out,
                               char *why, size_t cap)
{
    lmb_edge_buffer loose = { NULL, 0, 0 };

    if (!packed)
        return lmb_edge_write_release(plain, n, release, LMB_RELEASE_SIGNATURE, out, why, cap);
    lmb_edge_status s = lmb_edge_write_release(plain, n, release, 0, &loose, why, cap);
    if (s == LMB_EDGE_OK)
        s = lmb_edge_pack(loose.data, loose.size, LMB_RELEASE_SIGNATURE, out, why, cap);
    free(loose.data);
    return s;
}

static lmb_status sign(const char *path, const void *file, size_t n, bool packed, const lmb_args *a, lmb_error *err)
{
    uint8_t secret[LMB_SIGN_SECRET];
    char why[200] = "", public_key[LMB_PUBLIC_TEXT];
    const char *out = lmb_args_get(a, "out", path);
    lmb_edge_buffer b = { NULL, 0, 0 };
    lmb_edge_model m;
    int64_t release;

    LMB_TRY(lmb_args_int(a, "release", 0, 1, INT64_MAX, &release, err));
    if (!release)
        return LMB_FAIL(err, LMB_E_ARG, "give --release N: devices refuse a lower number than they have seen");
    LMB_TRY(status_of(lmb_edge_open(file, n, &m, why, sizeof why), path, why, err));
    LMB_TRY(lmb_laid_true(file, n, path, err));
    if (m.release > (uint64_t)release)
        return LMB_FAIL(err, LMB_E_ARG, "%s is release %llu already; --release %lld would go back", path,
                        (unsigned long long)m.release, (long long)release);
    LMB_TRY(lmb_sign_file(lmb_args_get(a, "key", ""), secret, err));
    lmb_edge_status s = lay_out(file, n, (uint64_t)release, packed, &b, why, sizeof why);
    lmb_status st = status_of(s, path, why, err);
    if (st == LMB_OK) {
        lmb_release_sign(secret, b.data, b.size - LMB_RELEASE_SIGNATURE, b.data + b.size - LMB_RELEASE_SIGNATURE);
        st = lmb_file_write(out, b.data, b.size, err);
    }
    if (st == LMB_OK) {
        lmb_public_format(lmb_sign_public(secret), public_key);
        printf("%s: release %lld, signed; public key %s\n", out, (long long)release, public_key);
    }
    lmb_secret_wipe(secret, sizeof secret);
    free(b.data);
    return st;
}

static lmb_status run(int argc, char **argv, lmb_error *err)
{
    static const char *const known[] = { "key", "release", "out", "check", "minimum", NULL };
    lmb_args a;
    bool packed;
    void *file;
    size_t n;

    LMB_TRY(lmb_args_parse(argc, argv, known, &a, err));
    bool checks = lmb_args_get(&a, "check", NULL) != NULL;
    if (a.n_words != 1 || checks == (lmb_args_get(&a, "key", NULL) != NULL))
        return LMB_FAIL(err, LMB_E_ARG, "give one .lmb file, and --key with --release, or --check; --help explains");
    if (checks)
        return check(a.word[0], &a, err);
    LMB_TRY(lmb_packed_read(a.word[0], &file, &n, &packed, err));
    lmb_status st = sign(a.word[0], file, n, packed, &a, err);
    free(file);
    return st;
}

const lmb_cmd lmb_cmd_sign = { "sign", "a .lmb that devices believe: Ed25519, and a number that only grows", usage,
                               run };
