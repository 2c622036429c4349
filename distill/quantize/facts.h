/* distill/quantize/facts.h - what a .lmb says about where it comes from: lines of META, shown by `limbeck inspect`.
 *
 *     producer=limbeck
 *     teacher=6f1c0a9d51b7e204     whose answers it learned: hash of the model as ONNX
 *     data=0b7e99c3d8a14f65        what it was trained on: hash of the data set's content
 *     accuracy=0.8741              of these integers, on `samples` samples that no training saw, of `part`
 *     samples=5000
 *     part=held-out
 *     point=7                      of its search, whose journal has the moves that led to it
 *
 * The hashes are the first 16 digits of BLAKE2b-256. What is not known has no line; readers skip keys that they do not
 * know. How long a prediction takes is not among them: that is of a machine and a kernel set, not of the integers, and
 * two searches with the same decisions leave the same bytes (search.h) only because no clock has a say in them. Reports
 * and stage.json have it.
 */
#ifndef LMB_DISTILL_QUANTIZE_FACTS_H
#define LMB_DISTILL_QUANTIZE_FACTS_H

#include "core/base/hash.h"
#include "core/base/str.h"
#include "core/graph/graph.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct lmb_facts {
    bool has_teacher, has_data, has_point;
    lmb_hash teacher, data;
    int point;
    const char *part; /* NULL: the accuracy is not known */
    int64_t right, samples;
} lmb_facts;

/* As many bytes as a search's facts take, with nothing in them: for files whose size is asked before there are any. */
extern const lmb_facts lmb_facts_blank;

/* What `teacher` of lmb_facts is. */
LMB_MUST_CHECK lmb_status lmb_facts_hash(const lmb_graph *model, lmb_hash *out, lmb_error *err);
/* The plain .lmb in `file`, with these facts in place of those that it had. E_FORMAT: it is none. */
LMB_MUST_CHECK lmb_status lmb_facts_put(lmb_str *file, const lmb_facts *f, lmb_error *err);

#ifdef __cplusplus
}
#endif
#endif
