/* federated/lookup.c - see lookup.h. */
#include "federated/lookup.h"

#ifdef LMB_STATIC

lmb_status lmbi_lookup(const char *host, unsigned port, lmbi_addresses *out, lmb_error *err)
{
    static const lmbi_dns usual = { "/etc/hosts", "/etc/resolv.conf", 53, 5, 2 };
    return lmbi_dns_lookup(&usual, host, port, out, err);
}

#else

#include <netdb.h>
#include <stdio.h>
#include <string.h>

lmb_status lmbi_lookup(const char *host, unsigned port, lmbi_addresses *out, lmb_error *err)
{
    struct addrinfo hints = { .ai_socktype = SOCK_STREAM }, *list;
    char service[8];

    out->n = 0;
    snprintf(service, sizeof service, "%u", port & 0xffff);
    int rc = getaddrinfo(host, service, &hints, &list);
    if (rc != 0)
        return LMB_FAIL(err, LMB_E_PEER, "cannot find the server '%.200s': %s", host, gai_strerror(rc));
    for (struct addrinfo *a = list; a && out->n < LMBI_ADDRESSES; a = a->ai_next)
        if (a->ai_addrlen <= sizeof out->list->at) {
            memcpy(&out->list[out->n].at, a->ai_addr, a->ai_addrlen);
            out->list[out->n++].bytes = a->ai_addrlen;
        }
    freeaddrinfo(list);
    return LMB_OK;
}

#endif
