/* distill/quantize/profile.h - the same integers, written as a runtime wants them.
 *
 * Idea: a profile is a row. It says what must hold of a QDQ graph for its runtime to compute our integers (refused with
 * what to change in `quantize`, for a file that quietly answers otherwise is worse than none), and how activations are
 * written: as u8, or as s8, which are the same integers less 128.
 *
 *   source  ONNX Runtime: s8 activations make x86 slower than f32, u8 does not; TensorRT takes no zero point but 0
 *           and no DequantizeLinear of s32;
 *           vpmaddubsw saturates sums of two products of u8 and s8 from |w| > 64 on
 */
#ifndef LMB_DISTILL_QUANTIZE_PROFILE_H
#define LMB_DISTILL_QUANTIZE_PROFILE_H

#include "core/graph/graph.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct lmb_profile {
    const char *name, *summary;
    bool s8;           /* activations are written as s8, zero points less 128                         */
    bool symmetric;    /* activations, the input too, have zero point 128, or fewer bits, moved there */
    bool zero_input;   /* the input's 128 is subtracted in front of its QuantizeLinear                */
    bool float_bias;   /* biases are f32 constants (bias_form.h)                                      */
    bool power_of_two; /* all scales are 2^n                                                          */
    int weight_max;    /* of |w|; 0: any                                                              */
    bool int4;         /* weights of 4 bits as INT4 (opset 21)                                        */
} lmb_profile;

extern const lmb_profile *const lmb_profiles[]; /* NULL-terminated */
/* E_ARG names the nearest one. */
LMB_MUST_CHECK lmb_status lmb_profile_find(const char *name, const lmb_profile **out, lmb_error *err);

/* The QDQ graph in that form, the caller's.
 *   errors  E_UNSUPPORTED: it has not what the profile needs; the sentence says what to set */
LMB_MUST_CHECK lmb_status lmb_pass_profile(const lmb_graph *qdq, const lmb_profile *p, lmb_graph **out, lmb_error *err);

#ifdef __cplusplus
}
#endif
#endif
