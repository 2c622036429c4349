/* tests/e2e/make_data.c - tiny data sets in the formats that the readers know, for the tests of the command.
 *
 *   make_data FORMAT FOLDER     FORMAT: idx, cifar, hapt, folder, hdf5
 *
 * Idea: each class is a level of brightness (or a speed of swinging) with some noise, which any model learns at once.
 * Exit code 77: this build has no library for the format.
 */
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#ifdef LMB_HAVE_HDF5
#include <hdf5.h>
#endif
#ifdef LMB_HAVE_PICTURES
#include <jpeglib.h>
#include <png.h>
#endif

enum { CLASSES = 3 };

static const char *dir;

static const char *in_dir(const char *name)
{
    static char path[1200];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    return path;
}

static FILE *open_file(const char *name)
{
    FILE *f = fopen(in_dir(name), "wb");
    if (!f) {
        perror(in_dir(name));
        exit(1);
    }
    return f;
}

static void close_file(FILE *f)
{
    if (fclose(f)) {
        perror("make_data");
        exit(1);
    }
}

static void folder(const char *name) { (void)mkdir(in_dir(name), 0755); }
static uint8_t pixel(int class) { return (uint8_t)(40 + 70 * class + rand() % 40); }

/* ---- idx: 28 x 28, 90 to train and 30 to test ---- */
static void put32(FILE *f, uint32_t v)
{
    for (int s = 24; s >= 0; s -= 8)
        fputc((int)(v >> s & 255), f);
}

static void idx_part(const char *images, const char *labels, int n)
{
    FILE *x = open_file(images), *y = open_file(labels);
    put32(x, 0x803), put32(x, (uint32_t)n), put32(x, 28), put32(x, 28);
    put32(y, 0x801), put32(y, (uint32_t)n);
    for (int i = 0; i < n; i++) {
        for (int p = 0; p < 28 * 28; p++)
            fputc(pixel(i % CLASSES), x);
        fputc(i % CLASSES, y);
    }
    close_file(x), close_file(y);
}

static void make_idx(void)
{
    idx_part("train-images-idx3-ubyte", "train-labels-idx1-ubyte", 90);
    idx_part("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte", 30);
}

/* ---- cifar: files of the right length, the first thousand records with something in them, the rest holes ---- */
static void make_cifar(void)
{
    static const char *const names[] = { "data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin",
                                         "data_batch_4.bin", "data_batch_5.bin", "test_batch.bin" };
    for (int k = 0; k < 6; k++) {
        FILE *f = open_file(names[k]);
        for (int i = 0; i < 1000; i++) {
            fputc(i % 10, f);
            for (int p = 0; p < 3072; p++)
                fputc(25 * (i % 10) + rand() % 25, f);
        }
        fflush(f);
        if (ftruncate(fileno(f), 30730000)) {
            perror(in_dir(names[k]));
            exit(1);
        }
        close_file(f);
    }
}

/* ---- hapt: four people (2 and 4 are of the test part), three activities ---- */
static void make_hapt(void)
{
    static const char *const sensors[] = { "acc", "gyro" };
    folder("RawData");
    FILE *labels = open_file("RawData/labels.txt");
    for (int who = 1; who <= 4; who++)
        for (int a = 0; a < CLASSES; a++)
            fprintf(labels, "%d %d %d %d %d\n", who, who, a + 1, 400 * a + 1, 400 * a + 400);
    close_file(labels);
    for (int who = 1; who <= 4; who++)
        for (int s = 0; s < 2; s++) {
            char name[64];
            snprintf(name, sizeof name, "RawData/%s_exp%02d_user%02d.txt", sensors[s], who, who);
            FILE *f = open_file(name);
            for (int t = 0; t < 400 * CLASSES; t++) {
                double x = sin(t * 0.1 * (1 + 3 * (t / 400)));
                fprintf(f, "%.4f %.4f %.4f\n", x, x + 0.01 * (rand() % 10), -x);
            }
            close_file(f);
        }
}

/* ---- folder: PNG and JPEG, grey and colour, of several sizes ---- */
#ifdef LMB_HAVE_PICTURES
static void put_png(const char *name, int h, int w, int channels, const uint8_t *x)
{
    png_image png = { .version = PNG_IMAGE_VERSION, .width = (png_uint_32)w, .height = (png_uint_32)h,
                      .format = channels == 3 ? PNG_FORMAT_RGB : PNG_FORMAT_GRAY };
    if (!png_image_write_to_file(&png, in_dir(name), 0, x, 0, NULL))
        exit(1);
}

static void put_jpeg(const char *name, int h, int w, int channels, const uint8_t *x)
{
    struct jpeg_error_mgr errors;
    struct jpeg_compress_struct j = { .err = jpeg_std_error(&errors) };
    FILE *f = open_file(name);

    jpeg_create_compress(&j);
    jpeg_stdio_dest(&j, f);
    j.image_height = (JDIMENSION)h, j.image_width = (JDIMENSION)w;
    j.input_components = channels, j.in_color_space = channels == 3 ? JCS_RGB : JCS_GRAYSCALE;
    jpeg_set_defaults(&j);
    jpeg_start_compress(&j, TRUE);
    for (int y = 0; y < h; y++) {
        uint8_t row_bytes[64 * 3];
        JSAMPROW row = row_bytes;
        memcpy(row_bytes, x + y * w * channels, (size_t)(w * channels));
        jpeg_write_scanlines(&j, &row, 1);
    }
    jpeg_finish_compress(&j);
    jpeg_destroy_compress(&j);
    close_file(f);
}

static void folder_part(const char *part, int n)
{
    static const char *const classes[CLASSES] = { "dark", "dusk", "light" };
    uint8_t x[64 * 64 * 3];
    char name[128];

    folder(part);
    for (int c = 0; c < CLASSES; c++) {
        snprintf(name, sizeof name, "%s/%s", part, classes[c]);
        folder(name);
        for (int i = 0; i < n; i++) {
            int h = 20 + 7 * (i % 5), w = 24 + 5 * (i % 4), channels = i % 3 ? 3 : 1;
            for (int p = 0; p < h * w * channels; p++)
                x[p] = pixel(c);
            snprintf(name, sizeof name, "%s/%s/%d.%s", part, classes[c], i, i % 2 ? "png" : i % 4 ? "jpg" : "jpeg");
            (i % 2 ? put_png : put_jpeg)(name, h, w, channels, x);
        }
    }
}

static void make_folder(void)
{
    folder_part("train", 24);
    folder_part("test", 8);
}
#else
static void make_folder(void) { exit(77); }
#endif

/* ---- hdf5: u8 images and f32 signals in one file ---- */
#ifdef LMB_HAVE_HDF5
static void put_array(hid_t f, const char *name, hid_t type, int rank, const hsize_t *d, const void *data)
{
    hid_t groups = H5Pcreate(H5P_LINK_CREATE), space = H5Screate_simple(rank, d, NULL);
    H5Pset_create_intermediate_group(groups, 1);
    hid_t set = H5Dcreate2(f, name, type, space, groups, H5P_DEFAULT, H5P_DEFAULT);
    if (set < 0 || H5Dwrite(set, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, data) < 0)
        exit(1);
    H5Dclose(set), H5Sclose(space), H5Pclose(groups);
}

static void make_hdf5(void)
{
    enum { N = 90, H = 10, W = 12, T = 32 };
    static uint8_t images[N * 3 * H * W];
    static float signals[N * 2 * T];
    static int32_t labels[N];
    static const char *const parts[] = { "train", "test" };
    hid_t f = H5Fcreate(in_dir("arrays.h5"), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);

    for (int part = 0; part < 2; part++) {
        hsize_t n = part ? 30 : N, x[] = { n, 3, H, W }, s[] = { n, 2, T };
        char name[64];
        for (int i = 0; i < (int)n; i++) {
            labels[i] = i % CLASSES;
            for (int p = 0; p < 3 * H * W; p++)
                images[i * 3 * H * W + p] = pixel(i % CLASSES);
            for (int t = 0; t < 2 * T; t++)
                signals[i * 2 * T + t] = (float)(sin(t * 0.2 * (1 + i % CLASSES)) + 0.01 * (rand() % 10));
        }
        snprintf(name, sizeof name, "%s/images", parts[part]);
        put_array(f, name, H5T_NATIVE_UINT8, 4, x, images);
        snprintf(name, sizeof name, "%s/signals", parts[part]);
        put_array(f, name, H5T_NATIVE_FLOAT, 3, s, signals);
        snprintf(name, sizeof name, "%s/labels", parts[part]);
        put_array(f, name, H5T_NATIVE_INT32, 1, &n, labels);
    }
    if (H5Fclose(f) < 0)
        exit(1);
}
#else
static void make_hdf5(void) { exit(77); }
#endif

int main(int argc, char **argv)
{
    static const struct { const char *name; void (*make)(void); } formats[] = {
        { "idx", make_idx }, { "cifar", make_cifar }, { "hapt", make_hapt }, { "folder", make_folder }, { "hdf5",
          make_hdf5 },
    };

    if (argc == 3) {
        dir = argv[2];
        for (size_t i = 0; i < sizeof formats / sizeof *formats; i++)
            if (strcmp(argv[1], formats[i].name) == 0)
                return formats[i].make(), 0;
    }
    fprintf(stderr, "usage: make_data idx|cifar|hapt|folder|hdf5 FOLDER\n");
    return 2;
}
