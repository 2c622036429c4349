/* comm/keys.c - see keys.h. */
#include "comm/keys.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/hash.h"

enum { KEY_TEXT = 2 * LMB_KEY_SECRET + 1 };

static lmb_status read_key(int fd, const char *path, uint8_t secret[LMB_KEY_SECRET], lmb_error *err)
{
    char text[KEY_TEXT + 1];
    struct stat info;
    size_t got = 0;
    ssize_t n;

    if (fstat(fd, &info) != 0)
        return LMB_FAIL(err, LMB_E_IO, "%s: cannot stat: %s", path, strerror(errno));
    if (info.st_mode & 077)
        return LMB_FAIL(err, LMB_E_DENIED, "%s: other users can read this secret key; run chmod 600 on it", path);
    n = read(fd, text, sizeof text);
    if (n < 0)
        return LMB_FAIL(err, LMB_E_IO, "%s: cannot read: %s", path, strerror(errno));
    if (n != KEY_TEXT || sodium_hex2bin(secret, LMB_KEY_SECRET, text, KEY_TEXT - 1, NULL, &got, NULL) != 0 ||
        got != LMB_KEY_SECRET) {
        sodium_memzero(text, sizeof text);
        return LMB_FAIL(err, LMB_E_FORMAT, "%s: holds no secret key; a key file is one line of 64 hexadecimal digits",
                        path);
    }
    sodium_memzero(text, sizeof text);
    return LMB_OK;
}

/* "<path>.tmp", locked: two processes that make the same key take turns. What lies there already is taken over when it
 * is a plain file of ours (left by a killed process), else only its name is removed: never followed, never shared. */
static int open_tmp(const char *tmp)
{
    struct stat info;

    for (int attempt = 0; attempt < 2; attempt++) {
        int fd = open(tmp, O_WRONLY | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0600);
        if (fd >= 0 && fstat(fd, &info) == 0 && S_ISREG(info.st_mode) && info.st_uid == geteuid() &&
            info.st_nlink <= 1 && !(info.st_mode & 077) && flock(fd, LOCK_EX) == 0)
            return fd;
        if (fd >= 0)
            close(fd);
        unlink(tmp);
    }
    return -1;
}

/* Written whole beside its place and renamed into it, so that a key file is whole or not there. Who waited for the lock
 * finds the other's key and leaves it. */
static lmb_status create_key(const char *path, lmb_error *err)
{
    uint8_t secret[LMB_KEY_SECRET];
    char tmp[4096], text[KEY_TEXT + 1];
    lmb_status st = LMB_OK;
    int fd;

    if (snprintf(tmp, sizeof tmp, "%s.tmp", path) >= (int)sizeof tmp)
        return LMB_FAIL(err, LMB_E_ARG, "%.100s...: the path is too long", path);
    fd = open_tmp(tmp);
    if (fd < 0)
        return LMB_FAIL(err, LMB_E_IO, "%s: cannot create: %s", tmp, strerror(errno));
    if (access(path, F_OK) == 0) { /* our name is a fresh, empty one, or the other's renamed file itself */
        unlink(tmp);
        close(fd);
        return LMB_OK;
    }
    randombytes_buf(secret, sizeof secret); /* X25519 and Ed25519 both take any 32 bytes */
    sodium_bin2hex(text, sizeof text, secret, sizeof secret);
    text[KEY_TEXT - 1] = '\n';
    if (ftruncate(fd, 0) != 0 || write(fd, text, KEY_TEXT) != KEY_TEXT || fsync(fd) != 0 || rename(tmp, path) != 0) {
        st = LMB_FAIL(err, LMB_E_IO, "%s: cannot write the new key: %s", path, strerror(errno));
        unlink(tmp);
    }
    close(fd);
    sodium_memzero(secret, sizeof secret);
    sodium_memzero(text, sizeof text);
    return st;
}

lmb_status lmb_key_file(const char *path, uint8_t secret[LMB_KEY_SECRET], lmb_error *err)
{
    lmb_status st;
    int fd;
    if (sodium_init() < 0)
        return LMB_FAIL(err, LMB_E_IO, "libsodium found no source of random numbers (is /dev/urandom there?)");
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT) {
        LMB_TRY(create_key(path, err));
        fd = open(path, O_RDONLY | O_CLOEXEC);
    }
    if (fd < 0)
        return LMB_FAIL(err, LMB_E_IO, "%s: cannot open: %s", path, strerror(errno));
    st = read_key(fd, path, secret, err);
    close(fd);
    return st;
}

lmb_status lmb_sign_file(const char *path, uint8_t secret[LMB_SIGN_SECRET], lmb_error *err)
{
    uint8_t seed[LMB_KEY_SECRET], public_key[LMB_SIGN_PUBLIC];
    LMB_TRY(lmb_key_file(path, seed, err));
    crypto_sign_seed_keypair(public_key, secret, seed);
    sodium_memzero(seed, sizeof seed);
    return LMB_OK;
}

const uint8_t *lmb_sign_public(const uint8_t secret[LMB_SIGN_SECRET])
{
    return secret + LMB_SIGN_SECRET - LMB_SIGN_PUBLIC;
}

void lmb_public_format(const uint8_t key[LMB_SIGN_PUBLIC], char out[LMB_PUBLIC_TEXT])
{
    sodium_bin2hex(out, LMB_PUBLIC_TEXT, key, LMB_SIGN_PUBLIC);
}

lmb_status lmb_public_parse(const char *text, uint8_t key[LMB_SIGN_PUBLIC], lmb_error *err)
{
    uint8_t got[LMB_SIGN_PUBLIC];
    size_t n = 0;
    if (strlen(text) != LMB_PUBLIC_TEXT - 1 ||
        sodium_hex2bin(got, sizeof got, text, LMB_PUBLIC_TEXT - 1, NULL, &n, NULL) != 0 || n != sizeof got)
        return LMB_FAIL(err, LMB_E_ARG, "'%.70s' is no public key; it has 64 hexadecimal digits, as `limbeck sign` and "
                        "`limbeck federation admin-key` print them", text);
    memcpy(key, got, sizeof got);
    return LMB_OK;
}

void lmb_fingerprint(const uint8_t key[LMB_SIGN_PUBLIC], char out[LMB_FINGERPRINT])
{
    lmb_hasher h;
    lmb_hash got;
    lmb_hash_begin(&h);
    lmb_hash_add_text(&h, "limbeck client");
    lmb_hash_add(&h, key, LMB_SIGN_PUBLIC);
    got = lmb_hash_end(&h);
    sodium_bin2hex(out, LMB_FINGERPRINT, got.b, (LMB_FINGERPRINT - 1) / 2);
}

void lmb_secret_lock(void *secret, size_t n)
{
    if (sodium_mlock(secret, n) != 0) {
        /* RLIMIT_MEMLOCK is too low: the key is as safe as the rest of the memory */
    }
}

void lmb_secret_wipe(void *secret, size_t n)
{
    sodium_munlock(secret, n); /* wipes first */
}
