/* federated/local_parts.h - what local.c (rounds) and local_made.c (what a round's training is made of) share. */
#ifndef LMB_FEDERATED_LOCAL_PARTS_H
#define LMB_FEDERATED_LOCAL_PARTS_H

#include "core/base/config.h"
#include "federated/keep.h"
#include "federated/local.h"
#include "federated/personal.h"
#include "federated/terms/term.h"
#include "train/trainer.h"

/* The section `local`. */
typedef struct lmbi_local_settings {
    lmb_train_config train;
    lmb_distill_config distill;
    double calibrate, decay, prox, validation;
    lmb_personal_config personal;
    const lmb_tree *keep;
    const char *term;
} lmbi_local_settings;

struct lmb_local {
    lmb_hash source;       /* of graph and settings: what `yaml` and `model` were read from */
    lmb_config *yaml;
    lmbi_local_settings s;
    lmb_graph *model;      /* holds the round's numbers */
    lmb_state_layout *layout;
    lmb_hash baked;        /* of all that the trainer's plans were compiled for */
    lmb_trainer *trainer;
    lmb_objective objective; /* the trainer's; `prior` is owned */
    lmb_loss loss;
    const lmb_term *term; /* NULL: none */
    float *shift;         /* [values], with a term that corrects gradients */
    lmb_keep keep;
    float *start;         /* [values] what this client begins the round with: the round's model and what it has kept */
    lmb_held held;        /* of the client that was trained last */
    lmb_head head;
    const float *own;     /* [values] what it has made of the model for itself; NULL: nothing */
};

/* local.c: the term that the server asks for, NULL: none. */
LMB_MUST_CHECK lmb_status lmbi_local_find_term(const lmbi_local_settings *s, const lmb_term **out, lmb_error *err);

/* The server's model and settings, where they are other than the last ones. */
LMB_MUST_CHECK lmb_status lmbi_local_read(lmb_local *l, const lmb_train_task *task, lmb_error *err);
/* Nothing of them is left. */
void lmbi_local_drop(lmb_local *l);
/* Numbers a client remembers: [of the term | has it kept any | kept]; those of the term. */
size_t lmbi_local_memory(const lmb_local *l);
size_t lmbi_local_term_memory(const lmb_local *l);
/* The round's numbers, and those that the client has kept, into the graph; it must speak of as many classes as the data
 * have. */
LMB_MUST_CHECK lmb_status lmbi_local_fill(lmb_local *l, const lmb_dataset *data, const lmb_train_task *task,
                                          const float *memory, lmb_error *err);
/* l->trainer, on `data`: the one of the round before where its plans fit. */
LMB_MUST_CHECK lmb_status lmbi_local_make(lmb_local *l, const lmb_dataset *data, const lmb_train_task *task,
                                          lmb_error *err);

#endif
