/* distill/quantize/input_form.h - what stands between raw bytes and the first layer, as one mean and one scale.
 *
 * Idea: integers begin with bytes, whose scale and zero point say (x - mean) scale, and no more: a whole number and one
 * factor. Exporters write normalisations as chains of Sub, Add, Mul and Div, of all channels or by channel, or leave
 * them to whoever feeds the model; a file with one of its own, built into a configuration with another, has two. The
 * chain is one affine function of each channel: written as a mean and a scale where these can say it, whatever reads
 * it. What is left otherwise goes into the weights and bias of the first convolution: exact inside the image; at its
 * border the padding is then that one mean. A model without any normalisation gets mean 0 and scale 1.
 *
 *   errors   none of its own: what it does not know stays as it is
 */
#ifndef LMB_DISTILL_QUANTIZE_INPUT_FORM_H
#define LMB_DISTILL_QUANTIZE_INPUT_FORM_H

#include "core/graph/graph.h"

#ifdef __cplusplus
extern "C" {
#endif

LMB_MUST_CHECK lmb_status lmb_pass_input_form(const lmb_graph *g, lmb_graph **out, lmb_error *err);

#ifdef __cplusplus
}
#endif
#endif
