/* tests/core/cuda/doubles.h - the references of all ops in double precision.
 *
 * Idea: a shared library of its own holds the sources of the references, of graphs and of plans, all of them compiled
 * with double in place of float (CMakeLists.txt); what it says of a case is what the op's definition gives with 29 more
 * bits. It shows this one function: types that hold a float have another size in there.
 */
#ifndef LMB_TESTS_CORE_CUDA_DOUBLES_H
#define LMB_TESTS_CORE_CUDA_DOUBLES_H

#include <stdint.h>

/* The outputs of any_case(which) (layers.h) of `seed`, whose values v have the numbers in value[v], where that is not
 * NULL.
 *   out[k]   [as the output's shape], to be freed; NULL when the output is no number; n_out of them
 *   0, or not, and why */
#ifdef HAVE_DOUBLES
int doubles_run(int which, uint64_t seed, const double *const *value, int n_values, double **out, int n_out,
                char why[256]);
#else /* built without CUDA's toolkit: there is no module either, and nobody asks */
static inline int doubles_run(int which, uint64_t seed, const double *const *value, int n_values, double **out,
                              int n_out, char why[256])
{
    (void)which, (void)seed, (void)value, (void)n_values, (void)out, (void)n_out, (void)why;
    return 1;
}
#endif

#endif
