/* core/base/compiler.h - the few places where the compiler is told more than C11 can say.
 *
 * LMB_HOT marks a loop-heavy function to be compiled for several x86 levels and picked at load time. All
 * levels give the same bits: the build uses -ffp-contract=off and never reorders float sums. The levels are those of
 * the x86-64 psABI; to name a processor instead ("arch=haswell") would leave out all others that can do the same.
 */
#ifndef LMB_CORE_BASE_COMPILER_H
#define LMB_CORE_BASE_COMPILER_H

#if defined(__GNUC__) && __GNUC__ >= 12 && !defined(__clang__) && defined(__x86_64__) && defined(LMB_MULTIVERSION)
#define LMB_HOT __attribute__((target_clones("arch=x86-64-v3", "default"))) /* a clone for AVX-512 gained nothing */
#else
#define LMB_HOT
#endif

#if defined(__cplusplus)
#define LMB_RESTRICT __restrict__
#else
#define LMB_RESTRICT restrict
#endif

#define LMB_COUNT(a) ((int)(sizeof(a) / sizeof((a)[0])))

#endif
