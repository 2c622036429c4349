/* comm/invite.c - see invite.h. */
#include "comm/invite.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum { B64 = sodium_base64_VARIANT_URLSAFE_NO_PADDING, KEY_TEXT = 2 * LMB_NOISE_KEY + 1 };

static bool host_ok(const char *s, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)s[i] <= ' ' || s[i] == '[' || s[i] == ']' || (unsigned char)s[i] >= 0x7f)
            return false;
    return n > 0 && n < LMB_HOST_MAX;
}

lmb_status lmb_invite_format(const lmb_invite *in, char out[LMB_INVITE_MAX], lmb_error *err)
{
    char key[64], token[32];
    bool v6 = strchr(in->host, ':') != NULL;
    if (!host_ok(in->host, strnlen(in->host, LMB_HOST_MAX)))
        return LMB_FAIL(err, LMB_E_ARG, "'%.60s' is no host name or address clients could reach", in->host);
    if (!in->port)
        return LMB_FAIL(err, LMB_E_ARG, "an invite needs the port clients connect to; give one from 1 to 65535");
    sodium_bin2base64(key, sizeof key, in->server_public, sizeof in->server_public, B64);
    sodium_bin2base64(token, sizeof token, in->token, sizeof in->token, B64);
    snprintf(out, LMB_INVITE_MAX, "lmb1:%s%s%s:%u:%s:%s", v6 ? "[" : "", in->host, v6 ? "]" : "", in->port, key, token);
    return LMB_OK;
}

/* Decode exactly `want` bytes of base64url out of n characters. */
static lmb_status decode(const char *what, const char *text, size_t n, uint8_t *out, size_t want, lmb_error *err)
{
    size_t got = 0;
    const char *end = NULL;
    if (sodium_base642bin(out, want, text, n, NULL, &got, &end, B64) != 0 || got != want || end != text + n)
        return LMB_FAIL(err, LMB_E_FORMAT, "the %s in the invite is damaged; copy the whole line again", what);
    return LMB_OK;
}

static lmb_status parse_port(const char *text, size_t n, uint16_t *out, lmb_error *err)
{
    unsigned v = 0;
    for (size_t i = 0; i < n; i++) {
        if (text[i] < '0' || text[i] > '9' || n > 5)
            return LMB_FAIL(err, LMB_E_FORMAT, "port '%.*s' in the invite is not a number from 1 to 65535",
                            (int)(n > 20 ? 20 : n), text);
        v = v * 10 + (unsigned)(text[i] - '0');
    }
    if (v < 1 || v > 65535)
        return LMB_FAIL(err, LMB_E_FORMAT, "port %u in the invite is outside 1 to 65535", v);
    *out = (uint16_t)v;
    return LMB_OK;
}

lmb_status lmb_invite_parse(const char *text, lmb_invite *out, lmb_error *err)
{
    lmb_invite in = { { 0 }, 0, { 0 }, { 0 } };
    const char *host, *host_end, *port, *key, *token;
    size_t n = strnlen(text, LMB_INVITE_MAX);

    while (n && (text[n - 1] == '\n' || text[n - 1] == '\r' || text[n - 1] == ' '))
        n--;
    if (n >= LMB_INVITE_MAX || n < 5 || memcmp(text, "lmb1:", 5) != 0)
        return LMB_FAIL(err, LMB_E_FORMAT,
                        "an invite is one line that begins with 'lmb1:' and has at most %d characters",
                        LMB_INVITE_MAX - 1);
    host = text + 5;
    if (*host == '[') {
        host++;
        host_end = memchr(host, ']', n - 6);
        port = host_end ? host_end + 1 : NULL;
    } else {
        host_end = port = memchr(host, ':', n - 5);
    }
    if (!port || port >= text + n || *port != ':' || !host_ok(host, (size_t)(host_end - host)))
        return LMB_FAIL(err, LMB_E_FORMAT, "the invite names no host; copy the whole line again");
    port++;
    key = memchr(port, ':', (size_t)(text + n - port));
    token = key ? memchr(key + 1, ':', (size_t)(text + n - key - 1)) : NULL;
    if (!token)
        return LMB_FAIL(err, LMB_E_FORMAT, "the invite is cut short; it has five parts, lmb1:host:port:key:token");
    memcpy(in.host, host, (size_t)(host_end - host));
    LMB_TRY(parse_port(port, (size_t)(key - port), &in.port, err));
    LMB_TRY(decode("server key", key + 1, (size_t)(token - key - 1), in.server_public, sizeof in.server_public, err));
    LMB_TRY(decode("token", token + 1, (size_t)(text + n - token - 1), in.token, sizeof in.token, err));
    *out = in;
    return LMB_OK;
}

lmb_token lmb_token_derive(const uint8_t token[LMB_TOKEN_BYTES])
{
    static const char id_key[] = "limbeck invite token: identifier", psk_key[] = "limbeck invite token: shared key";
    lmb_token t;
    crypto_generichash(t.id, sizeof t.id, token, LMB_TOKEN_BYTES, (const uint8_t *)id_key, sizeof id_key - 1);
    crypto_generichash(t.psk, sizeof t.psk, token, LMB_TOKEN_BYTES, (const uint8_t *)psk_key, sizeof psk_key - 1);
    return t;
}

/* ---- key files: 64 hexadecimal digits and a newline ---- */

static lmb_status read_key(int fd, const char *path, uint8_t secret[LMB_NOISE_KEY], lmb_error *err)
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
    if (n != KEY_TEXT || sodium_hex2bin(secret, LMB_NOISE_KEY, text, KEY_TEXT - 1, NULL, &got, NULL) != 0 ||
        got != LMB_NOISE_KEY) {
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
        if (fd >= 0 && fstat(fd, &info) == 0 && S_ISREG(info.st_mode) && info.st_uid == geteuid() && info.st_nlink <= 1 &&
            !(info.st_mode & 077) && flock(fd, LOCK_EX) == 0)
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
    uint8_t secret[LMB_NOISE_KEY], public_key[LMB_NOISE_KEY];
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
    lmb_noise_keygen(secret, public_key);
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

lmb_status lmb_key_file(const char *path, uint8_t secret[LMB_NOISE_KEY], lmb_error *err)
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
