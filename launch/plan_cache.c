/* launch/plan_cache.c - see plan_cache.h.
 *   source   XDG Base Directory Specification 0.8: a relative XDG_CACHE_HOME counts as none
 */
#include "launch/plan_cache.h"

#include <stdlib.h>
#include <string.h>

#include "core/base/file.h"

lmb_status lmb_plan_cache_folder(const char *setting, char path[LMB_PLAN_CACHE_PATH], const char **folder,
                                 lmb_error *err)
{
    const char *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");

    *folder = NULL;
    if (!*setting || strcmp(setting, "off") == 0)
        return LMB_OK;
    *folder = path;
    if (strcmp(setting, "on") != 0)
        return lmb_path_join(path, LMB_PLAN_CACHE_PATH, setting, "", err);
    if (cache && *cache == '/')
        return lmb_path_join(path, LMB_PLAN_CACHE_PATH, cache, "limbeck", err);
    if (home && *home == '/')
        return lmb_path_join(path, LMB_PLAN_CACHE_PATH, home, ".cache/limbeck", err);
    return LMB_FAIL(
        err, LMB_E_ARG,
        "plan_cache is on, but neither XDG_CACHE_HOME nor HOME says where; give a folder: plan_cache: /some/folder");
}
