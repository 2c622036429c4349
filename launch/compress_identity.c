/* launch/compress_identity.c - what all decisions of a search depend on, which its journal begins with, and the
 * configuration as it was resolved, which its report ends with. See compress.h. */
#include <string.h>

#include "core/base/hash.h"
#include "core/onnx/onnx.h"
#include "distill/search/identity.h"
#include "launch/compress.h"

/* What is tried where nobody says what: a program that knows more kinds of moves is another search. */
static void add_kinds(const lmb_search_config *c, lmb_str *text)
{
    bool use[LMB_MOVE_KINDS] = { false };
    lmb_error none = LMB_ERROR_INIT; /* it was checked when the section was bound */

    lmb_str_add(text, "tries:");
    if (lmb_search_moves(c, use, &none) == LMB_OK)
        for (int k = 0; k < LMB_MOVE_KINDS; k++)
            lmb_str_addf(text, "%s%s", use[k] ? " " : "", use[k] ? lmb_search_moves_names[k] : "");
    lmb_str_add(text, "\n");
}

static lmb_status add_model(const char *key, const lmb_graph *g, lmb_str *text, lmb_error *err)
{
    lmb_str file = LMB_STR_INIT;
    char hex[LMB_HASH_HEX];
    lmb_status st = lmb_onnx_export(g, NULL, &file, err);

    if (st == LMB_OK) {
        lmb_hash hash = lmb_hash_of(file.text, file.n);
        lmb_hash_hex(&hash, hex);
        lmb_str_addf(text, "%s: %s\n", key, hex);
        st = lmb_str_check(text, err);
    }
    lmb_str_free(&file);
    return st;
}

/* Data and split; false without memory. */
static bool add_data(const lmb_compress_of *of, lmb_str *text)
{
    const lmb_job_config *c = &of->job->c;
    lmb_str_add(text, "data:\n");
    bool ok = lmb_tree_dump(c->data, 2, text) == LMB_OK;
    lmb_str_addf(text, "split: {train: %lld, validation: %lld, clients: %lld, seed: %lld}\n", (long long)c->split.train,
                 (long long)c->split.validation, (long long)c->split.clients, (long long)c->split.seed);
    return ok;
}

lmb_status lmb_compress_identity(const lmb_compress_of *of, lmb_str *text, lmb_error *err)
{
    lmb_search_config c = *of->c;

    c.steps = LMB_SEARCH_STEPS; /* a search that has ended may have more */
    bool ok = add_data(of, text);
    lmb_str_addf(text, "held_out: %s\n", of->held_out_part);
    lmb_identity_samples(text, "training", of->train);
    lmb_identity_samples(text, "held-out", of->held_out);
    lmb_str_add(text, "compress:\n");
    ok = ok && lmb_fields_dump_marked(lmb_search_fields, &c, 2, text) == LMB_OK;
    add_kinds(of->c, text);
    if (*of->device->name) { /* on this machine searches depend on none */
        lmb_str_add(text, "device:\n");
        ok = ok && lmb_fields_dump_marked(lmb_device_identity, of->device, 2, text) == LMB_OK;
    }
    if (of->update->number)
        lmb_str_addf(text, "new samples: %lld, %s\n", (long long)of->update->fresh, of->update->learnt);
    lmb_status st = ok ? lmb_str_check(text, err) : LMB_FAIL(err, LMB_E_NOMEM, "no memory for a configuration");
    if (st == LMB_OK)
        st = add_model("teacher", of->teacher, text, err);
    if (st == LMB_OK && of->teachers)
        st = add_model("teachers", of->teachers, text, err);
    return st;
}

/* Trainings that only take place where their section is there have defaults that nobody has asked for. */
static bool takes_place(const lmb_tree *compress, const char *key)
{
    return (strcmp(key, "recover") != 0 && strcmp(key, "finish") != 0 && strcmp(key, "finish_distill") != 0) ||
           lmb_tree_has(compress, key);
}

lmb_status lmb_compress_config(const lmb_compress_of *of, lmb_str *text, lmb_error *err)
{
    const lmb_tree *teacher = lmb_tree_get(of->job->c.compress, "teacher");
    lmb_field rows[64];
    int n = 0;

    for (const lmb_field *f = lmb_search_fields; f->key; f++)
        if (takes_place(of->job->c.compress, f->key))
            rows[n++] = *f;
    rows[n] = (lmb_field)LMB_FIELD_END;
    bool ok = add_data(of, text);
    lmb_str_add(text, "compress:\n");
    if (teacher) {
        lmb_str_add(text, "  teacher:");
        ok = ok && lmb_tree_dump(teacher, 4, text) == LMB_OK;
    }
    lmb_str_addf(text, "  held_out: %s\n", of->held_out_part);
    ok = ok && lmb_fields_dump(rows, of->c, 2, text) == LMB_OK;
    if (*of->device->name) {
        lmb_str_add(text, "  device:\n");
        ok = ok && lmb_fields_dump(lmb_device_fields, of->device, 4, text) == LMB_OK;
    }
    return ok ? lmb_str_check(text, err) : LMB_FAIL(err, LMB_E_NOMEM, "no memory for a configuration");
}
