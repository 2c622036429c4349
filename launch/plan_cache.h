/* launch/plan_cache.h - where measured kernels are kept between runs (core/plan/choice.h): `plan_cache`,
 * `--plan-cache`. */
#ifndef LMB_LAUNCH_PLAN_CACHE_H
#define LMB_LAUNCH_PLAN_CACHE_H

#include "core/base/error.h"

enum { LMB_PLAN_CACHE_PATH = 4096 };
#define LMB_PLAN_CACHE_USAGE                                                                                                       \
    "  --plan-cache WHERE choose kernels by measuring them once, kept in folder WHERE, or with `on` in the user's cache folder;\n" \
    "                     off (as ever): the fixed choice, the same on every machine of a kind\n"

/* The folder for a setting: "off" (*folder is then NULL), "on" ($XDG_CACHE_HOME/limbeck, else $HOME/.cache/limbeck), or
 * a path.
 *   path    caller storage that *folder may point into */
LMB_MUST_CHECK lmb_status lmb_plan_cache_folder(const char *setting, char path[LMB_PLAN_CACHE_PATH],
                                                const char **folder, lmb_error *err);

#endif
