/* launch/federation.c - see federation.h. */
#include "launch/federation.h"

#include <stdlib.h>

#include "comm/invite.h"
#include "datasets/split.h"
#include "federated/local.h"

const lmb_field lmb_federation_fields[] = {
    LMB_INT(lmb_federation_config, clients, 4, 1, 100000, "", "slices that the clients' samples are divided into"),
    LMB_CHOICE(lmb_federation_config, partition, 1, lmb_partition_names, "how they are divided"),
    LMB_REAL(lmb_federation_config, alpha, 0.5, 1e-3, 1e6, "",
             "dirichlet, quantity: small is uneven; shards: shards a client"),
    LMB_INT(lmb_federation_config, seed, 1, 0, 9e15, "", "of the division"),
    LMB_INT(lmb_federation_config, least, 10, 1, 1e9, "samples", "that each client must get"),
    LMB_TEXT(lmb_federation_config, host, "127.0.0.1", "what invites tell clients to connect to"),
    LMB_REAL(lmb_federation_config, invite_ttl_s, 3600, 1, 1e8, "s", "how long an invite is good"),
    LMB_TREE(lmb_federation_config, server, "rounds, deadlines, aggregation"),
    LMB_SECTION(lmb_federation_config, client, lmb_client_fields, "what a client puts up with"),
    LMB_TREE(lmb_federation_config, local, "how clients train: train, distill, decay, calibrate"),
    LMB_TREE(lmb_federation_config, distill,
             "after each round clients' models teach the averaged one: data, samples, temperature, train"),
    LMB_TREE(lmb_federation_config, groups,
             "of `limbeck simulate`: clients with other models than `model`, a list of {clients, model}"),
    LMB_TREE(lmb_federation_config, simulate, "of `limbeck simulate`: dropout, evaluate_every, checkpoint_s, streams, masks"),
    LMB_FIELD_END
};

lmb_status lmb_federation_of(const lmb_job *j, lmb_federation_config *out, lmb_error *err)
{
    if (!j->c.federation)
        return LMB_FAIL(err, LMB_E_ARG,
                        "the configuration has no `federation` section; see configs/fashion-mnist/journey.yaml");
    LMB_TRY(lmb_fields_bind(lmb_federation_fields, j->c.federation, out, err));
    LMB_TRY(lmb_invite_check_host(out->host, err));
    return lmb_local_check(out->local, NULL, err);
}

lmb_status lmb_federation_slice(const lmb_job *j, const lmb_federation_config *c, int i, int k, lmb_dataset **out,
                                lmb_error *err)
{
    if (!j->clients)
        return LMB_FAIL(err, LMB_E_ARG, "split.clients is 0: there are no samples for clients");
    int32_t *client = malloc(sizeof *client * (size_t)j->clients->n);
    if (!client)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory to divide the clients' samples");
    lmb_status st = lmb_partition(j->clients, (lmb_partition_kind)c->partition, k, c->alpha, (uint64_t)c->seed,
                                  c->least, client, err);
    if (st == LMB_OK)
        st = lmb_partition_view(j->clients, client, i, out, err);
    free(client);
    return st;
}
