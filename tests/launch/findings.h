/* tests/launch/findings.h - looking into what doctor found. */
#ifndef LMB_TESTS_LAUNCH_FINDINGS_H
#define LMB_TESTS_LAUNCH_FINDINGS_H

#include <string.h>

#include "launch/doctor.h"
#include "tests/check_main.h"

/* The row of a topic, which must be there. */
static const lmb_finding *get(const lmb_findings *all, const char *topic)
{
    for (int i = 0; i < all->n; i++)
        if (strcmp(all->f[i].topic, topic) == 0)
            return &all->f[i];
    ck_abort_msg("no row '%s'", topic);
    return NULL;
}

#define ck_says(text, part) ck_assert_msg(strstr(text, part), "'%s' is not in '%s'", part, text)

#endif
