/* Mirrors comm/invite.c. */
#include "comm/invite.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/check_main.h"

static lmb_error err;

static lmb_invite example(const char *host)
{
    lmb_invite in = { { 0 }, 7100, { 0 }, { 0 } };
    snprintf(in.host, sizeof in.host, "%s", host);
    for (int i = 0; i < 32; i++)
        in.server_public[i] = (uint8_t)(i * 7 + 1);
    for (int i = 0; i < 16; i++)
        in.token[i] = (uint8_t)(200 + i);
    return in;
}

START_TEST(round_trip)
{
    static const char *const hosts[] = { "fed.example.org", "127.0.0.1", "::1", "fe80::1%eth0" };
    lmb_invite in = example(hosts[_i]), out;
    char text[LMB_INVITE_MAX], line[LMB_INVITE_MAX + 2];
    err = (lmb_error)LMB_ERROR_INIT;
    ck_ok(lmb_invite_format(&in, text, &err));
    snprintf(line, sizeof line, "%s\r\n", text); /* as pasted */
    ck_ok(lmb_invite_parse(line, &out, &err));
    ck_assert_str_eq(out.host, in.host);
    ck_assert_int_eq(out.port, in.port);
    ck_assert_mem_eq(out.server_public, in.server_public, 32);
    ck_assert_mem_eq(out.token, in.token, 16);
}
END_TEST

START_TEST(every_cut_is_refused)
{
    lmb_invite in = example("fed.example.org"), out;
    char text[LMB_INVITE_MAX];
    err = (lmb_error)LMB_ERROR_INIT;
    ck_ok(lmb_invite_format(&in, text, &err));
    for (size_t n = strlen(text); n-- > 0;) {
        text[n] = 0;
        err = (lmb_error)LMB_ERROR_INIT;
        ck_assert_int_eq(lmb_invite_parse(text, &out, &err), LMB_E_FORMAT);
        ck_assert(!strstr(err.msg, "yMnKy")); /* the token is never quoted */
    }
}
END_TEST

START_TEST(nonsense_is_refused)
{
    static const char *const bad[] = {
        "", "lmb1", "lmb1:", "lmb2:h:1:a:b", "lmb1:[::1:7100:a:b", "lmb1:[", "lmb1::7100:a:b", "lmb1:h:0:a:b",
        "lmb1:h:65536:a:b", "lmb1:h:123456:a:b", "lmb1:h:-1:a:b", "lmb1:a b:1:a:b", "lmb1:h:1:a:b", "lmb1:h::a:b",
    };
    lmb_invite out;
    err = (lmb_error)LMB_ERROR_INIT;
    ck_assert_int_eq(lmb_invite_parse(bad[_i], &out, &err), LMB_E_FORMAT);
    ck_assert_uint_gt(strlen(err.msg), 20);
}
END_TEST

START_TEST(token_halves_differ_and_are_stable)
{
    uint8_t token[LMB_TOKEN_BYTES] = { 1 };
    lmb_token a = lmb_token_derive(token), b = lmb_token_derive(token);
    ck_assert_mem_eq(&a, &b, sizeof a);
    ck_assert_mem_ne(a.id, a.psk, LMB_TOKEN_ID);
    token[15] ^= 1;
    b = lmb_token_derive(token);
    ck_assert_mem_ne(a.id, b.id, LMB_TOKEN_ID);
    ck_assert_mem_ne(a.psk, b.psk, LMB_NOISE_KEY);
}
END_TEST

START_TEST(key_files)
{
    char dir[] = "/tmp/limbeck-key-XXXXXX", path[64];
    uint8_t a[32], b[32];
    struct stat info;
    FILE *f;
    ck_assert_ptr_nonnull(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/client.key", dir);
    err = (lmb_error)LMB_ERROR_INIT;
    ck_ok(lmb_key_file(path, a, &err));
    ck_ok(lmb_key_file(path, b, &err));
    ck_assert_mem_eq(a, b, 32);
    ck_assert_int_eq(stat(path, &info), 0);
    ck_assert_int_eq(info.st_mode & 0777, 0600);
    ck_assert_int_eq(chmod(path, 0640), 0);
    ck_assert_int_eq(lmb_key_file(path, b, &err), LMB_E_DENIED);
    err = (lmb_error)LMB_ERROR_INIT;
    f = fopen(path, "w");
    ck_assert_ptr_nonnull(f);
    fputs("not a key\n", f);
    fclose(f);
    ck_assert_int_eq(chmod(path, 0600), 0);
    ck_assert_int_eq(lmb_key_file(path, b, &err), LMB_E_FORMAT);
    err = (lmb_error)LMB_ERROR_INIT;
    ck_assert_int_eq(lmb_key_file("/nonexistent/dir/key", b, &err), LMB_E_IO);
    unlink(path);
    rmdir(dir);
}
END_TEST

/* Where others may write, a link laid in the way must not lead the new key elsewhere. */
START_TEST(a_new_key_follows_no_link)
{
    char dir[] = "/tmp/limbeck-key-XXXXXX", path[64], trap[96], victim[64], text[8] = "";
    uint8_t a[32];
    FILE *f;
    ck_assert_ptr_nonnull(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/client.key", dir);
    snprintf(trap, sizeof trap, "%s.tmp", path);
    snprintf(victim, sizeof victim, "%s/victim", dir);
    f = fopen(victim, "w");
    ck_assert_ptr_nonnull(f);
    fputs("kept", f);
    fclose(f);
    ck_assert_int_eq(symlink(victim, trap), 0);
    err = (lmb_error)LMB_ERROR_INIT;
    ck_ok(lmb_key_file(path, a, &err));
    f = fopen(victim, "r");
    ck_assert_ptr_nonnull(f);
    ck_assert_ptr_nonnull(fgets(text, sizeof text, f));
    fclose(f);
    ck_assert_str_eq(text, "kept");
    ck_assert_int_ne(access(trap, F_OK), 0);
    unlink(path);
    unlink(victim);
    ck_assert_int_eq(rmdir(dir), 0);
}
END_TEST

/* A process killed while it wrote leaves half a file; the next one takes it over and nothing is left. */
START_TEST(a_killed_writer_leaves_nothing)
{
    char dir[] = "/tmp/limbeck-key-XXXXXX", path[64], half[96];
    uint8_t a[32], b[32];
    int fd;
    ck_assert_ptr_nonnull(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/server.key", dir);
    snprintf(half, sizeof half, "%s.tmp", path);
    fd = open(half, O_WRONLY | O_CREAT, 0600);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(write(fd, "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789\n", 75), 75);
    close(fd);
    err = (lmb_error)LMB_ERROR_INIT;
    ck_ok(lmb_key_file(path, a, &err));
    ck_ok(lmb_key_file(path, b, &err));
    ck_assert_mem_eq(a, b, sizeof a);
    ck_assert_int_eq(unlink(path), 0);
    ck_assert_int_eq(rmdir(dir), 0); /* fails when anything is left in it */
}
END_TEST

/* Several processes that need the same new key at once all end with the same one. */
START_TEST(a_key_is_made_once)
{
    char dir[] = "/tmp/limbeck-key-XXXXXX", path[64];
    uint8_t mine[32];
    pid_t child[6];
    int status;
    ck_assert_ptr_nonnull(mkdtemp(dir));
    for (int round = 0; round < 20; round++) {
        snprintf(path, sizeof path, "%s/key%d", dir, round);
        int ends[2];
        ck_assert_int_eq(pipe(ends), 0);
        for (int i = 0; i < 6; i++)
            if ((child[i] = fork()) == 0) {
                uint8_t key[32];
                lmb_error e = LMB_ERROR_INIT;
                bool sent = lmb_key_file(path, key, &e) == LMB_OK && write(ends[1], key, sizeof key) == sizeof key;
                _exit(sent ? 0 : 1);
            }
        for (int i = 0; i < 6; i++) {
            ck_assert_int_eq(waitpid(child[i], &status, 0), child[i]);
            ck_assert_int_eq(status, 0);
        }
        err = (lmb_error)LMB_ERROR_INIT;
        ck_ok(lmb_key_file(path, mine, &err));
        for (int i = 0; i < 6; i++) {
            uint8_t theirs[32];
            ck_assert_int_eq(read(ends[0], theirs, sizeof theirs), sizeof theirs);
            ck_assert_mem_eq(mine, theirs, sizeof mine);
        }
        close(ends[0]);
        close(ends[1]);
        unlink(path);
    }
    ck_assert_int_eq(rmdir(dir), 0);
}
END_TEST

LMB_TEST_MAIN("comm/invite", add_loop(round_trip, 4); add(every_cut_is_refused); add_loop(nonsense_is_refused, 14);
              add(token_halves_differ_and_are_stable); add(key_files);
              add(a_new_key_follows_no_link); add(a_killed_writer_leaves_nothing); add(a_key_is_made_once);)
