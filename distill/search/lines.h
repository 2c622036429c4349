/* distill/search/lines.h - a journal of JSON lines that survives a kill at any instant.
 *
 * Idea: a line is appended in one write when what it tells of is done. A line without its end, or a last one that is no
 * JSON object, is what a crash has torn: it is cut off, and what it told of is done again. One before others is damage.
 */
#ifndef LMB_DISTILL_SEARCH_LINES_H
#define LMB_DISTILL_SEARCH_LINES_H

#include "core/base/config.h"
#include "core/base/str.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Remedies for damage: of a journal, and of a table of measurements. */
#define LMB_LINES_AFRESH "begin again with --fresh"
#define LMB_LINES_MEASURED "take that line, or the file, away: it is measured again"

/* Hand each whole line to `row`; no file is no error. A torn end is cut off the file.
 *   remedy  for the sentence about damage: "put the file back as it was, or ..."
 *   errors  those of `row`, with path and line in front; E_FORMAT: above 1 GiB, or a line before the last that is none */
LMB_MUST_CHECK lmb_status lmb_lines_read(const char *path, const char *remedy,
                                         lmb_status (*row)(void *ctx, const lmb_tree *line, lmb_error *err), void *ctx,
                                         lmb_error *err);
/* Append one line, to which the newline is added. E_ARG: it is longer than what will be read. */
LMB_MUST_CHECK lmb_status lmb_lines_add(const char *path, lmb_str *line, lmb_error *err);

/* A number or text of a line: E_FORMAT names the key when it is missing or something else. */
LMB_MUST_CHECK lmb_status lmb_line_real(const lmb_tree *line, const char *key, double *out, lmb_error *err);
LMB_MUST_CHECK lmb_status lmb_line_text(const lmb_tree *line, const char *key, const char **out, lmb_error *err);

#ifdef __cplusplus
}
#endif
#endif
