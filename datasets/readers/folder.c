/* datasets/readers/folder.c - pictures in folders: <path>/train/<class>/NAME.png (.jpg, .jpeg), <path>/test/<class>/...
 *
 * Idea: the folder's names are the labels. Classes are the sub-folders of train/ in byte order, so that both parts
 * agree; pictures of a class come in byte order too. Nothing is decoded before it is asked for.
 *
 * Without labels (labels: false) the pictures lie in <path>/train, or in <path> itself where there is no such folder,
 * and in the sub-folders of that; there is one class. They are for `distill.unlabelled`.
 *
 *   note  the content hash covers names, file sizes and the last 4 kB of each file, not all pixels: it must not read a
 *         whole large set. A small picture is there as a whole, and of a PNG the checksum of what it shows
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/file.h"
#include "datasets/dataset.h"
#include "datasets/image.h"

typedef struct config { const char *path; int64_t channels, height, width; bool labels; } config;
static const lmb_field fields[] = {
    LMB_TEXT(config, path, "", "folder with train/<class>/ and test/<class>/"),
    LMB_INT(config, channels, 3, 1, 3, "", "1: grey, 3: colour"),
    LMB_INT(config, height, 224, 1, 4096, "pixels", "pictures are cut to these proportions and scaled"),
    LMB_INT(config, width, 224, 1, 4096, "pixels", "see height"),
    LMB_BOOL(config, labels, true,
             "false: pictures of no known class, in one folder or in any sub-folders; for distill.unlabelled"),
    LMB_FIELD_END
};

enum { MAX_CLASSES = 100000, END = 4096 };

typedef struct names { char **name; size_t n, cap; } names;

typedef struct state {
    char *root;      /* <path>/<part>                */
    names classes;   /* sorted                       */
    names files;     /* "<class>/<file>", as sorted  */
    int32_t *labels; /* [files.n]                    */
    lmb_hash hash;   /* of names and sizes; once hashed, of the files' ends too */
    bool hashed;
} state;

static bool is_picture(const char *name)
{
    const char *dot = strrchr(name, '.');
    return dot && (!strcasecmp(dot, ".png") || !strcasecmp(dot, ".jpg") || !strcasecmp(dot, ".jpeg"));
}

static int by_name(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

static void names_free(names *l)
{
    for (size_t i = 0; i < l->n; i++)
        free(l->name[i]);
    free(l->name);
}

static lmb_status names_add(names *l, const char *prefix, const char *name, lmb_error *err)
{
    size_t np = strlen(prefix), nn = strlen(name);

    if (l->n == l->cap) {
        size_t cap = l->cap ? 2 * l->cap : 64;
        char **grown = realloc(l->name, cap * sizeof *grown);
        if (!grown)
            return LMB_FAIL(err, LMB_E_NOMEM, "no memory for %zu file names", cap);
        l->name = grown;
        l->cap = cap;
    }
    char *copy = malloc(np + nn + 1);
    if (!copy)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for a file name");
    memcpy(copy, prefix, np);
    memcpy(copy + np, name, nn + 1);
    l->name[l->n++] = copy;
    return LMB_OK;
}

static bool is_folder(const char *path)
{
    struct stat s;
    return stat(path, &s) == 0 && S_ISDIR(s.st_mode);
}

/* Append prefix + each entry of the folder `dir`, sorted: its sub-folders, or its pictures, but no hidden ones. */
static lmb_status list(const char *dir, bool folders, const char *prefix, names *out, lmb_error *err)
{
    size_t first = out->n;
    char path[4096];
    DIR *d = opendir(dir);

    if (!d)
        return LMB_FAIL(err, LMB_E_IO, "%s: the folder cannot be read (%s); pictures are expected in "
                        "<path>/train/<class>/ and <path>/test/<class>/", dir, strerror(errno));
    lmb_status st = LMB_OK;
    for (struct dirent *e; st == LMB_OK && (e = readdir(d));) {
        if (e->d_name[0] == '.')
            continue;
        st = lmb_path_join(path, sizeof path, dir, e->d_name, err);
        if (st == LMB_OK && (folders ? is_folder(path) : is_picture(e->d_name)))
            st = names_add(out, prefix, e->d_name, err);
    }
    closedir(d);
    if (st == LMB_OK && out->n > first)
        qsort(out->name + first, out->n - first, sizeof *out->name, by_name);
    return st;
}

/* The pictures of class `k`, whose folder may be absent in a small test part. */
static lmb_status list_class(state *s, size_t k, lmb_error *err)
{
    char dir[4096], prefix[300];

    LMB_TRY(lmb_path_join(dir, sizeof dir, s->root, s->classes.name[k], err));
    if (!is_folder(dir))
        return LMB_OK;
    snprintf(prefix, sizeof prefix, "%s/", s->classes.name[k]);
    size_t first = s->files.n;
    LMB_TRY(list(dir, false, prefix, &s->files, err));
    if (s->files.n > INT32_MAX)
        return LMB_FAIL(err, LMB_E_FORMAT, "%s: more than %d pictures", s->root, INT32_MAX);
    int32_t *grown = realloc(s->labels, (s->files.n + 1) * sizeof *grown);
    if (!grown)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for %zu labels", s->files.n);
    s->labels = grown;
    for (size_t i = first; i < s->files.n; i++)
        grown[i] = (int32_t)k;
    return LMB_OK;
}

/* A class that only the test part has would silently vanish. */
static lmb_status check_classes(const state *s, lmb_error *err)
{
    names here = { 0 };
    lmb_status st = list(s->root, true, "", &here, err);

    for (size_t i = 0; i < here.n && st == LMB_OK; i++)
        if (!bsearch(&here.name[i], s->classes.name, s->classes.n, sizeof *s->classes.name, by_name))
            st = LMB_FAIL(err, LMB_E_FORMAT, "%s: class '%s' is not in the train folder; remove it or add pictures to "
                          "train on", s->root, here.name[i]);
    names_free(&here);
    return st;
}

static lmb_status scan(state *s, const char *path, lmb_part part, lmb_error *err)
{
    char dir[4096];

    LMB_TRY(lmb_path_join(dir, sizeof dir, path, lmb_part_names[LMB_PART_TRAIN], err));
    LMB_TRY(list(dir, true, "", &s->classes, err));
    if (s->classes.n < 2 || s->classes.n > MAX_CLASSES)
        return LMB_FAIL(err, LMB_E_FORMAT, "%s: %zu sub-folders; there must be one for each class, 2 to %d", dir,
                        s->classes.n, MAX_CLASSES);
    LMB_TRY(lmb_path_join(dir, sizeof dir, path, lmb_part_names[part], err));
    s->root = strdup(dir);
    if (!s->root)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for a path");
    LMB_TRY(check_classes(s, err));
    for (size_t k = 0; k < s->classes.n; k++)
        LMB_TRY(list_class(s, k, err));
    if (s->files.n == 0)
        return LMB_FAIL(err, LMB_E_FORMAT, "%s: no .png, .jpg or .jpeg files in its sub-folders", dir);
    return LMB_OK;
}

/* All pictures of a folder and of its sub-folders, as of one class. */
static lmb_status scan_unlabelled(state *s, const char *path, lmb_part part, lmb_error *err)
{
    char dir[4096], sub[4096], prefix[300];
    names folders = { 0 };

    LMB_TRY(lmb_path_join(dir, sizeof dir, path, lmb_part_names[part], err));
    if (part == LMB_PART_TRAIN && !is_folder(dir))
        snprintf(dir, sizeof dir, "%s", path);
    s->root = strdup(dir);
    if (!s->root)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for a path");
    lmb_status st = list(dir, false, "", &s->files, err);
    if (st == LMB_OK)
        st = list(dir, true, "", &folders, err);
    for (size_t k = 0; k < folders.n && st == LMB_OK; k++) {
        snprintf(prefix, sizeof prefix, "%s/", folders.name[k]);
        st = lmb_path_join(sub, sizeof sub, dir, folders.name[k], err);
        if (st == LMB_OK)
            st = list(sub, false, prefix, &s->files, err);
    }
    names_free(&folders);
    LMB_TRY(st);
    if (s->files.n == 0 || s->files.n > INT32_MAX)
        return LMB_FAIL(err, LMB_E_FORMAT,
                        "%s: %zu .png, .jpg or .jpeg files in it and its sub-folders; there must be 1 to %d", dir,
                        s->files.n, INT32_MAX);
    s->labels = calloc(s->files.n, sizeof *s->labels);
    return s->labels ? LMB_OK : LMB_FAIL(err, LMB_E_NOMEM, "no memory for %zu labels", s->files.n);
}

static lmb_status hash_names(state *s, const config *c, lmb_error *err)
{
    int64_t head[3] = { c->channels, c->height, c->width };
    char path[4096];
    lmb_hasher h;

    lmb_hash_begin(&h);
    lmb_hash_add(&h, head, sizeof head);
    for (size_t k = 0; k < s->classes.n; k++)
        lmb_hash_add_text(&h, s->classes.name[k]);
    for (size_t i = 0; i < s->files.n; i++) {
        uint64_t size;
        LMB_TRY(lmb_path_join(path, sizeof path, s->root, s->files.name[i], err));
        LMB_TRY(lmb_file_size(path, &size, err));
        lmb_hash_add_text(&h, s->files.name[i]);
        lmb_hash_add(&h, &size, sizeof size);
    }
    s->hash = lmb_hash_end(&h);
    return LMB_OK;
}

static int32_t label_of(const lmb_dataset *d, int64_t index) { return ((const state *)d->state)->labels[index]; }

static const char *name_of(const lmb_dataset *d, int64_t index) { return ((const state *)d->state)->files.name[index]; }

static lmb_status read_sample(const lmb_dataset *d, int64_t index, void *sample, int32_t *label, lmb_error *err)
{
    const state *s = d->state;
    char path[4096];

    LMB_TRY(lmb_dataset_check_index(d, index, err));
    LMB_TRY(lmb_path_join(path, sizeof path, s->root, s->files.name[index], err));
    LMB_TRY(lmb_image_load(path, (int)d->shape.d[0], (int)d->shape.d[1], (int)d->shape.d[2], sample, err));
    *label = s->labels[index];
    return LMB_OK;
}

static void state_free(state *s)
{
    free(s->root);
    free(s->labels);
    names_free(&s->classes);
    names_free(&s->files);
    free(s);
}

/* Of a file that can not be read, nothing: reading the sample will say why. */
static void add_end(lmb_hasher *h, const char *path)
{
    char end[END];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    off_t size = fd < 0 ? -1 : lseek(fd, 0, SEEK_END);
    ssize_t n = size < 0 ? -1 : pread(fd, end, END, size > END ? size - END : 0);

    if (n > 0)
        lmb_hash_add(h, end, (size_t)n);
    if (fd >= 0)
        close(fd);
}

/* Opens every file, so not before somebody asks. */
static lmb_hash hash_of(const lmb_dataset *d)
{
    state *s = d->state;
    lmb_error none = LMB_ERROR_INIT;
    char path[4096];
    lmb_hasher h;

    if (s->hashed)
        return s->hash;
    lmb_hash_begin(&h);
    lmb_hash_add(&h, &s->hash, sizeof s->hash);
    for (size_t i = 0; i < s->files.n; i++)
        if (lmb_path_join(path, sizeof path, s->root, s->files.name[i], &none) == LMB_OK)
            add_end(&h, path);
    s->hash = lmb_hash_end(&h);
    s->hashed = true;
    return s->hash;
}

static void destroy(lmb_dataset *d) { state_free(d->state); }

static lmb_status open_folder(const void *config_, lmb_part part, lmb_dataset **out, lmb_error *err)
{
    const config *c = config_;

    if (!*c->path)
        return LMB_FAIL(err, LMB_E_ARG, "a folder data set needs its path: the folder that has train/<class>/ and "
                        "test/<class>/");
    if (c->channels == 2)
        return LMB_FAIL(err, LMB_E_ARG, "%s: 2 channels; pictures have 1 (grey) or 3 (colour)", c->path);
    lmb_dataset *d = malloc(sizeof *d);
    state *s = calloc(1, sizeof *s);
    lmb_status st = d && s ? LMB_OK : LMB_FAIL(err, LMB_E_NOMEM, "no memory for a data set");
    if (st == LMB_OK)
        st = c->labels ? scan(s, c->path, part, err) : scan_unlabelled(s, c->path, part, err);
    if (st == LMB_OK)
        st = hash_names(s, c, err);
    if (st != LMB_OK) {
        free(d);
        if (s)
            state_free(s);
        return st;
    }
    *d = (lmb_dataset){ .n = (int64_t)s->files.n, .shape = LMB_SHAPE(c->channels, c->height, c->width), .dtype = LMB_U8,
                        .classes = c->labels ? (int)s->classes.n : 1,
                        .class_names = c->labels ? (const char *const *)s->classes.name : NULL, .hash = hash_of,
                        .read = read_sample, .label = label_of, .name = name_of, .destroy = destroy, .state = s };
    *out = d;
    return LMB_OK;
}

const lmb_dataset_format lmb_dataset_folder = {
    .name = "folder",
    .summary = "PNG and JPEG pictures in one sub-folder a class",
    .source = "",
    .fields = fields,
    .config_size = sizeof(config),
    .open = open_folder,
};
