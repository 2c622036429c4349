/* Mirrors datasets/split.c. */
#include "datasets/split.h"

#include <stdlib.h>
#include <string.h>

#include "core/base/config.h"
#include "tests/check_main.h"

static lmb_error err;
static lmb_dataset *data;

static void open_data(void)
{
    lmb_config *c;
    const char *text = "{name: synthetic, train: 3000, height: 4, width: 4}";
    err = (lmb_error)LMB_ERROR_INIT;
    ck_ok(lmb_config_parse(text, strlen(text), "t", &c, &err));
    ck_ok(lmb_dataset_open(lmb_config_root(c), LMB_PART_TRAIN, &data, &err));
    lmb_config_destroy(c);
}

START_TEST(every_sample_goes_to_one_client_and_the_same_each_time)
{
    static int32_t a[3000], b[3000];
    static const struct { lmb_partition_kind kind; double alpha; } kinds[] = {
        { LMB_PARTITION_IID, 1 }, { LMB_PARTITION_DIRICHLET, 0.5 }, { LMB_PARTITION_SHARDS, 2 } };
    open_data();
    memset(a, -1, sizeof a);
    ck_ok(lmb_partition(data, kinds[_i].kind, 4, kinds[_i].alpha, 9, 1, a, &err));
    ck_ok(lmb_partition(data, kinds[_i].kind, 4, kinds[_i].alpha, 9, 1, b, &err));
    ck_assert_mem_eq(a, b, sizeof a);
    for (int i = 0; i < 3000; i++)
        ck_assert(a[i] >= 0 && a[i] < 4);
    lmb_dataset_destroy(data);
}
END_TEST

/* Largest share of a class that one client holds, averaged over classes: 1/4 when even. */
static double skew(lmb_partition_kind kind, double alpha)
{
    static int32_t client[3000], label[3000];
    int count[10][4] = { { 0 } }, all[10] = { 0 };
    double sum = 0;
    ck_ok(lmb_partition(data, kind, 4, alpha, 5, 1, client, &err));
    ck_ok(lmb_dataset_labels(data, label, &err));
    for (int i = 0; i < 3000; i++)
        count[label[i]][client[i]]++, all[label[i]]++;
    for (int k = 0; k < 10; k++) {
        int most = 0;
        for (int c = 0; c < 4; c++)
            most = count[k][c] > most ? count[k][c] : most;
        sum += (double)most / all[k] / 10;
    }
    return sum;
}

START_TEST(a_small_alpha_is_uneven)
{
    open_data();
    ck_assert_double_lt(skew(LMB_PARTITION_IID, 1), 0.33);
    ck_assert_double_lt(skew(LMB_PARTITION_DIRICHLET, 1000), 0.33);
    ck_assert_double_gt(skew(LMB_PARTITION_DIRICHLET, 0.5), 0.42);
    lmb_dataset_destroy(data);
}
END_TEST

START_TEST(impossible_partitions_are_refused)
{
    static int32_t client[3000];
    open_data();
    ck_assert_int_eq(lmb_partition(data, LMB_PARTITION_GROUPS, 4, 1, 1, 1, client, &err), LMB_E_ARG);
    err = (lmb_error)LMB_ERROR_INIT;
    ck_assert_int_eq(lmb_partition(data, LMB_PARTITION_DIRICHLET, 4, 0.01, 1, 700, client, &err), LMB_E_ARG);
    ck_assert_ptr_nonnull(strstr(err.msg, "larger alpha"));
    lmb_dataset_destroy(data);
}
END_TEST

START_TEST(splits_do_not_overlap)
{
    uint32_t order[1000], seen[1000] = { 0 };
    lmb_split(3, 1000, order);
    for (int i = 0; i < 1000; i++)
        ck_assert_uint_eq(seen[order[i]]++, 0);
}
END_TEST

LMB_TEST_MAIN("datasets/split", add_loop(every_sample_goes_to_one_client_and_the_same_each_time, 3);
              add(a_small_alpha_is_uneven); add(impossible_partitions_are_refused); add(splits_do_not_overlap);)
