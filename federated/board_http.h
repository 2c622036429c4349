/* federated/board_http.h - the status over HTTP: `/` the page, `/status.json`, `/status.txt`, `/metrics`.
 *
 * Idea: the server publishes finished texts; a thread of its own hands out what was published last. So a slow or
 * hostile reader costs the federation nothing but a copy, and there is no question that could change anything.
 *
 * Bound to loopback it answers only to names of loopback, so that no web page elsewhere can read it through the browser
 * of someone who sits there.
 *
 *   errors   E_UNSUPPORTED built without libmicrohttpd; E_IO when the port is taken
 *   threads  publish from any one thread
 */
#ifndef LMB_FEDERATED_BOARD_HTTP_H
#define LMB_FEDERATED_BOARD_HTTP_H

#include "core/base/field.h"
#include "core/base/str.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct lmb_board_config {
    const char *address;
    int64_t port;
} lmb_board_config;
extern const lmb_field lmb_board_fields[];
/* The `status` section.  errors  E_ARG, also when the address is not numeric */
LMB_MUST_CHECK lmb_status lmb_board_config_of(const struct lmb_tree *tree, lmb_board_config *out, lmb_error *err);

enum { LMB_BOARD_PAGE, LMB_BOARD_JSON, LMB_BOARD_TEXT, LMB_BOARD_METRICS, LMB_BOARD_TEXTS };
typedef struct lmb_board_http lmb_board_http;
LMB_MUST_CHECK lmb_status lmb_board_http_start(const lmb_board_config *c, lmb_board_http **out, lmb_error *err);
int lmb_board_http_port(const lmb_board_http *h);
/* Takes the texts: they are empty afterwards. */
void lmb_board_http_publish(lmb_board_http *h, lmb_str text[LMB_BOARD_TEXTS]);
void lmb_board_http_stop(lmb_board_http *h); /* NULL is a no-op */

/* GET `path` from a server's status address, for a terminal. The body is appended to `out`, bounded.
 *   errors  E_PEER nobody answers there, or not with a status */
LMB_MUST_CHECK lmb_status lmb_board_get(const lmb_board_config *c, const char *path, lmb_str *out, lmb_error *err);

#ifdef __cplusplus
}
#endif
#endif
