/* distill/search/identity.c - see identity.h. */
#include "distill/search/identity.h"

#include <string.h>

#include "core/base/agree.h"

static const char begin[] = "hash of ";

void lmb_identity_samples(lmb_str *out, const char *which, const lmb_dataset *d)
{
    char hex[LMB_HASH_HEX];

    if (!d)
        return;
    lmb_hash hash = d->hash(d);
    lmb_hash_hex(&hash, hex);
    lmb_str_addf(out, "%s%s samples: %s" LMB_FIELD_MARK "\n", begin, which, hex);
}

/* Bytes of the key of a line about samples, with its colon; 0: it is of something else. */
static size_t key_of(const char *line)
{
    const char *colon = strchr(line, ':');
    return strncmp(line, begin, sizeof begin - 1) == 0 && colon ? (size_t)(colon - line) + 1 : 0;
}

/* How many threads: no bit depends on it, and another machine has others. */
static bool changes_nothing(const char *line) { return strncmp(line, "threads:", 8) == 0; }

lmb_status lmb_identity_check(const char *stored, const char *here, const char *what, const char *elsewhere,
                              lmb_error *err)
{
    lmb_agree_lines differ;

    if (lmb_agree(stored, here, changes_nothing, &differ))
        return LMB_OK;
    size_t key = key_of(differ.has);
    if (key && strncmp(differ.had, differ.has, key) == 0)
        return LMB_FAIL(
            err, LMB_E_ARG,
            "the data have changed since this journal was begun: the %.*s was%.9s... and is%.9s... now; put "
            "the old data back, or begin again with --fresh, or name another %s",
            (int)key - 1, differ.has, differ.had + key, differ.has + key, elsewhere);
    return LMB_FAIL(err, LMB_E_ARG,
                    "this journal is of another %s (`%s` where this one has `%s`); begin again with --fresh, or name "
                    "another %s",
                    what, differ.had, differ.has, elsewhere);
}

void lmb_identity_indent(const char *identity, lmb_str *out)
{
    while (*identity) {
        size_t n = strcspn(identity, "\n");
        if (!changes_nothing(identity + strspn(identity, " ")))
            lmb_str_addf(out, "  %.*s\n", (int)n, identity);
        identity += n + (identity[n] == '\n');
    }
}
