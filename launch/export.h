/* launch/export.h - what `limbeck export` writes beside the files of a run. */
#ifndef LMB_LAUNCH_EXPORT_H
#define LMB_LAUNCH_EXPORT_H

#include "launch/cmd.h"

/* MODEL.lmb --to c --out FOLDER [--name NAME]: NAME.c, NAME.h and NAME_test.c.
 *   errors  E_ARG another form, or a name that is none of C's; E_FORMAT the file is no .lmb */
LMB_MUST_CHECK lmb_status lmbi_export_c(const lmb_args *a, lmb_error *err);

#endif
