/* comm/no_mpi.c - stands in for mpi.c and about_mpi.c in builds without MPI. */
#include "comm/about.h"
#include "comm/collective.h"

lmb_status lmbi_comm_open_mpi(lmb_comm **out, lmb_error *err)
{
    (void)out;
    return LMB_FAIL(err, LMB_E_UNSUPPORTED,
                    "this build has no MPI; install libopenmpi-dev and build again, or start one process");
}

void lmb_mpi_describe(lmb_mpi_about *out) { *out = (lmb_mpi_about){ .built = false }; }
