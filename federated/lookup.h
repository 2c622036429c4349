/* federated/lookup.h - from a server's name to its addresses.
 *
 * Idea: libc's getaddrinfo, but in a static client, where it is an eighth of a megabyte that may load libraries of
 * exactly this libc at run time. There a name is looked up in /etc/hosts and then asked for at the name servers of
 * /etc/resolv.conf, over UDP and nothing else: no mDNS, no NIS, no answers longer than a datagram.
 *   source  RFC 1035 §3.2, §4.1 (messages), RFC 3596 (AAAA), RFC 6761 §6.3 (localhost), resolv.conf(5)
 */
#ifndef LMB_FEDERATED_LOOKUP_H
#define LMB_FEDERATED_LOOKUP_H

#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "core/base/error.h"

enum { LMBI_ADDRESSES = 16, LMBI_QUESTION = 12 + 255 + 4 };

typedef struct lmbi_addresses {
    int n;
    struct {
        struct sockaddr_storage at;
        socklen_t bytes;
    } list[LMBI_ADDRESSES]; /* in the order to try */
} lmbi_addresses;

/* host: a name, or an address in numbers. errors  E_PEER: unknown, or nobody to ask */
LMB_MUST_CHECK lmb_status lmbi_lookup(const char *host, unsigned port, lmbi_addresses *out, lmb_error *err);

/* ---- without libc ---- */

typedef struct lmbi_dns {
    const char *hosts, *resolv; /* files                                   */
    unsigned port;              /* of name servers                         */
    double wait_s;              /* for each answer                         */
    int tries;                  /* at each server, before there is none    */
} lmbi_dns;

LMB_MUST_CHECK lmb_status lmbi_dns_lookup(const lmbi_dns *d, const char *host, unsigned port, lmbi_addresses *out,
                                          lmb_error *err);

typedef enum { LMBI_DNS_A = 1, LMBI_DNS_AAAA = 28 } lmbi_dns_type;
/* A question in wire form: its bytes, or 0 for what is no name. */
size_t lmbi_dns_question(uint8_t out[LMBI_QUESTION], uint16_t id, const char *name, lmbi_dns_type type);
/* What a datagram says to a question: LMBI_FOUND after its addresses, of which there may be none, are added to out. */
typedef enum {
    LMBI_FOUND,
    LMBI_NO_SUCH_NAME,
    LMBI_SERVER_FAILED,
    LMBI_OTHER /* no answer to this question */
} lmbi_dns_says;
lmbi_dns_says lmbi_dns_answer(const uint8_t *p, size_t n, const uint8_t *question, size_t bytes, lmbi_dns_type type,
                              unsigned port, lmbi_addresses *out);

#endif
