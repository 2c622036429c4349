/* core/edge/time/processor.c - what a machine calls itself: a board's name from its device tree, else the processor's,
 * else its kind. See serve.h. */
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>

#include "core/edge/time/serve.h"

/* Printable ASCII alone, without blanks around it. */
static void keep(const char *from, char name[LMB_FRAME_NAME])
{
    size_t n = 0;

    while (*from == ' ' || *from == '\t')
        from++;
    for (; *from && n + 1 < LMB_FRAME_NAME; from++)
        if (*from >= ' ' && *from <= '~')
            name[n++] = *from;
    while (n && name[n - 1] == ' ')
        n--;
    name[n] = '\0';
}

/* The first line, or the one that begins with `key`, behind its colon. */
static void read_line(const char *path, const char *key, char name[LMB_FRAME_NAME])
{
    char line[256];
    FILE *f = fopen(path, "r");

    while (f && !*name && fgets(line, sizeof line, f)) {
        const char *colon = strchr(line, ':');
        if (!key)
            keep(line, name);
        else if (colon && strncmp(line, key, strlen(key)) == 0)
            keep(colon + 1, name);
    }
    if (f)
        fclose(f);
}

void lmb_edge_processor(char name[LMB_FRAME_NAME])
{
    struct utsname u;

    *name = '\0';
    read_line("/proc/device-tree/model", NULL, name);
    if (!*name)
        read_line("/proc/cpuinfo", "model name", name);
    if (!*name)
        read_line("/proc/cpuinfo", "Hardware", name);
    if (!*name && uname(&u) == 0)
        keep(u.machine, name);
    if (!*name)
        keep("unknown", name);
}
