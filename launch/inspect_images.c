/* launch/inspect_images.c - `limbeck inspect CONFIG.yaml --augmented FILE.png`: what a training will be shown.
 *
 * Idea: changes are drawn as the training draws them, from its seed, so that a row of the picture is one training image
 * as it is and then as epochs 1, 2, ... will have it: crops, flips, the policy's operations, cutouts.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "datasets/augment.h"
#include "datasets/image.h"
#include "launch/inspect.h"

enum { ROWS = 8, COLUMNS = 9, GAP = 2, LEAST_SIDE = 48, PAPER = 255 };

/* An image in planes as pixels of the sheet from (top, left) on, each as a square of `times` x `times`. */
static void put(lmb_image *sheet, const uint8_t *planes, const lmb_shape *s, int times, int top, int left)
{
    int h = (int)s->d[1] * times, w = (int)s->d[2] * times, channels = (int)s->d[0];

    for (int y = 0; y < h; y++)
        for (int x = 0; x < w; x++)
            for (int c = 0; c < channels; c++)
                sheet->pixels[((size_t)(top + y) * (size_t)sheet->width + (size_t)(left + x)) * (size_t)channels +
                              (size_t)c] = planes[(c * s->d[1] + y / times) * s->d[2] + x / times];
}

static lmb_status draw(const lmb_job *j, lmb_image *sheet, int rows, int times, uint8_t *image, uint8_t *scratch,
                       lmb_error *err)
{
    const lmb_train_config *c = &j->stage.train;
    const lmb_shape *s = &j->train->shape;
    int32_t label;

    for (int r = 0; r < rows; r++)
        for (int k = 0; k < COLUMNS; k++) {
            LMB_TRY(j->train->read(j->train, r, image, &label, err));
            if (k)
                lmb_augment_apply(&c->augment, image, s, (uint64_t)c->seed, (uint32_t)(k - 1), (uint64_t)r, scratch);
            put(sheet, image, s, times, GAP + r * ((int)s->d[1] * times + GAP), GAP + k * ((int)s->d[2] * times + GAP));
        }
    return LMB_OK;
}

lmb_status lmbi_inspect_augmented(const lmb_job *j, const char *path, lmb_error *err)
{
    char text[LMB_SHAPE_TEXT];

    LMB_TRY(lmb_job_training(j, err));
    const lmb_shape *s = &j->train->shape;
    if (j->train->dtype != LMB_U8 || s->n != 3 || (s->d[0] != 1 && s->d[0] != 3))
        return LMB_FAIL(err, LMB_E_ARG, "--augmented shows images of 1 or 3 channels; the samples are %s",
                        lmb_shape_text(s, text, sizeof text));
    LMB_TRY(lmb_augment_check(&j->stage.train.augment, s, j->train->dtype, err));
    int64_t longer = s->d[1] > s->d[2] ? s->d[1] : s->d[2];
    if (longer > LMB_IMAGE_MAX_SIDE / COLUMNS - GAP)
        return LMB_FAIL(err, LMB_E_ARG, "images of %s pixels are too large for a sheet of %d x %d",
                        lmb_shape_text(s, text, sizeof text), ROWS, COLUMNS);
    int times = (int)((LEAST_SIDE + longer - 1) / longer), rows = j->train->n < ROWS ? (int)j->train->n : ROWS;
    lmb_image sheet = { .channels = (int)s->d[0],
                        .height = GAP + rows * ((int)s->d[1] * times + GAP),
                        .width = GAP + COLUMNS * ((int)s->d[2] * times + GAP) };
    size_t bytes = (size_t)sheet.channels * (size_t)sheet.height * (size_t)sheet.width;
    uint8_t *image = malloc(2 * (size_t)lmb_shape_count(s));

    sheet.pixels = malloc(bytes);
    lmb_status st = image && sheet.pixels ? LMB_OK : LMB_FAIL(err, LMB_E_NOMEM, "no memory for a sheet of images");
    if (st == LMB_OK) {
        memset(sheet.pixels, PAPER, bytes);
        st = draw(j, &sheet, rows, times, image, image + lmb_shape_count(s), err);
    }
    if (st == LMB_OK)
        st = lmb_image_save(path, &sheet, err);
    if (st == LMB_OK)
        printf("%s: %d training images, each as it is and in epochs 1 to %d\n", path, rows, COLUMNS - 1);
    free(image);
    free(sheet.pixels);
    return st;
}
