/* launch/model_file.h - models in files: a graph with its contents, as ONNX bytes. */
#ifndef LMB_LAUNCH_MODEL_FILE_H
#define LMB_LAUNCH_MODEL_FILE_H

#include "core/graph/graph.h"

LMB_MUST_CHECK lmb_status lmb_model_file_write(const char *path, const lmb_graph *model, lmb_error *err);
LMB_MUST_CHECK lmb_status lmb_model_file_read(const char *path, lmb_graph **out, lmb_error *err);

#endif
