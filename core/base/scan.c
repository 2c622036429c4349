/* core/base/scan.c - see scan.h. */
#include "core/base/scan.h"

#include <string.h>

bool lmb_scan_count(const char **at, int digits, uint64_t *out)
{
    const char *p = *at;
    uint64_t v = 0;

    for (; *p >= '0' && *p <= '9'; p++) {
        uint64_t d = (uint64_t)(*p - '0');
        if (p - *at == digits || v > (UINT64_MAX - d) / 10)
            return false;
        v = 10 * v + d;
    }
    if (p == *at)
        return false;
    *at = p;
    *out = v;
    return true;
}

bool lmb_scan_word(const char **at, const char *letters, char *out, size_t cap)
{
    size_t n = strspn(*at, letters);

    if (n == 0 || n >= cap)
        return false;
    memcpy(out, *at, n);
    out[n] = 0;
    *at += n;
    return true;
}

bool lmb_scan_char(const char **at, char c)
{
    if (!c || **at != c)
        return false;
    ++*at;
    return true;
}

/* The ] of a set that begins at p; the first byte in a set may be a ] itself. NULL: no set begins there. */
static const char *end_of_set(const char *p)
{
    if (*p++ != '[')
        return NULL;
    p += *p == '!';
    return *p ? strchr(p + 1, ']') : NULL;
}

/* One byte against the front of a pattern, which is not '*'; *next: what of the pattern follows. */
static bool matches_one(const char *p, char c, const char **next)
{
    const char *end = end_of_set(p);
    bool within = false, wanted = true;

    *next = end ? end + 1 : p + 1;
    if (!end)
        return *p == '?' || *p == c;
    if (*++p == '!') {
        wanted = false;
        p++;
    }
    for (; p < end; p++) {
        if (p[1] == '-' && p + 2 < end) {
            within |= (unsigned char)c >= (unsigned char)p[0] && (unsigned char)c <= (unsigned char)p[2];
            p += 2;
        } else {
            within |= c == *p;
        }
    }
    return within == wanted;
}

bool lmb_matches(const char *pattern, const char *text)
{
    const char *star = NULL, *from = NULL, *next; /* after the last '*', and where in the text it now ends */

    while (*text) {
        if (*pattern == '*') {
            star = ++pattern;
            from = text;
        } else if (*pattern && matches_one(pattern, *text, &next)) {
            pattern = next;
            text++;
        } else if (star) {
            pattern = star;
            text = ++from;
        } else {
            return false;
        }
    }
    while (*pattern == '*')
        pattern++;
    return !*pattern;
}
