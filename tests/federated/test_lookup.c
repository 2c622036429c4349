/* Mirrors federated/lookup.c and lookup_dns.c: against a name server in a thread. */
#include "federated/lookup.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "core/base/file.h"
#include "core/base/random.h"
#include "tests/check_main.h"

static lmb_error err;

typedef struct server {
    int fd;
    unsigned port;
    atomic_int asked;
    int silent_for; /* questions that get no answer, but one to another question */
    atomic_bool stop;
    pthread_t thread;
} server;

static int64_t put(uint8_t *to, const void *from, size_t n)
{
    memcpy(to, from, n);
    return (int64_t)n;
}

/* Knows v4.test (an alias and two addresses), v6.test, within.lan.test, and breaks for broken.test. */
static int64_t answer(uint8_t *m, int64_t n)
{
    static const uint8_t alias[] = "\xc0\x0c\0\5\0\1\0\0\0\7\0\4\1a\xc0\x0c",
                         a1[] = "\1a\xc0\x0c\0\1\0\1\0\0\0\7\0\4\12\1\2\3",
                         a2[] = "\xc0\x0c\0\1\0\1\0\0\0\7\0\4\12\1\2\4",
                         a6[] = "\xc0\x0c\0\34\0\1\0\0\0\7\0\20\xfd\0\0\0\0\0\0\0\0\0\0\0\0\0\0\5";
    bool v6 = m[n - 3] == LMBI_DNS_AAAA;
    m[2] |= 0x80;
    if (n == 12 + 9 + 4 && memcmp(m + 12, "\2v4\4test", 9) == 0 && !v6) {
        m[7] = 3;
        n += put(m + n, alias, sizeof alias - 1);
        n += put(m + n, a1, sizeof a1 - 1);
        n += put(m + n, a2, sizeof a2 - 1);
    } else if (memcmp(m + 12, "\2v6\4test", 9) == 0) {
        m[7] = v6;
        n += v6 ? put(m + n, a6, sizeof a6 - 1) : 0;
    } else if (memcmp(m + 12, "\6within\3lan\4test", 17) == 0 && !v6) {
        m[7] = 1;
        n += put(m + n, a2, sizeof a2 - 1);
    } else {
        m[3] = memcmp(m + 12, "\6broken", 7) == 0 ? 2 : 3;
    }
    return n;
}

static void *serve(void *ctx)
{
    server *s = ctx;
    uint8_t m[600];
    struct sockaddr_in from;
    socklen_t bytes = sizeof from;

    for (;;) {
        ssize_t n = recvfrom(s->fd, m, 512, 0, (struct sockaddr *)&from, &bytes);
        if (atomic_load(&s->stop))
            return NULL;
        if (n < 17)
            continue;
        if (atomic_fetch_add(&s->asked, 1) < s->silent_for)
            m[0] ^= 1; /* of another question */
        n = answer(m, n);
        (void)!sendto(s->fd, m, (size_t)n, 0, (struct sockaddr *)&from, bytes);
    }
}

static void begin(server *s, int silent_for)
{
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t bytes = sizeof at;
    *s = (server){ .silent_for = silent_for };
    s->fd = socket(AF_INET, SOCK_DGRAM, 0);
    ck_assert_int_eq(bind(s->fd, (struct sockaddr *)&at, sizeof at), 0);
    ck_assert_int_eq(getsockname(s->fd, (struct sockaddr *)&at, &bytes), 0);
    s->port = ntohs(at.sin_port);
    ck_assert_int_eq(pthread_create(&s->thread, NULL, serve, s), 0);
}

static void end(server *s)
{
    struct sockaddr_in at = { .sin_family = AF_INET,
                              .sin_port = htons((uint16_t)s->port),
                              .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    atomic_store(&s->stop, true);
    (void)!sendto(s->fd, "", 1, 0, (struct sockaddr *)&at, sizeof at);
    pthread_join(s->thread, NULL);
    close(s->fd);
}

static const char hosts[] =
    "# comment\n127.0.0.1 localhost\n  10.9.8.7\tHere here.test # there\nfd00::9 here.test\n10.0.0.1";
static const char resolv_conf[] =
    "; comment\nsearch nowhere.test lan.test\nnameserver 127.0.0.1\noptions edns0 ndots:1\n";

static lmbi_dns files(const server *s, const char *resolv)
{
    ck_ok(lmb_file_write("lookup-hosts", hosts, sizeof hosts - 1, &err));
    ck_ok(lmb_file_write("lookup-resolv", resolv, strlen(resolv), &err));
    return (lmbi_dns){ "lookup-hosts", "lookup-resolv", s->port, 60, 2 };
}

/* "10.1.2.3:80 ..." */
static const char *text(const lmbi_addresses *a)
{
    static char out[1000];
    char one[64];
    size_t n = 0;
    *out = 0;
    for (int i = 0; i < a->n; i++) {
        const struct sockaddr_in *v4 = (const void *)&a->list[i].at;
        const struct sockaddr_in6 *v6 = (const void *)&a->list[i].at;
        bool four = a->list[i].at.ss_family == AF_INET;
        ck_assert(inet_ntop(four ? AF_INET : AF_INET6,
                            four ? (const void *)&v4->sin_addr : (const void *)&v6->sin6_addr, one, sizeof one));
        n += (size_t)snprintf(out + n, sizeof out - n, "%s%s/%u", n ? " " : "", one,
                              ntohs(four ? v4->sin_port : v6->sin6_port));
    }
    return out;
}

static void found(const lmbi_dns *d, const char *host, const char *expected)
{
    lmbi_addresses a;
    ck_ok(lmbi_dns_lookup(d, host, 80, &a, &err));
    ck_assert_str_eq(text(&a), expected);
}

static void missing(const lmbi_dns *d, const char *host, const char *why)
{
    lmbi_addresses a;
    lmb_error e = LMB_ERROR_INIT;
    ck_assert_int_eq(lmbi_dns_lookup(d, host, 80, &a, &e), LMB_E_PEER);
    ck_assert_msg(strstr(e.msg, why) != NULL, "%s", e.msg);
}

START_TEST(numbers_and_files)
{
    server s;
    begin(&s, 0);
    lmbi_dns d = files(&s, resolv_conf);
    found(&d, "1.2.3.4", "1.2.3.4/80");
    found(&d, "fd00::1", "fd00::1/80");
    found(&d, "HERE", "10.9.8.7/80");
    found(&d, "here.test", "10.9.8.7/80 fd00::9/80");
    ck_assert_int_eq(atomic_load(&s.asked), 0);
    d.hosts = "no-such-file";
    found(&d, "localhost", "127.0.0.1/80 ::1/80");
    end(&s);
}
END_TEST

START_TEST(asks)
{
    server s;
    begin(&s, 0);
    lmbi_dns d = files(&s, resolv_conf);
    found(&d, "v4.test", "10.1.2.3/80 10.1.2.4/80");
    found(&d, "v4.test.", "10.1.2.3/80 10.1.2.4/80");
    found(&d, "v6.test", "fd00::5/80");
    found(&d, "within", "10.1.2.4/80");
    missing(&d, "within.", "knows it");
    missing(&d, "none.test", "knows it");
    missing(&d, "", "1 to 254");
    missing(&d, "a..b", "knows it");
    missing(&d, "broken.test", "lookup-resolv answers");
    d = files(&s, "nameserver 127.0.0.1\n"); /* nothing to search in */
    missing(&d, "within", "knows it");
    d = files(&s, ""); /* then it is this machine */
    found(&d, "v6.test", "fd00::5/80");
    end(&s);
}
END_TEST

/* What does not answer our question is not looked at. */
START_TEST(forged_answers_are_ignored)
{
    server s;
    begin(&s, 1);
    lmbi_dns d = files(&s, resolv_conf);
    d.wait_s = 0.2; /* the true answer comes to the second question, whenever that is */
    d.tries = 1000;
    found(&d, "v4.test", "10.1.2.3/80 10.1.2.4/80");
    ck_assert_int_ge(atomic_load(&s.asked), 2);
    end(&s);
    d.tries = 2;
    missing(&d, "v4.test", "answers"); /* nobody is there any more */
}
END_TEST

START_TEST(questions)
{
    uint8_t q[LMBI_QUESTION];
    char name[300];
    ck_assert_uint_eq(lmbi_dns_question(q, 0x1234, "ab.c", LMBI_DNS_A), 12 + 6 + 4);
    ck_assert_mem_eq(q, "\x12\x34\1\0\0\1\0\0\0\0\0\0\2ab\1c\0\0\1\0\1", 22);
    ck_assert_uint_eq(lmbi_dns_question(q, 1, ".", LMBI_DNS_A), 0);
    for (size_t n = 1; n < sizeof name; n++) { /* labels of 63 at most, names of 253 */
        memset(name, 'x', n);
        name[n] = 0;
        ck_assert_uint_eq(lmbi_dns_question(q, 1, name, LMBI_DNS_A), n <= 63 ? 12 + n + 2 + 4 : 0);
        for (size_t i = 60; i < n; i += 61)
            name[i] = '.';
        if (name[n - 1] != '.')
            ck_assert_uint_eq(lmbi_dns_question(q, 1, name, LMBI_DNS_A), n <= 253 ? 12 + n + 2 + 4 : 0);
    }
}
END_TEST

/* Bytes at random after a true header, and all prefixes of a true answer: nothing is read beyond the end, nothing
 * hangs. */
START_TEST(hostile_answers)
{
    uint8_t q[LMBI_QUESTION], m[600];
    size_t bytes = lmbi_dns_question(q, 7, "v4.test", LMBI_DNS_A);
    lmbi_addresses a;
    memcpy(m, q, bytes);
    int64_t n = answer(m, (int64_t)bytes);
    for (int64_t k = 0; k <= n; k++) {
        uint8_t *part = malloc((size_t)k + 1);
        memcpy(part, m, (size_t)k);
        a.n = 0;
        lmbi_dns_says says = lmbi_dns_answer(part, (size_t)k, q, bytes, LMBI_DNS_A, 80, &a);
        ck_assert_int_eq(says, k < (int64_t)bytes ? LMBI_OTHER : LMBI_FOUND);
        ck_assert_int_eq(a.n, k == n ? 2 : k >= n - 16 ? 1 : 0);
        free(part);
    }
    lmb_rand r = lmb_rand_at(3, LMB_RAND_TEST, 0, 0);
    for (uint32_t round = 0; round < 20000; round++) {
        size_t rest = (size_t)(lmb_rand_uniform(&r, 99 * round) * 90);
        uint8_t *whole = malloc(bytes + rest);
        memcpy(whole, m, bytes);
        whole[6] = 0xff; /* answers without end */
        for (size_t i = 0; i < rest; i++)
            whole[bytes + i] = (uint8_t)(lmb_rand_uniform(&r, 99 * round + 1 + (uint32_t)i) * 6) * 51;
        a.n = 0;
        (void)lmbi_dns_answer(whole, bytes + rest, q, bytes, LMBI_DNS_A, 80, &a);
        ck_assert_int_le(a.n, LMBI_ADDRESSES);
        free(whole);
    }
}
END_TEST

START_TEST(by_libc)
{
    lmbi_addresses a;
    ck_ok(lmbi_lookup("127.0.0.1", 8080, &a, &err));
    ck_assert_str_eq(text(&a), "127.0.0.1/8080");
    ck_assert_int_eq(lmbi_lookup("no name", 1, &a, &err), LMB_E_PEER);
}
END_TEST

LMB_TEST_MAIN("federated/lookup", add(numbers_and_files); add(asks); add(forged_answers_are_ignored); add(questions);
              add(hostile_answers); add(by_libc);)
