/* tests/federated/fault_proxy.h - a bad line between clients and server: a TCP proxy that breaks connections, each in
 * one way and at one place that a seed decides.
 *
 * Idea: kinds of faults come in turn, so that a few dozen connections have seen all of them. Where it strikes is a
 * number of bytes further in one of the two directions, within `span`; a connection that ends before is spared.
 *
 *   threads  one of its own; counts may be read at any time
 */
#ifndef LMB_TESTS_FEDERATED_FAULT_PROXY_H
#define LMB_TESTS_FEDERATED_FAULT_PROXY_H

#include <stdatomic.h>
#include <stdint.h>

typedef enum {
    FAULT_NONE,
    FAULT_DELAY,     /* what comes next is held back for up to 200 ms                 */
    FAULT_DROP,      /* up to 100 bytes are missing                                   */
    FAULT_RESET,     /* RST to both sides                                             */
    FAULT_TRUNCATE,  /* FIN to both sides in the middle of something                  */
    FAULT_DUPLICATE, /* up to 100 bytes come twice                                    */
    FAULT_FLIP,      /* one bit is another                                            */
    FAULT_HALF_OPEN, /* both sides stay connected, and nothing goes through any more  */
    FAULTS
} fault_kind;

typedef struct fault_proxy fault_proxy;

/* Listens on loopback and connects to `port` there; NULL when it cannot. */
fault_proxy *fault_proxy_start(int port, uint64_t seed, uint32_t span);
int fault_proxy_port(const fault_proxy *p);
int fault_proxy_count(fault_proxy *p, fault_kind kind); /* how often it struck */
void fault_proxy_stop(fault_proxy *p);

#endif
