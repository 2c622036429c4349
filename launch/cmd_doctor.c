/* launch/cmd_doctor.c - `limbeck doctor`: what this machine, or a whole job, offers, and what stands in the way. */
#include <stdlib.h>
#include <string.h>

#include "core/base/str.h"
#include "launch/cmd.h"
#include "launch/doctor.h"
#include "launch/runner.h"

static const char usage[] =
    "usage: limbeck doctor [--collectives [--fixed-order]] [--json] [--need TOPIC]\n"
    "       mpirun -n N limbeck doctor --collectives\n\n"
    "Says what is installed, what of it will be used, what is missing and how to get it: processor, processors,\n"
    "memory, locked memory, open files, shared memory, GPU driver, CUDA libraries, GPUs, GPU code, GPU kernel,\n"
    "GPU memory, GPU modes, GPU copies, MPI, launcher, ranks. A GPU runs one of our kernels, whose result\n"
    "is checked; one process also times copies to, from and on its first GPU.\n"
    "Started by mpirun or srun, it speaks for the machine of rank 0 and compares the others with it.\n"
    "--collectives: measures what the ranks send each other, and their GPUs by NCCL where each has one, and checks\n"
    "what arrives. --fixed-order: GPUs add up in the same order at every start. --need: what must be there, such as\n"
    "GPUs; several with commas. --json: one object instead of a table.\n"
    "Exit code 0: a job can start; 1: something stands in the way, or is needed and absent; 75: a rank failed.\n";

static const char *const words[] = { "ok", "absent", "limits", "wrong" }; /* by lmb_health */

static void print_text(const lmb_findings *all, const lmb_link *link, int links, bool measured)
{
    for (int i = 0; i < all->n; i++) {
        const lmb_finding *f = &all->f[i];
        printf("%-7s %-15s %s\n", words[f->health], f->topic, f->found);
        if (f->use[0])
            printf("%-23s used: %s\n", "", f->use);
        if (f->advice[0])
            printf("%-23s %s %s\n", "", f->health == LMB_FINE ? "note:" : "do:  ", f->advice);
    }
    if (measured && links == 0)
        printf("\nNo links between ranks: this is one process. Start it with mpirun -n N or srun --mpi=pmix -n N.\n");
    else if (measured)
        printf("\n%-22s %12s %12s %10s\n", "between the ranks", "bytes", "us", "GB/s");
    for (int i = 0; i < links; i++)
        printf("%-22s %12zu %12.1f %10.2f\n", link[i].what, link[i].bytes, link[i].seconds * 1e6,
               (double)link[i].bytes / link[i].seconds / 1e9);
}

static lmb_status print_json(const lmb_findings *all, const lmb_link *link, int links, bool good, lmb_error *err)
{
    lmb_str s = LMB_STR_INIT;

    lmb_str_addf(&s, "{\"ok\": %s, \"findings\": [", good ? "true" : "false");
    for (int i = 0; i < all->n; i++) {
        const lmb_finding *f = &all->f[i];
        const char *const part[] = { "topic", "health", "found", "used", "advice" };
        const char *const text[] = { f->topic, words[f->health], f->found, f->use, f->advice };
        for (int k = 0; k < 5; k++) {
            lmb_str_addf(&s, "%s\"%s\": ", k ? ", " : i ? ",\n  {" : "\n  {", part[k]);
            lmb_str_add_json(&s, text[k]);
        }
        lmb_str_add(&s, "}");
    }
    lmb_str_add(&s, "],\n \"links\": [");
    for (int i = 0; i < links; i++) {
        lmb_str_addf(&s, "%s\n  {\"what\": \"%s\", \"bytes\": %zu, \"seconds\": ", i ? "," : "", link[i].what,
                     link[i].bytes);
        lmb_str_add_number(&s, link[i].seconds);
        lmb_str_add(&s, "}");
    }
    lmb_str_add(&s, "]}\n");
    lmb_status st = lmb_str_check(&s, err);
    if (st == LMB_OK)
        fputs(s.text, stdout);
    lmb_str_free(&s);
    return st;
}

/* Everything in the comma-separated list must be there; a topic that nobody knows is a mistake of the command line. */
static lmb_status check_needs(const char *needs, lmb_findings *all, lmb_error *err)
{
    for (const char *at = needs; *at;) {
        size_t n = strcspn(at, ",");
        bool known = false;
        for (int i = 0; i < all->n; i++) {
            lmb_finding *f = &all->f[i];
            if (strlen(f->topic) != n || strncmp(f->topic, at, n) != 0)
                continue;
            known = true;
            if (f->health == LMB_ABSENT)
                f->health = LMB_WRONG;
        }
        if (!known)
            return LMB_FAIL(err, LMB_E_ARG, "--need: there is no topic '%.*s'; `limbeck doctor` shows them", (int)n,
                            at);
        at += n + (at[n] == ',');
    }
    return LMB_OK;
}

static void find_verdict(const lmb_findings *all, lmb_error *verdict)
{
    for (int i = 0; i < all->n; i++) {
        const lmb_finding *f = &all->f[i];
        if (f->health == LMB_WRONG)
            (void)LMB_FAIL(verdict, LMB_E_UNSUPPORTED, "%s: %s", f->topic, f->advice[0] ? f->advice : f->found);
    }
}

typedef struct visit {
    const lmb_args *a;
    lmb_error verdict; /* what rank 0 found to stand in the way */
} visit;

static lmb_status speak(const visit *v, const lmb_findings *all, const lmb_link *link, int links, lmb_error *err)
{
    if (lmb_args_get(v->a, "json", NULL))
        return print_json(all, link, links, v->verdict.status == LMB_OK, err);
    print_text(all, link, links, lmb_args_get(v->a, "collectives", NULL) != NULL);
    return LMB_OK;
}

/* Links between processors, and, where every rank has a GPU and the module that talks for it, between GPUs. */
static lmb_status measure(lmb_comm *c, bool fixed_order, const lmb_rank_about *rank, lmb_link link[LMB_LINKS],
                          int *links, lmb_error *err)
{
    const lmb_nccl_api *api = NULL;
    int device = lmb_doctor_device(rank, c->size, c->rank);

    LMB_TRY(lmb_doctor_collectives(c, link, links, err));
    if (c->size == 1 || device < 0)
        return LMB_OK;
    char have = lmb_nccl_load(&api, &(lmb_error)LMB_ERROR_INIT) == LMB_OK, *all = malloc((size_t)c->size);
    lmb_status st = all ? c->gather_all(c, &have, all, 1, err) : LMB_FAIL(err, LMB_E_NOMEM, "no memory for ranks");
    for (int r = 0; r < c->size && st == LMB_OK; r++)
        have = have && all[r];
    free(all);
    return st == LMB_OK && have ? lmb_doctor_gpus(c, api, device, fixed_order, link, links, err) : st;
}

/* On all ranks; the first speaks, and its verdict is everybody's, so that the exit code is the same on every machine.
 */
static lmb_status examine(void *ctx, lmb_comm *c, lmb_error *err)
{
    visit *v = ctx;
    lmb_findings all = { .n = 0 };
    lmb_rank_about *rank = NULL;
    lmb_link link[LMB_LINKS];
    int links = 0;

    LMB_TRY(lmb_doctor_gather(c, &rank, err));
    lmb_status st = lmb_args_get(v->a, "collectives", NULL)
                        ? measure(c, lmb_args_get(v->a, "fixed-order", NULL) != NULL, rank, link, &links, err)
                        : LMB_OK;
    if (c->rank == 0 && st == LMB_OK) {
        int here, processors, own = lmb_doctor_device(rank, c->size, 0);
        lmb_doctor_machine(rank, c->size, 0, &here, &processors);
        lmb_doctor_host("", here, processors, &all);
        /* beside others it leaves their GPUs alone */
        lmb_doctor_gpu("", c->size == 1 ? -1 : own < 0 ? 0 : own, &all);
        lmb_doctor_ranks(&all);
        lmb_doctor_compare(rank, c->size, &all);
        st = check_needs(lmb_args_get(v->a, "need", ""), &all, &v->verdict);
        if (st == LMB_OK)
            find_verdict(&all, &v->verdict);
        st = st == LMB_OK ? speak(v, &all, link, links, err) : LMB_OK;
    }
    free(rank);
    LMB_TRY(st);
    return c->broadcast(c, &v->verdict, sizeof v->verdict, 0, err);
}

static lmb_status run(int argc, char **argv, lmb_error *err)
{
    static const char *const known[] = { "!collectives", "!fixed-order", "!json", "need", NULL };
    lmb_args a;
    visit v = { .a = &a, .verdict = LMB_ERROR_INIT };

    LMB_TRY(lmb_args_parse(argc, argv, known, &a, err));
    if (a.n_words > 0)
        return LMB_FAIL(err, LMB_E_ARG, "'%s' is no option of doctor; see --help", a.word[0]);
    LMB_TRY(lmb_with_ranks(examine, &v, err));
    return v.verdict.status == LMB_OK ? LMB_OK : LMB_FAIL(err, v.verdict.status, "%s", v.verdict.msg);
}

const lmb_cmd lmb_cmd_doctor = { "doctor", "what is installed, what will be used, what is missing; links between ranks",
                                 usage, run };
