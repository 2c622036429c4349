/* Mirrors comm/keys.c. */
#include "comm/keys.h"

#include <fcntl.h>
#include <sodium.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/check_main.h"

static lmb_error err;

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

/* RFC 8032, section 7.1, TEST 1: the file keeps the seed, so a key made elsewhere can be put there. */
START_TEST(a_signing_key_is_its_seed)
{
    static const char seed[] = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60\n";
    static const char public_hex[] = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
    static const char signature_hex[] =
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bac"
        "c61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b";
    char dir[] = "/tmp/limbeck-key-XXXXXX", path[64], hex[2 * LMB_SIGNATURE + 1];
    uint8_t secret[LMB_SIGN_SECRET], signature[LMB_SIGNATURE];
    ck_assert_ptr_nonnull(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/sign.key", dir);
    int fd = open(path, O_WRONLY | O_CREAT, 0600);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(write(fd, seed, 65), 65);
    close(fd);
    err = (lmb_error)LMB_ERROR_INIT;
    ck_ok(lmb_sign_file(path, secret, &err));
    sodium_bin2hex(hex, sizeof hex, lmb_sign_public(secret), LMB_SIGN_PUBLIC);
    ck_assert_str_eq(hex, public_hex);
    crypto_sign_detached(signature, NULL, (const uint8_t *)"", 0, secret);
    sodium_bin2hex(hex, sizeof hex, signature, sizeof signature);
    ck_assert_str_eq(hex, signature_hex);
    unlink(path);
    rmdir(dir);
}
END_TEST

static long locked_kib(void)
{
    char line[128];
    long kib = -1;
    FILE *f = fopen("/proc/self/status", "r");
    ck_assert_ptr_nonnull(f);
    while (fgets(line, sizeof line, f))
        if (sscanf(line, "VmLck: %ld", &kib) == 1)
            break;
    fclose(f);
    return kib;
}

/* Locked where the limits allow it, wiped in any case. */
START_TEST(secrets_are_locked_and_wiped)
{
    static uint8_t secret[4096 * 4], nothing[4096 * 4];
    struct rlimit limit;
    ck_assert_int_ge(sodium_init(), 0);
    ck_assert_int_eq(getrlimit(RLIMIT_MEMLOCK, &limit), 0);
    memset(secret, 7, sizeof secret);
    long before = locked_kib();
    lmb_secret_lock(secret, sizeof secret);
    bool may = limit.rlim_cur >= 8 * sizeof secret;
#ifdef __SANITIZE_ADDRESS__
    may = false; /* its mlock does nothing */
#endif
    if (may)
        ck_assert_int_ge(locked_kib(), before + 16);
    lmb_secret_wipe(secret, sizeof secret);
    ck_assert_mem_eq(secret, nothing, sizeof secret);
    ck_assert_int_eq(locked_kib(), before);
}
END_TEST

START_TEST(public_keys_as_text)
{
    static const char *const bad[] = { "", "12", "zz5a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
                                       "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a0" };
    uint8_t key[LMB_SIGN_PUBLIC] = { 1, 2, 250 }, again[LMB_SIGN_PUBLIC];
    char text[LMB_PUBLIC_TEXT];
    err = (lmb_error)LMB_ERROR_INIT;
    lmb_public_format(key, text);
    ck_ok(lmb_public_parse(text, again, &err));
    ck_assert_mem_eq(key, again, sizeof key);
    for (int i = 0; i < 4; i++)
        ck_assert_int_eq(lmb_public_parse(bad[i], again, NULL), LMB_E_ARG);
}
END_TEST

LMB_TEST_MAIN("comm/keys", add(secrets_are_locked_and_wiped); add(public_keys_as_text); add(key_files);
              add(a_new_key_follows_no_link); add(a_killed_writer_leaves_nothing); add(a_key_is_made_once);
              add(a_signing_key_is_its_seed);)
