/* launch/inspect.h - what `limbeck inspect` knows to look into: one row a kind of file, told apart by its first bytes. */
#ifndef LMB_LAUNCH_INSPECT_H
#define LMB_LAUNCH_INSPECT_H

#include "core/graph/graph.h"
#include "launch/cmd.h"

typedef struct lmb_inspector {
    const char *name;
    bool (*is)(const char *path, const unsigned char *head, size_t n); /* n: up to 16 bytes of the file's beginning */
    lmb_status (*print)(const char *path, const lmb_args *a, lmb_error *err);
} lmb_inspector;

extern const lmb_inspector lmbi_inspect_lmb, lmbi_inspect_store, lmbi_inspect_onnx;

/* A graph's layers, parameters, MACs, memory; with --plan and --time its steps. */
LMB_MUST_CHECK lmb_status lmbi_inspect_graph(const lmb_graph *g, const char *backend, const lmb_args *a, lmb_error *err);

#endif
