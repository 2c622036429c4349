/* datasets/table.c - every data set format, one line each. */
#include <string.h>

#include "datasets/dataset.h"

extern const lmb_dataset_format lmb_dataset_cifar, lmb_dataset_folder, lmb_dataset_hapt, lmb_dataset_hdf5,
    lmb_dataset_idx, lmb_dataset_synthetic;

const lmb_dataset_format *const lmb_dataset_formats[] = {
    &lmb_dataset_cifar,
    &lmb_dataset_folder,
    &lmb_dataset_hapt,
    &lmb_dataset_hdf5,
    &lmb_dataset_idx,
    &lmb_dataset_synthetic,
    NULL,
};

const lmb_dataset_format *lmb_dataset_format_find(const char *name)
{
    for (int i = 0; lmb_dataset_formats[i]; i++)
        if (strcmp(lmb_dataset_formats[i]->name, name) == 0)
            return lmb_dataset_formats[i];
    return NULL;
}
