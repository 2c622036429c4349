/* comm/about.h - which MPI a program was built with and runs with; may be asked without starting it. */
#ifndef LMB_COMM_ABOUT_H
#define LMB_COMM_ABOUT_H

#include <stdbool.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct lmb_mpi_about {
    bool built;            /* with MPI at all; the rest is empty without          */
    char library[128];     /* as the library calls itself, its first line         */
    int major, minor;      /* of the standard                                     */
    bool cuda_known, cuda; /* it takes pointers to device memory, if it says so */
} lmb_mpi_about;

void lmb_mpi_describe(lmb_mpi_about *out);

#ifdef __cplusplus
}
#endif
#endif
