/* distill/quantize/integer_ops.c - see integer_ops.h. */
#include "distill/quantize/integer_ops.h"

#include <stddef.h>
#include <string.h>

const lmb_integer_op lmb_integer_ops[] = {
    { "Conv", LMB_INTEGER_WEIGHTS,
      "2-D, any kernel, stride, dilation, pads and groups; depthwise has kernels of its own" },
    { "Gemm", LMB_INTEGER_WEIGHTS, "x W' + b; stored weights in other forms are rewritten as that" },
    { "Add", LMB_INTEGER_MAKES, "of two feature maps of one shape" },
    { "GlobalAveragePool", LMB_INTEGER_MAKES, "of an image of any size" },
    { "Relu", LMB_INTEGER_CLAMPS, "is part of the operator before it, or before the pooling before it" },
    { "Clip", LMB_INTEGER_CLAMPS, "is part of the operator before it; constant bounds, as of ReLU6" },
    { "MaxPool", LMB_INTEGER_KEEPS, "without ceil_mode" },
    { "Flatten", LMB_INTEGER_KEEPS, "in front of a full layer; nothing is moved" },
    { "Reshape", LMB_INTEGER_KEEPS, "as Flatten" },
    { "Identity", LMB_INTEGER_KEEPS, "is left out" },
    { "Dropout", LMB_INTEGER_KEEPS, "is left out" },
    { "BatchNormalization", LMB_INTEGER_REWRITTEN,
      "becomes part of the convolution before it; behind a Concat a depthwise 1x1 convolution" },
    { "MatMul", LMB_INTEGER_REWRITTEN, "by stored weights, with an Add of stored numbers or without: Gemm" },
    { "Sub", LMB_INTEGER_REWRITTEN,
      "behind the input: its normalisation, which becomes scale and zero point of raw bytes; several, or by channel, "
      "too" },
    { "Mul", LMB_INTEGER_REWRITTEN, "as Sub" },
    { "Div", LMB_INTEGER_REWRITTEN, "as Sub" },
    { "Concat", LMB_INTEGER_REWRITTEN,
      "along channels: a layer that reads it becomes a layer for each part, and a sum" },
    { "Slice", LMB_INTEGER_REWRITTEN,
      "with strides, of an image, with a Pad of channels: a 1x1 convolution that selects" },
    { "Pad", LMB_INTEGER_REWRITTEN, "of channels with zeros: as Slice" },
    { "ReduceMean", LMB_INTEGER_REWRITTEN, "over height and width: GlobalAveragePool" },
    { "AveragePool", LMB_INTEGER_REWRITTEN, "over the whole image: GlobalAveragePool" },
    { "Softmax", LMB_INTEGER_REWRITTEN, "over the classes, at the end: is left out, its largest logit is of the same class" },
    { "LogSoftmax", LMB_INTEGER_REWRITTEN, "as Softmax" },
    { NULL, LMB_INTEGER_REWRITTEN, NULL }
};

const lmb_integer_op *lmb_integer_op_find(const char *name)
{
    for (const lmb_integer_op *r = lmb_integer_ops; r->name; r++)
        if (strcmp(r->name, name) == 0)
            return r;
    return NULL;
}
