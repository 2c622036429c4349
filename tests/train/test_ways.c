/* Mirrors train/ways.c: when a GPU's ways are timed, alone and among ranks, on the played GPU, which counts. */
#include <dlfcn.h>
#include <string.h>
#include <unistd.h>

#include "tests/check_main.h"
#include "tests/train/from_text.h"
#include "train/trainer_internal.h"

static lmb_error err;
static void *module;
static lmb_dataset *data;
static lmb_graph *model;
static char folder[] = "/tmp/limbeck-ways-XXXXXX";

static long contests(void) { return *(long *)dlsym(module, "lmb_played_contests"); }
static long known(void) { return *(long *)dlsym(module, "lmb_played_known"); }

static void setup(void)
{
    err = (lmb_error)LMB_ERROR_INIT;
    data = dataset_of("{name: synthetic, train: 40, classes: 4, height: 8, width: 8}", LMB_PART_TRAIN);
    model = model_of("{name: lenet}", data, 5);
}

static void teardown(void)
{
    lmb_graph_destroy(model);
    lmb_dataset_destroy(data);
}

/* What the other rank of two says, and how much was measured when it was asked. */
static char others;
static long at_meeting;

static lmb_status exchange(lmb_comm *c, const void *send, int to, void *recv, int from, size_t n, lmb_error *e)
{
    (void)send, (void)e;
    ck_assert(to == 1 && from == 1 && n == sizeof(float));
    *(float *)recv = (float)(others ? c->size : 1);
    at_meeting = contests();
    return LMB_OK;
}

static lmb_status tell(lmb_comm *c, void *to, size_t n, int root, lmb_error *e)
{
    (void)c, (void)to, (void)n, (void)root, (void)e;
    return LMB_OK;
}

/* A training with the given options, alone or as the first of two ranks, up to its first step; then, alone, to its end.
 * What lmb_trainer_kernels gives. */
typedef struct counts { long before, in_steps, known; } counts;

static lmb_status train(const char *options, bool two, counts *c)
{
    lmb_comm comm = { .size = 2, .name = "test", .broadcast = tell, .exchange = exchange }, *own;
    double smoothing = 0;
    lmb_loss loss = { lmb_loss_cross_entropy, &smoothing, NULL };
    lmb_config *o = config_of(options);
    lmb_train_config tc;
    lmb_trainer *t;
    long since = contests(), knew = known();

    ck_ok(lmb_fields_bind(lmb_train_fields, lmb_config_root(o), &tc, &err));
    ck_ok(lmb_trainer_create(&tc, model, &loss, data, NULL, NULL, &t, &err));
    own = t->comm;
    if (two)
        t->comm = &comm;
    lmb_status st = lmb_trainer_kernels(t, folder, false, NULL, &err);
    t->comm = own;
    c->before = contests() - since;
    if (st == LMB_OK)
        ck_ok(lmb_trainer_run(t, NULL, &err));
    c->in_steps = contests() - since - c->before;
    c->known = known() - knew;
    lmb_trainer_destroy(t);
    lmb_config_destroy(o);
    return st;
}

#define FAST "{epochs: 1, batch: 32, backend: cuda, mode: fast"

START_TEST(ways_are_timed_before_others_wait)
{
    counts c;

    ck_ok(train("{epochs: 1, batch: 32, backend: cuda}", true, &c)); /* deterministic */
    ck_assert(c.before == 0 && c.in_steps == 0 && c.known == 0);
    ck_ok(train(FAST ", measure_s: 0}", false, &c));
    ck_assert(c.before == 0 && c.in_steps == 0 && c.known == 0);
    others = true;
    ck_ok(train(FAST ", measure_s: 0}", true, &c));
    ck_assert(c.before == 0 && c.in_steps == 0 && c.known == 0);
    ck_ok(train(FAST ", measure_s: 3}", false, &c)); /* alone in any step; a contest takes a played second */
    ck_assert(c.before == 0 && c.in_steps == 3 && c.known == 0);
    ck_ok(train(FAST "}", true, &c)); /* of two ranks all are timed, or known, when they meet, and none later */
    ck_assert_msg(c.before > 3 && c.in_steps == 0 && c.known >= 3, "%ld %ld %ld", c.before, c.in_steps, c.known);
    ck_assert_int_eq(at_meeting, contests());
    ck_ok(train(FAST ", measure_s: 0}", false, &c)); /* and the next training knows them */
    ck_assert(c.before == 0 && c.in_steps == 0 && c.known > 6);
}
END_TEST

START_TEST(a_rank_that_fails_is_named)
{
    counts c;

    others = false;
    ck_assert_int_eq(train(FAST "}", true, &c), LMB_E_PEER);
    ck_assert_ptr_nonnull(strstr(err.msg, "rank 1 could not run its steps"));
}
END_TEST

/* No fork: the module counts, and the folder is one for all. */
int main(void)
{
    const char *file = getenv("LMB_CUDA_MODULE");
    char command[80];

    module = file ? dlopen(file, RTLD_NOW | RTLD_LOCAL) : NULL;
    if (!module || !dlsym(module, "lmb_played_contests")) {
        printf("skipped: no played GPU\n");
        return 0;
    }
    Suite *s = suite_create("train/ways");
    TCase *tc_ = tcase_create("train/ways");
    tcase_set_timeout(tc_, 900);
    tcase_add_checked_fixture(tc_, setup, teardown);
    add(ways_are_timed_before_others_wait);
    add(a_rank_that_fails_is_named);
    suite_add_tcase(s, tc_);
    SRunner *r = srunner_create(s);
    srunner_set_fork_status(r, CK_NOFORK);
    int bad = mkdtemp(folder) ? 0 : 1;
    srunner_run_all(r, CK_ENV);
    bad += srunner_ntests_failed(r);
    srunner_free(r);
    snprintf(command, sizeof command, "rm -r %s", folder);
    return system(command) != 0 || bad != 0;
}
