/* launch/desk.h - what the verbs of `limbeck federation` work on: clients (cmd_federation.c), the roster
 * (desk_roster.c). */
#ifndef LMB_LAUNCH_DESK_H
#define LMB_LAUNCH_DESK_H

#include "federated/journal.h"
#include "federated/server.h"
#include "launch/federation.h"
#include "launch/job.h"

/* Where a verb works: the open configuration, if there is one, and the server's folder. */
typedef struct desk {
    const lmb_args *args;
    bool has_job;
    lmb_job job;
    lmb_federation_config c;
    lmb_server_config server;
    char dir[LMB_FEDERATION_PATH];
    lmb_journal *journal;
} desk;

LMB_MUST_CHECK lmb_status lmbi_desk_sign(desk *d, lmb_error *err);
LMB_MUST_CHECK lmb_status lmbi_desk_export_roster(desk *d, lmb_error *err);
LMB_MUST_CHECK lmb_status lmbi_desk_import_roster(desk *d, lmb_error *err);
/* Without a federation at hand. */
LMB_MUST_CHECK lmb_status lmbi_desk_admin_key(const lmb_args *a, lmb_error *err);
LMB_MUST_CHECK lmb_status lmbi_desk_sign_roster(const lmb_args *a, lmb_error *err);

#endif
