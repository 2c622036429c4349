/* comm/group.h - some ranks of a job as a job of their own.
 *
 * Idea: ranks that are a multiple of `stride` apart number themselves anew and speak through the job's exchange, so
 * that what is made for all ranks (comm/nccl.h) serves a part of them: the replicas of one stage of a pipeline. All
 * groups may speak at once. There is no shared memory.
 */
#ifndef LMB_COMM_GROUP_H
#define LMB_COMM_GROUP_H

#include "comm/collective.h"

/* `all` is borrowed; end it with lmb_comm_close. */
LMB_MUST_CHECK lmb_status lmb_comm_group(lmb_comm *all, int stride, lmb_comm **out, lmb_error *err);

#endif
