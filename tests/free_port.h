/* tests/free_port.h - a port for servers that come and go, and need the same one each time.
 *
 * Not one that the system chooses: those are also what outgoing connections are given, of any program, and of a client
 * that tries to connect while its server is gone. These lie below Linux's ip_local_port_range (32768 and up).
 */
#ifndef LMB_TESTS_FREE_PORT_H
#define LMB_TESTS_FREE_PORT_H

#include <arpa/inet.h>
#include <check.h>
#include <sys/socket.h>
#include <unistd.h>

/* The which-th of several, from 0. */
static inline int free_port(int which)
{
    enum { LOW = 20000, COUNT = 12000 };

    for (int i = 0; i < COUNT / 8; i++) {
        int port = LOW + (int)(((unsigned)getpid() * 8u + (unsigned)which + 8u * (unsigned)i) % COUNT),
            fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;
        struct sockaddr_in a = { .sin_family = AF_INET,
                                 .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                                 .sin_port = htons((uint16_t)port) };
        ck_assert_int_ge(fd, 0);
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one); /* as the server does */
        int rc = bind(fd, (struct sockaddr *)&a, sizeof a);
        close(fd);
        if (rc == 0)
            return port;
    }
    ck_abort_msg("no port from %d to %d is free", LOW, LOW + COUNT - 1);
    return 0;
}

#endif
