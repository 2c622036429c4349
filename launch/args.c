/* launch/args.c - the command line: words, --set key=value, --option value, --flag. See cmd.h. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/config.h"
#include "launch/cmd.h"

static const char *find(const char *name, size_t n, const char *const *known)
{
    for (; *known; known++) {
        const char *k = **known == '!' ? *known + 1 : *known;
        if (strlen(k) == n && memcmp(k, name, n) == 0)
            return *known;
    }
    return NULL;
}

static lmb_status unknown(const char *option, const char *const *known, lmb_error *err)
{
    const char *names[32];
    int n = 0;
    for (; *known && n < 30; known++)
        names[n++] = **known == '!' ? *known + 1 : *known;
    names[n++] = "set";
    names[n] = NULL;
    const char *near = lmb_nearest(option + 2, names);
    return LMB_FAIL(err, LMB_E_ARG, "there is no option %s%s%s; --help shows all", option,
                    near ? "; did you mean --" : "", near ? near : "");
}

lmb_status lmb_args_parse(int argc, char **argv, const char *const *known, lmb_args *out, lmb_error *err)
{
    memset(out, 0, sizeof *out);
    for (int i = 1; i < argc; i++) {
        const char *a = argv[i], *eq = strchr(a, '=');
        if (out->n_words + out->n_sets + out->n_options >= LMB_ARGS_MAX)
            return LMB_FAIL(err, LMB_E_ARG, "more than %d arguments", LMB_ARGS_MAX);
        if (strncmp(a, "--", 2) != 0) {
            out->word[out->n_words++] = a;
            continue;
        }
        size_t n = eq ? (size_t)(eq - a) - 2 : strlen(a) - 2;
        bool set = n == 3 && memcmp(a + 2, "set", 3) == 0;
        const char *k = set ? "set" : find(a + 2, n, known);
        if (!k)
            return unknown(a, known, err);
        if (*k == '!' && eq)
            return LMB_FAIL(err, LMB_E_ARG, "option --%s takes no value; write it without =%s", k + 1, eq + 1);
        const char *value = *k == '!' ? "" : eq ? eq + 1 : ++i < argc ? argv[i] : NULL;
        if (!value)
            return LMB_FAIL(err, LMB_E_ARG, "option %s needs a value", a);
        if (set) {
            out->set[out->n_sets++] = value;
        } else {
            out->name[out->n_options] = *k == '!' ? k + 1 : k;
            out->value[out->n_options++] = value;
        }
    }
    return LMB_OK;
}

const char *lmb_args_get(const lmb_args *a, const char *name, const char *otherwise)
{
    for (int i = a->n_options - 1; i >= 0; i--)
        if (strcmp(a->name[i], name) == 0)
            return a->value[i];
    return otherwise;
}

lmb_status lmb_args_int(const lmb_args *a, const char *name, int64_t otherwise, int64_t lo, int64_t hi, int64_t *out,
                        lmb_error *err)
{
    const char *text = lmb_args_get(a, name, NULL);
    char *end;

    *out = otherwise;
    if (!text)
        return LMB_OK;
    errno = 0;
    *out = strtoll(text, &end, 10);
    if (errno || end == text || *end || *out < lo || *out > hi)
        return LMB_FAIL(err, LMB_E_ARG, "--%s %s; it must be a whole number in [%lld, %lld]", name, text, (long long)lo,
                        (long long)hi);
    return LMB_OK;
}

lmb_status lmb_args_real(const lmb_args *a, const char *name, double otherwise, double lo, double hi, double *out,
                         lmb_error *err)
{
    const char *text = lmb_args_get(a, name, NULL);
    char *end;

    *out = otherwise;
    if (!text)
        return LMB_OK;
    *out = strtod(text, &end);
    if (end == text || *end || !(*out >= lo && *out <= hi))
        return LMB_FAIL(err, LMB_E_ARG, "--%s %s; it must be a number in [%g, %g]", name, text, lo, hi);
    return LMB_OK;
}
