/* core/base/compiler.h - the few places where the compiler is told more than C11 can say.
 *
 * LMB_HOT marks a loop-heavy function to be compiled for several x86 levels and picked at load time. All
 * levels give the same bits: the build uses -ffp-contract=off and never reorders float sums. They are named by what the
 * processor can do: a name like haswell would match that one model only.
 */
#ifndef LMB_CORE_BASE_COMPILER_H
#define LMB_CORE_BASE_COMPILER_H

#if defined(__GNUC__) && !defined(__clang__) && defined(__x86_64__) && defined(LMB_MULTIVERSION)
#define LMB_HOT __attribute__((target_clones("avx2", "default")))
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
