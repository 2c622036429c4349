/* federated/lookup_dns.c - names without libc's help; see lookup.h.
 *
 * Answers come from whoever can send datagrams to us. One counts that repeats our question and its random number, from
 * the address that was asked; names inside it are only stepped over, forwards. Like other stub resolvers we believe the
 * server when it lists the addresses behind an alias. A wrong address costs a connection: the channel knows the server
 * by its key.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "core/base/file.h"
#include "core/base/scan.h"
#include "core/base/threads.h"
#include "federated/lookup.h"

enum { HEADER = 12, NAME = 254, SERVERS = 3, SEARCH = 6, FILE_MAX = 16 << 20 };

typedef struct resolv {
    lmbi_addresses server;
    int n_search;
    char search[SEARCH][NAME];
    uint64_t dots; /* a name with fewer is first tried within `search` */
} resolv;

static void add_bytes(lmbi_addresses *out, int family, const void *bytes, unsigned port)
{
    struct sockaddr_in v4 = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
    struct sockaddr_in6 v6 = { .sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port) };

    if (out->n == LMBI_ADDRESSES)
        return;
    if (family == AF_INET)
        memcpy(&v4.sin_addr, bytes, sizeof v4.sin_addr);
    else
        memcpy(&v6.sin6_addr, bytes, sizeof v6.sin6_addr);
    out->list[out->n].bytes = family == AF_INET ? sizeof v4 : sizeof v6;
    memcpy(&out->list[out->n].at, family == AF_INET ? (void *)&v4 : (void *)&v6, out->list[out->n].bytes);
    out->n++;
}

static bool add_numeric(lmbi_addresses *out, const char *text, unsigned port)
{
    uint8_t bytes[16];

    for (int v6 = 0; v6 < 2; v6++)
        if (inet_pton(v6 ? AF_INET6 : AF_INET, text, bytes) == 1) {
            add_bytes(out, v6 ? AF_INET6 : AF_INET, bytes, port);
            return true;
        }
    return false;
}

/* ---- files ---- */

/* The next word of a line, cut out of it; NULL at its end. */
static char *word(char **line)
{
    char *from = *line + strspn(*line, " \t\r"), *to = from + strcspn(from, " \t\r");

    *line = *to ? to + 1 : to;
    *to = 0;
    return *from ? from : NULL;
}

/* The next line of a text without its comment; NULL at its end. */
static char *line_of(char **text)
{
    char *from = *text, *to = from + strcspn(from, "\n");

    if (!*from)
        return NULL;
    *text = *to ? to + 1 : to;
    *to = 0;
    from[strcspn(from, "#;")] = 0;
    return from;
}

/* A file's text, "" if it can not be had: both files may be missing. The caller frees *owner. */
static char *text_of(const char *path, void **owner)
{
    static char empty[1];
    lmb_error ignored = LMB_ERROR_INIT;
    size_t n;

    *owner = NULL;
    return lmb_file_read(path, FILE_MAX, owner, &n, &ignored) == LMB_OK ? *owner : empty;
}

static void look_in_hosts(const char *path, const char *host, unsigned port, lmbi_addresses *out)
{
    void *owner;
    char *text = text_of(path, &owner), *line, *name;

    while ((line = line_of(&text)) != NULL) {
        char *address = word(&line);
        while (address && (name = word(&line)) != NULL)
            if (strcasecmp(name, host) == 0) {
                add_numeric(out, address, port);
                break;
            }
    }
    free(owner);
}

static void read_resolv(const lmbi_dns *d, resolv *r)
{
    void *owner;
    char *text = text_of(d->resolv, &owner), *line, *value;

    *r = (resolv){ .dots = 1 };
    while ((line = line_of(&text)) != NULL) {
        char *key = word(&line);
        bool search = key && (strcmp(key, "search") == 0 || strcmp(key, "domain") == 0);
        if (search)
            r->n_search = 0; /* the last such line counts */
        while (key && (value = word(&line)) != NULL) {
            const char *dots = value + 6;
            if (strcmp(key, "nameserver") == 0 && r->server.n < SERVERS)
                add_numeric(&r->server, value, d->port);
            else if (search && r->n_search < SEARCH && strlen(value) < NAME)
                strcpy(r->search[r->n_search++], value);
            else if (strcmp(key, "options") == 0 && strncmp(value, "ndots:", 6) == 0 &&
                     !lmb_scan_count(&dots, 2, &r->dots))
                r->dots = 1;
        }
    }
    free(owner);
    if (r->server.n == 0)
        add_numeric(&r->server, "127.0.0.1", d->port);
}

/* ---- messages ---- */

size_t lmbi_dns_question(uint8_t out[LMBI_QUESTION], uint16_t id, const char *name, lmbi_dns_type type)
{
    uint8_t *to = out + HEADER;
    size_t length;

    memcpy(out, (uint8_t[HEADER]){ (uint8_t)(id >> 8), (uint8_t)id, 1 /* recursion desired */, 0, 0, 1 }, HEADER);
    for (; *name; name += length + (name[length] == '.')) {
        length = strcspn(name, ".");
        if (length == 0 || length > 63 || to + 1 + length > out + HEADER + NAME)
            return 0;
        *to++ = (uint8_t)length;
        memcpy(to, name, length);
        to += length;
    }
    if (to == out + HEADER)
        return 0;
    memcpy(to, (uint8_t[]){ 0, 0, (uint8_t)type, 0, 1 /* Internet */ }, 5);
    return (size_t)(to + 5 - out);
}

/* Past a name: labels up to an empty one, or to a pointer to the rest. NULL beyond the end. */
static const uint8_t *past_name(const uint8_t *p, const uint8_t *end)
{
    while (p < end) {
        if (*p == 0)
            return p + 1;
        if (*p >= 0xc0)
            return end - p >= 2 ? p + 2 : NULL;
        if (*p > 63 || end - p < 1 + *p)
            return NULL;
        p += 1 + *p;
    }
    return NULL;
}

lmbi_dns_says lmbi_dns_answer(const uint8_t *p, size_t n, const uint8_t *question, size_t bytes, lmbi_dns_type type,
                              unsigned port, lmbi_addresses *out)
{
    const uint8_t *end = p + n, *at = p + bytes;
    size_t size = type == LMBI_DNS_A ? 4 : 16;

    if (n < bytes || bytes < HEADER || memcmp(p, question, 2) != 0 || !(p[2] & 0x80) || p[4] || p[5] != 1 ||
        memcmp(p + HEADER, question + HEADER, bytes - HEADER) != 0)
        return LMBI_OTHER;
    if ((p[3] & 15) == 3)
        return LMBI_NO_SUCH_NAME;
    if (p[3] & 15)
        return LMBI_SERVER_FAILED;
    for (int left = p[6] << 8 | p[7]; left > 0; left--) {
        at = past_name(at, end);
        if (!at || end - at < 10)
            break; /* cut off: what came counts */
        size_t length = (size_t)(at[8] << 8 | at[9]);
        if ((size_t)(end - at) - 10 < length)
            break;
        if ((at[0] << 8 | at[1]) == (int)type && (at[2] << 8 | at[3]) == 1 && length == size)
            add_bytes(out, type == LMBI_DNS_A ? AF_INET : AF_INET6, at + 10, port);
        at += 10 + length;
    }
    return LMBI_FOUND;
}

/* ---- asking ---- */

/* One question to server i, once. */
static lmbi_dns_says ask_once(const lmbi_dns *d, const resolv *r, int i, const uint8_t *question, size_t bytes,
                              lmbi_dns_type type, unsigned port, lmbi_addresses *out)
{
    const struct sockaddr *to = (const struct sockaddr *)&r->server.list[i].at;
    lmbi_dns_says says = LMBI_SERVER_FAILED;
    uint8_t answer[1500];
    struct pollfd p = { socket(to->sa_family, SOCK_DGRAM | SOCK_CLOEXEC, 0), POLLIN, 0 };
    double end = lmb_seconds() + d->wait_s, left;

    if (p.fd < 0)
        return says;
    if (connect(p.fd, to, r->server.list[i].bytes) == 0 && send(p.fd, question, bytes, MSG_NOSIGNAL) == (ssize_t)bytes)
        while ((left = end - lmb_seconds()) > 0 && poll(&p, 1, (int)(left * 1000) + 1) >= 0) {
            ssize_t n = p.revents ? recv(p.fd, answer, sizeof answer, MSG_DONTWAIT) : 0;
            if (n < 0) /* nobody listens there */
                break;
            if (n > 0 && (says = lmbi_dns_answer(answer, (size_t)n, question, bytes, type, port, out)) != LMBI_OTHER)
                break;
            says = LMBI_SERVER_FAILED;
        }
    close(p.fd);
    return says;
}

static lmbi_dns_says ask(const lmbi_dns *d, const resolv *r, const char *name, lmbi_dns_type type, unsigned port,
                         lmbi_addresses *out)
{
    uint8_t question[LMBI_QUESTION];
    size_t bytes = lmbi_dns_question(question, (uint16_t)randombytes_random(), name, type);
    lmbi_dns_says says = LMBI_SERVER_FAILED;

    if (bytes == 0)
        return LMBI_NO_SUCH_NAME;
    for (int k = 0; k < d->tries * r->server.n && says == LMBI_SERVER_FAILED; k++)
        says = ask_once(d, r, k % r->server.n, question, bytes, type, port, out);
    return says;
}

/* IPv6 is asked for where there is no IPv4: who connects tries all that are found in turn. */
static lmbi_dns_says ask_both(const lmbi_dns *d, const resolv *r, const char *name, const char *within, unsigned port,
                              lmbi_addresses *out)
{
    char whole[2 * NAME + 2];

    snprintf(whole, sizeof whole, "%.254s%s%.253s", name, *within ? "." : "", within);
    lmbi_dns_says says = ask(d, r, whole, LMBI_DNS_A, port, out);
    return says == LMBI_FOUND && out->n == 0 ? ask(d, r, whole, LMBI_DNS_AAAA, port, out) : says;
}

static uint64_t dots_of(const char *name)
{
    uint64_t n = 0;
    for (; *name; name++)
        n += *name == '.';
    return n;
}

lmb_status lmbi_dns_lookup(const lmbi_dns *d, const char *host, unsigned port, lmbi_addresses *out, lmb_error *err)
{
    size_t length = strlen(host);
    lmbi_dns_says says = LMBI_FOUND;
    resolv r;

    out->n = 0;
    if (length == 0 || length > NAME)
        return LMB_FAIL(err, LMB_E_PEER, "cannot find the server '%.60s': a name has 1 to %d characters", host, NAME);
    if (add_numeric(out, host, port))
        return LMB_OK;
    look_in_hosts(d->hosts, host, port, out);
    if (out->n == 0 && strcasecmp(host, "localhost") == 0) {
        add_numeric(out, "127.0.0.1", port);
        add_numeric(out, "::1", port);
    }
    if (out->n)
        return LMB_OK;
    read_resolv(d, &r);
    bool whole = host[length - 1] == '.', first = whole || dots_of(host) >= r.dots;
    if (first)
        says = ask_both(d, &r, host, "", port, out);
    for (int i = 0; i < r.n_search && !whole && out->n == 0 && says != LMBI_SERVER_FAILED; i++)
        says = ask_both(d, &r, host, r.search[i], port, out);
    if (!first && out->n == 0 && says != LMBI_SERVER_FAILED)
        says = ask_both(d, &r, host, "", port, out);
    if (out->n)
        return LMB_OK;
    if (says == LMBI_SERVER_FAILED)
        return LMB_FAIL(err, LMB_E_PEER, "cannot find the server '%s': no name server in %s answers", host, d->resolv);
    return LMB_FAIL(err, LMB_E_PEER, "cannot find the server '%s': no name server knows it", host);
}
