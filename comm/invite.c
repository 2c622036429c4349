/* comm/invite.c - see invite.h. */
#include "comm/invite.h"

#include <arpa/inet.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>

enum { B64 = sodium_base64_VARIANT_URLSAFE_NO_PADDING };

static bool host_ok(const char *s, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)s[i] <= ' ' || s[i] == '[' || s[i] == ']' || (unsigned char)s[i] >= 0x7f)
            return false;
    return n > 0 && n < LMB_HOST_MAX;
}

/* Whoever writes host:port here would be understood as an address of IPv6. */
static bool v6_ok(const char *host)
{
    size_t n = strcspn(host, "%"); /* fe80::1%eth0: the interface is the client's affair */
    char plain[LMB_HOST_MAX];
    struct in6_addr unused;

    memcpy(plain, host, n);
    plain[n] = 0;
    return inet_pton(AF_INET6, plain, &unused) == 1;
}

lmb_status lmb_invite_check_host(const char *host, lmb_error *err)
{
    if (!host_ok(host, strnlen(host, LMB_HOST_MAX)))
        return LMB_FAIL(err, LMB_E_ARG, "'%.60s' is no host name or address clients could reach", host);
    if (strchr(host, ':') && !v6_ok(host))
        return LMB_FAIL(err, LMB_E_ARG, "'%.60s' is no address of IPv6; a host name is given without a port", host);
    return LMB_OK;
}

lmb_status lmb_invite_format(const lmb_invite *in, char out[LMB_INVITE_MAX], lmb_error *err)
{
    char key[64], token[32];
    bool v6 = strchr(in->host, ':') != NULL;
    LMB_TRY(lmb_invite_check_host(in->host, err));
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
    if (strchr(in.host, ':') && !v6_ok(in.host))
        return LMB_FAIL(err, LMB_E_FORMAT, "'%.60s' in the invite is no address of IPv6", in.host);
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
