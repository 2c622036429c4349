/* Mirrors datasets/split.c. */
#include "datasets/split.h"

#include <math.h>
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

static int32_t by_hundred(const lmb_dataset *d, int64_t index)
{
    (void)d;
    return (int32_t)(index % 7) * 100 - 100;
}

/* Seven groups to three clients: whole groups, none empty, at most three each. */
START_TEST(groups_stay_whole)
{
    static int32_t client[3000];
    int owner[7] = { -1, -1, -1, -1, -1, -1, -1 }, groups[3] = { 0 };
    open_data();
    lmb_dataset grouped = *data;
    grouped.group = by_hundred;
    ck_ok(lmb_partition(&grouped, LMB_PARTITION_GROUPS, 3, 1, 1, 1, client, &err));
    for (int i = 0; i < 3000; i++) {
        if (owner[i % 7] < 0)
            groups[owner[i % 7] = client[i]]++;
        ck_assert_int_eq(client[i], owner[i % 7]);
    }
    for (int c = 0; c < 3; c++)
        ck_assert(groups[c] == 2 || groups[c] == 3);
    ck_assert_int_eq(lmb_partition(&grouped, LMB_PARTITION_GROUPS, 8, 1, 1, 1, client, &err), LMB_E_ARG);
    ck_assert_ptr_nonnull(strstr(err.msg, "the data set has 7 natural groups"));
    lmb_dataset_destroy(data);
}
END_TEST

/* Quantities differ, classes do not: every client's share of each class is near its share of all samples. */
START_TEST(quantities_are_uneven_and_classes_are_not)
{
    static int32_t client[3000], again[3000];
    int64_t all[5] = { 0 }, of[5][10] = { { 0 } }, least = 3000, most = 0;
    open_data();
    ck_ok(lmb_partition(data, LMB_PARTITION_QUANTITY, 5, 0.5, 3, 0, client, &err));
    ck_ok(lmb_partition(data, LMB_PARTITION_QUANTITY, 5, 0.5, 3, 0, again, &err));
    ck_assert_mem_eq(client, again, sizeof client);
    for (int i = 0; i < 3000; i++) {
        all[client[i]]++;
        of[client[i]][data->label(data, i)]++;
    }
    for (int c = 0; c < 5; c++) {
        least = all[c] < least ? all[c] : least;
        most = all[c] > most ? all[c] : most;
        for (int k = 0; k < 10; k++) /* 5 deviations of a binomial count, and 1 */
            ck_assert_double_lt(fabs((double)of[c][k] - (double)all[c] / 10), 5 * sqrt((double)all[c] * 0.09) + 1);
    }
    ck_assert_int_gt(most, 3 * (least + 1));
    lmb_dataset_destroy(data);
}
END_TEST

/* McMahan et al.: 2 shards a client mean samples of few classes. */
START_TEST(shards_hold_few_classes)
{
    static int32_t client[3000];
    open_data();
    ck_ok(lmb_partition(data, LMB_PARTITION_SHARDS, 10, 2, 3, 300, client, &err));
    for (int c = 0; c < 10; c++) {
        lmb_dataset *view;
        int seen[10] = { 0 }, classes = 0;
        ck_ok(lmb_partition_view(data, client, c, &view, &err));
        ck_assert_int_eq(view->n, 300);
        for (int i = 0; i < view->n; i++)
            seen[view->label(view, i)] = 1;
        for (int k = 0; k < 10; k++)
            classes += seen[k];
        ck_assert_int_le(classes, 2); /* 150 divides 300: no shard straddles */
        lmb_dataset_destroy(view);
    }
    lmb_dataset_destroy(data);
}
END_TEST

/* So small an alpha that the shares themselves would underflow: each class goes to one client, whole. */
START_TEST(a_tiny_alpha_gives_a_class_to_one_client)
{
    static int32_t client[3000];
    open_data();
    ck_ok(lmb_partition(data, LMB_PARTITION_DIRICHLET, 5, 1e-4, 3, 0, client, &err));
    for (int i = 10; i < 3000; i++)
        ck_assert_int_eq(client[i], client[i % 10]);
    lmb_dataset_destroy(data);
}
END_TEST

/* Mean and variance of a client's share over many classes: Dirichlet(a, ..., a) with K parts has mean 1 / K and
 * variance (K - 1) / (K^2 (K a + 1)). K = 2, a = 0.5: 1/2 and 1/8; a = 2: 1/2 and 1/20. With 1000 classes of 100
 * samples the mean errs by about 0.011, the variance by about 0.004. */
START_TEST(shares_follow_dirichlet)
{
    static const struct { double alpha, variance; } rows[] = { { 0.5, 1.0 / 8 }, { 2, 1.0 / 20 } };
    static int32_t client[100000];
    static int count[1000];
    lmb_config *c;
    const char *text = "{name: synthetic, train: 100000, classes: 1000, height: 1, width: 1}";
    double mean = 0, square = 0;
    err = (lmb_error)LMB_ERROR_INIT;
    ck_ok(lmb_config_parse(text, strlen(text), "t", &c, &err));
    ck_ok(lmb_dataset_open(lmb_config_root(c), LMB_PART_TRAIN, &data, &err));
    lmb_config_destroy(c);
    ck_ok(lmb_partition(data, LMB_PARTITION_DIRICHLET, 2, rows[_i].alpha, 1, 1, client, &err));
    memset(count, 0, sizeof count);
    for (int i = 0; i < 100000; i++)
        count[i % 1000] += client[i] == 0;
    for (int k = 0; k < 1000; k++) {
        mean += count[k] / 100.0 / 1000;
        square += count[k] / 100.0 * count[k] / 100.0 / 1000;
    }
    ck_assert_double_eq_tol(mean, 0.5, 0.05);
    ck_assert_double_eq_tol(square - mean * mean, rows[_i].variance, 0.015);
    lmb_dataset_destroy(data);
}
END_TEST

START_TEST(impossible_partitions_are_refused)
{
    static int32_t client[3000];
    static const struct {
        lmb_partition_kind kind;
        int clients;
        double alpha;
        int64_t least;
        const char *says;
    } bad[] = {
        { LMB_PARTITION_GROUPS, 4, 1, 1, "no natural groups" },
        { LMB_PARTITION_DIRICHLET, 4, 0.01, 700, "larger alpha" },
        { LMB_PARTITION_DIRICHLET, 4, 0, 1, "alpha 0" }, { LMB_PARTITION_SHARDS, 4, 0.5, 1, "a whole number" },
        { LMB_PARTITION_SHARDS, 4, 1.5, 1, "a whole number" },
        { LMB_PARTITION_SHARDS, 4, 751, 1, "at most the 3000 samples" },
        { LMB_PARTITION_IID, 0, 1, 1, "0 clients" }, { LMB_PARTITION_IID, 3001, 1, 1, "3001 clients" },
    };
    open_data();
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        err = (lmb_error)LMB_ERROR_INIT;
        ck_assert_int_eq(lmb_partition(data, bad[i].kind, bad[i].clients, bad[i].alpha, 1, bad[i].least, client, &err),
                         LMB_E_ARG);
        ck_assert_msg(strstr(err.msg, bad[i].says) != NULL, "%s", err.msg);
    }
    lmb_dataset_destroy(data);
}
END_TEST

START_TEST(splits_do_not_overlap)
{
    uint32_t order[1000], again[1000], other[1000], seen[1000] = { 0 };
    lmb_split(3, 1000, order);
    lmb_split(3, 1000, again);
    lmb_split(4, 1000, other);
    ck_assert_mem_eq(order, again, sizeof order);
    ck_assert_mem_ne(order, other, sizeof order);
    for (int i = 0; i < 1000; i++)
        ck_assert_uint_eq(seen[order[i]]++, 0);
}
END_TEST

static int32_t uneven(const lmb_dataset *d, int64_t index)
{
    (void)d;
    return index < 2100 ? 0 : index < 2990 ? 3 : 9; /* 70 %, 29.7 %, 0.3 %, and seven classes of nothing */
}

START_TEST(stratified_splits_keep_the_shares)
{
    static uint32_t order[3000];
    static int seen[3000];
    int count[10] = { 0 };
    open_data();
    lmb_dataset d = *data;
    d.label = uneven;
    ck_ok(lmb_split_stratified(&d, 7, order, &err));
    memset(seen, 0, sizeof seen);
    for (int i = 0; i < 3000; i++) {
        static const double share[10] = { 0.7, 0, 0, 890 / 3000.0, 0, 0, 0, 0, 0, 10 / 3000.0 };
        ck_assert_int_eq(seen[order[i]]++, 0);
        count[uneven(&d, order[i])]++;
        for (int k = 0; k < 10; k++)
            ck_assert_double_lt(fabs(count[k] - share[k] * (i + 1)), 1.01);
    }
    lmb_dataset_destroy(data);
}
END_TEST

LMB_TEST_MAIN("datasets/split", add_loop(every_sample_goes_to_one_client_and_the_same_each_time, 3);
              add(a_small_alpha_is_uneven); add(groups_stay_whole); add(quantities_are_uneven_and_classes_are_not);
              add(shards_hold_few_classes); add(a_tiny_alpha_gives_a_class_to_one_client);
              add_loop(shares_follow_dirichlet, 2); add(impossible_partitions_are_refused); add(splits_do_not_overlap);
              add(stratified_splits_keep_the_shares);)
