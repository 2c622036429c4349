/* The real Fashion-MNIST of the Debian package dataset-fashion-mnist, through datasets/readers/idx.c. */
#include "datasets/split.h"
#include "tests/datasets/temp_data.h"

static const char *const where = "/usr/share/datasets/fashion-mnist";

/* Provenance: Xiao, Rasul, Vollgraf 2017, arXiv:1708.07747: 6,000 and 1,000 images of each of 10 classes; the first
 * training labels are ankle boot, T-shirt, T-shirt, dress, T-shirt in every published listing of the set. */
START_TEST(counts_and_first_labels)
{
    static const int32_t first[] = { 9, 0, 0, 3, 0 };
    static int32_t label[60000];
    for (int part = 0; part < 2; part++) {
        lmb_dataset *d;
        int count[10] = { 0 };
        ck_ok(open_from("idx", (lmb_part)part, &d));
        ck_assert_int_eq(d->n, part ? 10000 : 60000);
        ck_assert_int_eq(lmb_shape_count(&d->shape), 28 * 28);
        ck_ok(lmb_dataset_labels(d, label, &err));
        for (int i = 0; i < d->n; i++)
            count[label[i]]++;
        for (int k = 0; k < 10; k++)
            ck_assert_int_eq(count[k], part ? 1000 : 6000);
        for (int i = 0; i < 5 && part == 0; i++)
            ck_assert_int_eq(label[i], first[i]);
        lmb_dataset_destroy(d);
    }
}
END_TEST

/* 40,000 / 5,000 / 15,000, each with its tenth of every class. */
START_TEST(a_stratified_split_in_three)
{
    static uint32_t order[60000];
    static const int size[] = { 40000, 5000, 15000 };
    lmb_dataset *d;
    ck_ok(open_from("idx", LMB_PART_TRAIN, &d));
    ck_ok(lmb_split_stratified(d, 17, order, &err));
    for (int p = 0, at = 0; p < 3; at += size[p], p++) {
        int count[10] = { 0 };
        for (int i = 0; i < size[p]; i++)
            count[d->label(d, order[at + i])]++;
        for (int k = 0; k < 10; k++)
            ck_assert_int_eq(count[k], size[p] / 10);
    }
    lmb_dataset_destroy(d);
}
END_TEST

static void skip_unless_there(void)
{
    if (!lmb_file_exists(where)) {
        printf("skipped: the Debian package dataset-fashion-mnist is not installed\n");
        exit(0);
    }
}

LMB_TEST_MAIN("datasets/fashion_mnist",
              skip_unless_there(); add(counts_and_first_labels); add(a_stratified_split_in_three);)
