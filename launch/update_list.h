/* launch/update_list.h - which samples of a data set a list names, as `limbeck monitor --label` writes it.
 *
 *   number,why,score,answer,file
 *   12,unsure,0.52,3,"phone-1.mon"
 *
 * `number` is the device's own, and has to be the first column; of the others only `file` counts, if there is one.
 *   a set with file names    the sample is the picture 12.png, 000012.png, phone-1-12.png or phone-1-000012.png, of
 *                            whatever class; with rows of several devices only the last two
 *   any other                the sample is number 12 of the set, from 0 on; rows are of one device
 */
#ifndef LMB_LAUNCH_UPDATE_LIST_H
#define LMB_LAUNCH_UPDATE_LIST_H

#include "datasets/dataset.h"

/* Their indices in `d`, once each and in order. *out: the caller's.
 *   errors  E_FORMAT: it is no such list, or names samples that `d` does not have, has twice, or can not tell from
 *           another device's; E_ARG: it is empty */
LMB_MUST_CHECK lmb_status lmbi_update_list(const char *path, const lmb_dataset *d, uint32_t **out, int64_t *count,
                                           lmb_error *err);

#endif
