/* core/edge/time/energy.c - see energy.h. */
#include "core/edge/time/energy.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

static bool read_number(const char *path, double *out)
{
    errno = EINVAL; /* of a file that has no number */
    FILE *f = fopen(path, "r");
    bool there = f && fscanf(f, "%lf", out) == 1 && *out >= 0;

    if (f)
        fclose(f);
    return there;
}

static bool is_package(const char *folder)
{
    char path[LMB_ENERGY_PATH + 32], name[32] = "";

    snprintf(path, sizeof path, "%s/name", folder);
    FILE *f = fopen(path, "r");
    bool is = f && fscanf(f, "%31s", name) == 1 && strncmp(name, "package", 7) == 0;
    if (f)
        fclose(f);
    return is;
}

/* One zone of the root. false, with why: it is a package that may not be read. */
static bool add_zone(lmb_energy *e, const char *root, const char *name, char *why, size_t cap)
{
    char folder[LMB_ENERGY_PATH], path[LMB_ENERGY_PATH + 32];

    if (strncmp(name, "intel-rapl:", 11) != 0 || strchr(name + 11, ':') || e->n == LMB_ENERGY_ZONES ||
        (size_t)snprintf(folder, sizeof folder, "%s/%s", root, name) + 16 > sizeof folder || !is_package(folder))
        return true;
    snprintf(path, sizeof path, "%s/max_energy_range_uj", folder);
    if (!read_number(path, &e->zone[e->n].range))
        e->zone[e->n].range = 0;
    snprintf(e->zone[e->n].path, sizeof e->zone[e->n].path, "%.480s/energy_uj", folder);
    if (read_number(e->zone[e->n].path, &e->zone[e->n].last)) {
        e->n++;
        return true;
    }
    snprintf(why, cap, "%s can not be read (%s)%s", e->zone[e->n].path, strerror(errno),
             errno == EACCES ? "; only root may, or who is given `chmod a+r`" : "");
    return false;
}

bool lmb_energy_open(const char *root, lmb_energy *e, char *why, size_t cap)
{
    DIR *d = opendir(root);
    bool good = true;

    memset(e, 0, sizeof *e);
    if (!d) {
        snprintf(why, cap, "there is no %s: a virtual machine, or a kernel without powercap", root);
        return false;
    }
    for (const struct dirent *x = readdir(d); x && good; x = readdir(d))
        good = add_zone(e, root, x->d_name, why, cap);
    closedir(d);
    if (good && e->n == 0)
        snprintf(why, cap, "%s has no counter of a processor package (RAPL)", root);
    return good && e->n > 0;
}

bool lmb_energy_read(lmb_energy *e, double *microjoules)
{
    for (int i = 0; i < e->n; i++) {
        double now;
        if (!read_number(e->zone[i].path, &now))
            return false;
        e->used += now - e->zone[i].last + (now < e->zone[i].last ? e->zone[i].range : 0);
        e->zone[i].last = now;
    }
    *microjoules = e->used;
    return true;
}
