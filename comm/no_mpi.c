/* comm/no_mpi.c - stands in for mpi.c in builds without MPI. */
#include "comm/collective.h"

lmb_status lmbi_comm_open_mpi(lmb_comm **out, lmb_error *err)
{
    (void)out;
    return LMB_FAIL(err, LMB_E_UNSUPPORTED, "this build has no MPI; install libopenmpi-dev and build again, or start one process");
}
