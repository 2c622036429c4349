/* federated/server_fields.c - `federation.server`: what a server can be told, with limits and defaults. */
#include "federated/server_parts.h"

static const char *const approval_names[] = { "auto", "manual", NULL };
static const char *const device_names[] = { "cpu", "cuda", NULL };
const lmb_field lmb_server_async_fields[] = {
    LMB_INT(lmb_server_async, buffer, 10, 1, 100000, "updates", "so many make a new version of the model (K)"),
    LMB_INT(lmb_server_async, concurrency, 0, 0, 100000, "clients", "at work at a time; 0: target"),
    LMB_INT(lmb_server_async, tau_max, 20, 0, 1000000, "versions", "an update whose model is older is not used"),
    LMB_FIELD_END,
};
const char *const lmbi_server_modes[] = { "sync", "async", NULL };

const lmb_field lmb_server_fields[] = {
    LMB_TEXT(lmb_server_config, address, "0.0.0.0", "numeric address to listen on; :: for IPv6 as well"),
    LMB_INT(lmb_server_config, port, 7100, 0, 65535, "", "TCP port; 0 lets the system choose"),
    LMB_TEXT(lmb_server_config, state_dir, "", "folder for key, journal and models; the run directory when empty"),
    LMB_CHOICE(lmb_server_config, approval, 0, approval_names,
               "who may take part: every client with an invite, or those approved by `limbeck federation approve`"),
    LMB_TEXT(
        lmb_server_config, admin, "",
        "public key of the admin: only clients of a roster that it signed take part; every approved client when empty"),
    LMB_INT(lmb_server_config, rounds, 10, 1, 1000000, "rounds",
            "how many rounds, abandoned ones included; versions when mode is async"),
    LMB_CHOICE(lmb_server_config, mode, LMB_MODE_SYNC, lmbi_server_modes,
               "rounds that wait for their clients, or a buffer of updates that come when they come"),
    LMB_INT(lmb_server_config, target, 10, 1, 100000, "clients", "updates that make a round"),
    LMB_REAL(lmb_server_config, over_select, 1, 1, 10, "",
             "ask so many times target clients; the slowest are not waited for"),
    LMB_INT(lmb_server_config, minimum, 2, 1, 100000, "clients", "updates without which a round is abandoned"),
    LMB_INT(lmb_server_config, pool, 0, 0, 100000, "clients", "choose once so many are there; 0: as many as are asked"),
    LMB_SECTION(lmb_server_config, async, lmb_server_async_fields, "of mode async"),
    LMB_INT(lmb_server_config, max_clients, 1000, 1, 100000, "clients", "open connections at most"),
    LMB_REAL(lmb_server_config, gather_s, 10, 0, 86400, "s", "how long to wait for pool once minimum are there"),
    LMB_REAL(lmb_server_config, pace_s, 0, 0, 86400, "s",
             "clients without work hang up and come back after about so long, later the more there are; 0: they stay"),
    LMB_REAL(lmb_server_config, drain_s, 30, 0, 86400, "s",
             "a server that is stopped waits so long for updates under way"),
    LMB_REAL(lmb_server_config, deadline_s, 300, 0.1, 86400, "s", "a client that shows no progress for so long is out"),
    LMB_REAL(lmb_server_config, reconnect_s, 30, 0, 86400, "s", "a client that is gone for so long is out"),
    LMB_REAL(lmb_server_config, round_limit_s, 86400, 0.1, 1e7, "s", "a round takes no longer, progress or not"),
    LMB_REAL(lmb_server_config, idle_s, 60, 0.1, 86400, "s", "a connection silent for so long is closed"),
    LMB_REAL(lmb_server_config, server_lr, 1, 1e-6, 1000, "", "step along the averaged change"),
    LMB_INT(lmb_server_config, max_examples, 1 << 20, 1, 1 << 30, "examples", "greatest weight a client may claim"),
    LMB_REAL(lmb_server_config, max_abs, 8, 1e-6, 1e6, "", "greatest size of one value of an update"),
    LMB_INT(lmb_server_config, seed, 1, 0, 1e15, "", "selection of clients when more than target are there"),
    LMB_TREE(lmb_server_config, aggregator, "name and options of the aggregator; fedavg when absent"),
    LMB_REAL(lmb_server_config, clip_norm, 0, 0, 1e9, "",
             "an update of a greater L2 norm is scaled down to it; 0: none is"),
    LMB_TREE(lmb_server_config, selection, "who takes part when there are more than are asked; uniform when absent"),
    LMB_TREE(lmb_server_config, codec, "how clients encode their updates; f32 when absent"),
    LMB_TREE(lmb_server_config, download, "how the model is encoded for clients: f32, bf16; f32 when absent"),
    LMB_TREE(lmb_server_config, privacy, "differential privacy of the clients; none when absent"),
    LMB_TREE(lmb_server_config, secure_aggregation,
             "the server learns the sum of updates, not one of them; off when absent"),
    LMB_CHOICE(lmb_server_config, device, LMB_SERVER_CPU, device_names,
               "where the masks of secure aggregation come off; cuda: a GPU, or the processor where there is none"),
    LMB_TREE(lmb_server_config, status, "address and port of a status page; none when absent"),
    LMB_FIELD_END,
};
