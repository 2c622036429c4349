/* comm/about_mpi.c - see about.h. MPI-3.1, section 8.1.1: these two may be called before MPI_Init. */
#include <mpi.h>
#if defined(OPEN_MPI) && OPEN_MPI
#include <mpi-ext.h> /* MPIX_Query_cuda_support, which MPICH does not have */
#endif
#include <stdio.h>
#include <string.h>

#include "comm/about.h"

void lmb_mpi_describe(lmb_mpi_about *out)
{
    char text[MPI_MAX_LIBRARY_VERSION_STRING];
    int n = 0;

    *out = (lmb_mpi_about){ .built = true };
    MPI_Get_library_version(text, &n);
    MPI_Get_version(&out->major, &out->minor);
    snprintf(out->library, sizeof out->library, "%.*s", (int)strcspn(text, "\n,"), text);
#if defined(MPIX_CUDA_AWARE_SUPPORT)
    out->cuda_known = true;
    out->cuda = MPIX_Query_cuda_support() == 1;
#endif
}
