/* federated/no_board_http.c - a build without libmicrohttpd shows no page; the terminal still has the status. */
#include "federated/board_http.h"

lmb_status lmb_board_http_start(const lmb_board_config *c, lmb_board_http **out, lmb_error *err)
{
    (void)c, (void)out;
    return LMB_FAIL(err, LMB_E_UNSUPPORTED,
                    "this build has no status page: install libmicrohttpd-dev and build again, or remove `status`");
}

int lmb_board_http_port(const lmb_board_http *h)
{
    (void)h;
    return 0;
}

void lmb_board_http_publish(lmb_board_http *h, lmb_str text[LMB_BOARD_TEXTS])
{
    (void)h, (void)text;
}

void lmb_board_http_stop(lmb_board_http *h)
{
    (void)h;
}
