/* Mirrors datasets/image.c, datasets/image_png.c and datasets/image_jpeg.c. */
#include "datasets/image.h"

#include "tests/datasets/pictures.h"

static const uint8_t two_by_three[18] = { 10, 20, 30, 40, 50, 60, 70, 80, 90, 11, 21, 31, 41, 51, 61, 71, 81, 91 };

START_TEST(png_of_the_wanted_size_is_untouched)
{
    const uint8_t want[18] = { 10, 40, 70, 11, 41, 71, 20, 50, 80, 21, 51, 81, 30, 60, 90, 31, 61, 91 };
    uint8_t x[18];
    begin();
    put_png("a.png", 2, 3, two_by_three);
    ck_ok(lmb_image_load(in_dir("a.png"), 3, 2, 3, x, &err));
    ck_assert_mem_eq(x, want, sizeof want);
    end();
}
END_TEST

START_TEST(saved_pictures_are_read_again)
{
    uint8_t pixels[18], x[18];
    lmb_image image = { 3, 2, 3, pixels }, grey = { 1, 2, 3, pixels };
    begin();
    memcpy(pixels, two_by_three, sizeof pixels);
    ck_ok(lmb_image_save(in_dir("a.png"), &image, &err));
    ck_ok(lmb_image_load(in_dir("a.png"), 3, 2, 3, x, &err));
    for (int i = 0; i < 18; i++)
        ck_assert_int_eq(x[i], pixels[i % 6 * 3 + i / 6]);
    ck_ok(lmb_image_save(in_dir("b.png"), &grey, &err));
    ck_ok(lmb_image_load(in_dir("b.png"), 1, 2, 3, x, &err));
    ck_assert_mem_eq(x, pixels, 6);
    ck_assert_int_eq(lmb_image_save(in_dir("none/c.png"), &grey, &err), LMB_E_IO);
    end();
}
END_TEST

/* By hand: 4 columns to 2 with a triangle of radius 2 around 1 and 3: weights 3/4 for near, 1/4 for far pixels, made to
 * add up to 1 at the border: (.75 a + .75 b + .25 c) / 1.75. */
START_TEST(shrinking_averages)
{
    uint8_t in[16] = { 0, 70, 140, 210, 0, 70, 140, 210, 0, 70, 140, 210, 0, 70, 140, 210 }, out[4];
    lmb_image image = { 1, 4, 4, in };
    err = (lmb_error)LMB_ERROR_INIT;
    ck_ok(lmb_image_fit(&image, 2, 2, out, &err));
    ck_assert_int_eq(out[0], 50);
    ck_assert_int_eq(out[1], 160);
    ck_assert_int_eq(out[2], 50);
}
END_TEST

/* 1 x 2 to 1 x 4 would be 2 x 4: the proportions are kept by cutting, the middle is interpolated. */
START_TEST(enlarging_interpolates)
{
    uint8_t in[4] = { 0, 100, 0, 100 }, out[16];
    const uint8_t row[4] = { 0, 25, 75, 100 };
    lmb_image image = { 1, 2, 2, in };
    err = (lmb_error)LMB_ERROR_INIT;
    ck_ok(lmb_image_fit(&image, 4, 4, out, &err));
    for (int y = 0; y < 4; y++)
        ck_assert_mem_eq(out + 4 * y, row, 4);
}
END_TEST

START_TEST(other_proportions_are_cut_around_the_centre)
{
    uint8_t in[8] = { 1, 2, 3, 4, 5, 6, 7, 8 }, out[4];
    const uint8_t want[4] = { 2, 3, 6, 7 };
    lmb_image image = { 1, 2, 4, in };
    err = (lmb_error)LMB_ERROR_INIT;
    ck_ok(lmb_image_fit(&image, 2, 2, out, &err));
    ck_assert_mem_eq(out, want, 4);
    ck_assert_int_eq(lmb_image_fit(&image, 0, 2, out, &err), LMB_E_ARG);
}
END_TEST

/* A flat colour survives JPEG, at any size the decoder picks and in any proportions. */
START_TEST(jpeg_is_read_and_scaled)
{
    static uint8_t flat[64 * 48 * 3];
    uint8_t x[3 * 8 * 8], grey[16 * 16];
    for (int i = 0; i < 64 * 48; i++)
        flat[3 * i] = 200, flat[3 * i + 1] = 100, flat[3 * i + 2] = 50;
    begin();
    put_jpeg("a.jpg", 64, 48, flat);
    ck_ok(lmb_image_load(in_dir("a.jpg"), 3, 8, 8, x, &err));
    for (int i = 0; i < 64; i++) {
        ck_assert_int_le(abs(x[i] - 200), 2);
        ck_assert_int_le(abs(x[64 + i] - 100), 2);
        ck_assert_int_le(abs(x[128 + i] - 50), 2);
    }
    ck_ok(lmb_image_load(in_dir("a.jpg"), 1, 16, 16, grey, &err));
    for (int i = 0; i < 256; i++) /* ITU-R BT.601: 0.299 * 200 + 0.587 * 100 + 0.114 * 50 = 124.2 */
        ck_assert_int_le(abs(grey[i] - 124), 2);
    end();
}
END_TEST

static void refuse(const char *name, int channels, lmb_status status, const char *says)
{
    uint8_t x[12];
    err = (lmb_error)LMB_ERROR_INIT;
    lmb_status st = lmb_image_load(in_dir(name), channels, 2, 2, x, &err);
    ck_assert_msg(st == status && strstr(err.msg, says), "%s: %s", lmb_status_name(st), err.msg);
    ck_assert_ptr_nonnull(strstr(err.msg, name));
    err = (lmb_error)LMB_ERROR_INIT;
}

/* Every truncation of a good file, and other damage, is an error and nothing worse. */
START_TEST(damaged_pictures_are_refused)
{
    static uint8_t noise[24 * 24 * 3];
    static const char *const names[] = { "a.png", "a.jpg" };
    void *bytes;
    size_t n;
    begin();
    for (size_t i = 0; i < sizeof noise; i++)
        noise[i] = (uint8_t)(i * 2654435761u >> 13);
    put_png("a.png", 24, 24, noise);
    put_jpeg("a.jpg", 24, 24, noise);
    for (int k = 0; k < 2; k++) {
        ck_ok(lmb_file_read(in_dir(names[k]), 1 << 20, &bytes, &n, &err));
        for (size_t cut = 0; cut < n - 12; cut += cut < 64 ? 1 : 37) {
            lmb_image image = { 0 };
            lmb_error why = LMB_ERROR_INIT;
            uint8_t *exact = malloc(cut + 1); /* so that a sanitizer sees any read beyond */
            memcpy(exact, bytes, cut);
            ck_assert_int_eq(lmb_image_decode(exact, cut, names[k], 3, 0, 0, &image, &why), LMB_E_FORMAT);
            free(exact);
        }
        free(bytes);
    }
    put("b.png", "\x89PNG\r\n\x1a\n and then nothing", 25);
    refuse("b.png", 3, LMB_E_FORMAT, "damaged PNG");
    put("text.jpg", "not a picture", 13);
    refuse("text.jpg", 3, LMB_E_FORMAT, "neither a PNG nor a JPEG");
    refuse("a.png", 2, LMB_E_ARG, "2 channels");
    refuse("gone.png", 3, LMB_E_IO, "gone.png");
    end();
}
END_TEST

/* A header of 65,000 x 65,000 pixels must not be believed. */
START_TEST(huge_pictures_are_refused)
{
    static const uint8_t header[] = { 0x89, 'P', 'N', 'G', 13, 10, 26, 10, 0, 0, 0, 13, 'I', 'H', 'D', 'R', 0, 0, 0xfd,
                                      0xe8, 0, 0, 0xfd, 0xe8, 8, 2, 0, 0, 0, 0x2d, 0x35, 0x4e, 0x5d, 0, 0, 0, 0,
                                      'I', 'D', 'A', 'T', 0x35, 0xaf, 0x06, 0x1e };
    lmb_image image;
    err = (lmb_error)LMB_ERROR_INIT;
    ck_assert_int_eq(lmb_image_decode(header, sizeof header, "huge.png", 3, 0, 0, &image, &err), LMB_E_FORMAT);
    ck_assert_msg(strstr(err.msg, "huge.png: a picture of 65000 x 65000 pixels") != NULL, "%s", err.msg);
}
END_TEST

LMB_TEST_MAIN("datasets/image", add(png_of_the_wanted_size_is_untouched);
              add(saved_pictures_are_read_again); add(shrinking_averages);
              add(enlarging_interpolates); add(other_proportions_are_cut_around_the_centre);
              add(jpeg_is_read_and_scaled); add(damaged_pictures_are_refused); add(huge_pictures_are_refused);)
