/* launch/cmd_distill.c - `limbeck distill`: a student learns from a teacher, is pruned and factorised, then learns to
 * be integers. What it is asked for, and whether that can be; the work is student.h's.
 */
#include <string.h>

#include "launch/model_file.h"
#include "launch/plan_cache.h"
#include "launch/runner.h"
#include "launch/student.h"
#include "launch/teacher.h"

static const char usage[] =
    "usage: limbeck distill CONFIG.yaml [--stage student] [--fresh] [--plan-cache WHERE] [--trace FILE] [--set "
    "key=value ...]\n"
    "       mpirun -n 2 limbeck distill CONFIG.yaml ...\n\n"
    "1. Trains the student's model against the labels and a teacher (section `distill`: alpha, temperature, teacher: "
    "an .onnx\n"
    "   file or a checkpoint, by default the teacher of this run). Without `distill`: against the labels alone.\n"
    "   cache: true keeps the teacher's logits in <run>/teacher/logits-<key>.bin, one row for each sample and epoch "
    "(augmented\n"
    "   samples differ from epoch to epoch); the training ends in the same bits, and later ones with the same teacher, "
    "data,\n"
    "   seed and augmentation read instead of computing. auto: where nothing is augmented, or the file is there "
    "already.\n"
    "   plain: one row a sample, of the sample without augmentation: small and fast, but the student is then shown a "
    "changed\n"
    "   image and told the answer to the unchanged one. Old files can be deleted. train.augment.versions: 20 shows each "
    "sample in 20\n"
    "   ways in turn, so that the file ends after as many epochs, and augment.seed lets trainings of other seeds share it.\n"
    "   losses: what the teacher's share is made of, such as [kl, {name: attention, weight: 1000}]; `limbeck list "
    "losses` explains\n"
    "   each. All but kl and dkd look into the teacher, so that it answers live. teachers: several files, whose logits "
    "are\n"
    "   averaged with weights. alpha 1: no labels (dkd reads them all the same). teacher: self, with generations: 2, "
    "trains the\n"
    "   student anew, taught by itself as it was.\n"
    "2. With a section `prune`: takes away the least of it and trains on. method channels: whole channels, by "
    "dependency groups,\n"
    "   down to a share of the channels, MACs or parameters; the model is smaller. method magnitude: single weights "
    "are held at\n"
    "   zero, more and more while it trains (pattern: \"2:4\"). `limbeck config keys` explains each key, `limbeck list "
    "criteria` the criteria.\n"
    "3. With a section `lowrank`: makes layers thinner ones one after the other (SVD; Tucker-2 for k x k), of the least "
    "ranks that\n"
    "   keep `energy` of the squared singular values, where that takes MACs away, and trains on.\n"
    "4. With a section `quantize`: makes it integers. method qat (the default where `quantize.train` is given): folds\n"
    "   BatchNormalization, inserts fake quantisation, trains on, freezes the ranges, which begin where\n"
    "   `quantize.observer` puts them. With `quantize.unfolded` there is a training before that in which\n"
    "   BatchNormalization is still at work. method ptq: takes the ranges from `quantize.calibration` training\n"
    "   images, without training. `limbeck export` makes the deployable file of it.\n\n"
    "Before any of it each step is tried on the untrained model: what can not be is refused at once, as `limbeck config "
    "check` does.\n"
    "Leaves <run>/student/model.onnx (the pruned and factorised one; what it was before is in <run>/student-dense, and "
    "between\n"
    "both in <run>/student-pruned) and <run>/student-int8/qat.onnx. Stopped at any instant, the same command goes on.\n\n" LMB_PLAN_CACHE_USAGE
        LMB_TRACING_USAGE;

static const char *const methods[] = { "auto", "qat", "ptq", NULL };
static const lmb_field quantize_fields[] = {
    LMB_CHOICE(lmb_quantize_config, method, LMB_QUANTIZE_AUTO, methods, "auto: qat where `train` is given, else ptq"),
    LMB_INT(lmb_quantize_config, calibration, 1000, 1, 1e9, "images",
            "of the training part that ranges are taken from; all where there are fewer, unless so many are asked for"),
    LMB_INT(lmb_quantize_config, seed, 1, 0, 9e15, "", "of the choice of calibration images"),
    LMB_TREE(lmb_quantize_config, observer,
             "what takes ranges from them, where ptq ends and training begins: minmax (of ptq and learned steps, if "
             "nothing is said; mse with 6 activation_bits or fewer), moving_average, percentile, mse or entropy, and "
             "options; training holds those of the last three, and without any begins with its first batch"),
    LMB_BOOL(lmb_quantize_config, equalise, 0,
             "balance channels between layers before ranges are taken (Clip becomes Relu)"),
    LMB_BOOL(lmb_quantize_config, correct_bias, 0,
             "of ptq: take back what rounding weights shifts (training learns it)"),
    LMB_SECTION(lmb_quantize_config, qat, lmb_qat_fields,
                "bits and scales, of ptq too; scheme learned, observer and momentum are of training alone"),
    LMB_SECTION(lmb_quantize_config, unfolded, lmb_train_fields,
                "a training before `train` with BatchNormalization alive: its statistics are learnt on with fake "
                "quantisation, then frozen and folded; without: folded from the start"),
    LMB_SECTION(lmb_quantize_config, train, lmb_train_fields, "training with fake quantisation"),
    LMB_SECTION(lmb_quantize_config, distill, lmb_distill_fields,
                "the teacher's share in it; what it does not say is as in `student.distill`; without either: none"),
    LMB_BOOL(
        lmb_quantize_config, prove, false,
        "train without the teacher first, go on with it and without, and keep the teacher's if it wins more validation samples than it loses"),
    LMB_FIELD_END
};

/* What could not be done shows now, and not after the hours before it. One rank's look, for all. */
static lmb_status check(const lmb_student *r, const lmb_comm *comm, lmb_error *err)
{
    const lmb_job *j = &r->job;
    lmb_graph *student = NULL;

    if (comm->rank)
        return LMB_OK;
    LMB_TRY(lmb_model_of(j, j->stage.model, (uint64_t)j->stage.train.seed, false, &student, err));
    lmb_status st = lmb_student_check(r, student, false, err);
    lmb_graph_destroy(student);
    return st;
}

static lmb_status make_student(lmb_student *r, lmb_comm *comm, lmb_error *err)
{
    lmb_graph *student = NULL;

    LMB_TRY(lmb_job_data(&r->job, err));
    LMB_TRY(lmb_job_training(&r->job, err));
    LMB_TRY(check(r, comm, err));
    lmb_student floats = *r; /* other integers of a trained student: it is kept */
    floats.job.stage.quantize = NULL;
    lmb_status st = lmb_student_floats(&floats, comm, &student, err);
    if (st == LMB_OK && r->job.stage.quantize)
        st = lmb_student_integers(r, comm, student, err);
    lmb_graph_destroy(student);
    return st;
}

static lmb_status distill(void *ctx, lmb_comm *comm, lmb_error *err)
{
    lmb_student *r = ctx;
    LMB_TRY(lmb_tracing_begin(&r->tracing, comm, err));
    return lmb_tracing_end(&r->tracing, comm, make_student(r, comm, err), err);
}

const lmb_field *lmb_distill_quantize_fields(void) { return quantize_fields; }

/* The first of two trainings: there is a second, and nothing that wants folded weights comes before it. */
static lmb_status check_unfolded(const lmb_student *r, lmb_error *err)
{
    const lmb_tree *section = lmb_tree_get(r->job.stage.quantize, "unfolded");

    if (!lmb_tree_has(r->job.stage.quantize, "unfolded"))
        return LMB_OK;
    if (r->quantize.method == LMB_QUANTIZE_PTQ || !lmb_tree_has(r->job.stage.quantize, "train"))
        return lmb_tree_fail(section, err, LMB_E_ARG,
                             "quantize.unfolded is the first of two trainings: give the second as quantize.train, and "
                             "leave quantize.method at auto or qat");
    if (r->quantize.equalise)
        return lmb_tree_fail(section, err, LMB_E_ARG,
                             "quantize.equalise changes folded weights before the first training, and "
                             "quantize.unfolded folds them after it; leave one of the two out");
    return LMB_OK;
}

/* A teacher has a part in trainings alone, and in his own generations only who teaches himself. */
static lmb_status check_teaching(const lmb_student *r, lmb_error *err)
{
    const lmb_stage_config *s = &r->job.stage;
    const struct { const char *section; const lmb_tree *said; const lmb_distill_config *lesson; } rows[] = {
        { "", strcmp(r->distill.teacher, LMB_TEACHER_SELF) == 0 ? NULL : s->distill, &r->distill },
        { "prune.", lmb_tree_get(s->prune, "distill"), &r->prune.distill },
        { "lowrank.", lmb_tree_get(s->lowrank, "distill"), &r->lowrank.distill },
        { "quantize.", lmb_tree_get(s->quantize, "distill"), &r->quantize.distill },
    };

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (lmb_tree_has(rows[i].said, "generations") && rows[i].lesson->generations > 1)
            return LMB_FAIL(err, LMB_E_ARG,
                            "%sdistill.generations is %lld, and only the student's own section `distill` with teacher: "
                            "self trains generations: leave it out, or say distill: {teacher: self, generations: %lld}",
                            rows[i].section, (long long)rows[i].lesson->generations,
                            (long long)rows[i].lesson->generations);
    if (lmb_student_trains_integers(r))
        return LMB_OK;
    bool teacher = lmb_tree_has(r->job.stage.quantize, "distill");
    if (teacher || r->quantize.prove)
        return LMB_FAIL(err, LMB_E_ARG,
                        "quantize.%s is about a training with fake quantisation, and there is none: give "
                        "quantize.train and method auto or qat, or leave it out",
                        teacher ? "distill" : "prove");
    return LMB_OK;
}

/* Who teaches each training: what it does not say is as before it, for integers as for the whole student. */
static lmb_status bind_teachers(lmb_student *r, lmb_error *err)
{
    const lmb_stage_config *s = &r->job.stage;

    LMB_TRY(lmb_teacher_inherit(s->distill, NULL, &r->distill, err));
    LMB_TRY(lmb_teacher_inherit(lmb_tree_get(s->prune, "distill"), &r->distill, &r->prune.distill, err));
    LMB_TRY(lmb_teacher_inherit(lmb_tree_get(s->lowrank, "distill"), s->prune ? &r->prune.distill : &r->distill,
                                &r->lowrank.distill, err));
    return lmb_teacher_inherit(lmb_tree_get(s->quantize, "distill"), &r->distill, &r->quantize.distill, err);
}

static lmb_status bind_options(lmb_student *r, lmb_error *err)
{
    if (r->job.stage.prune)
        LMB_TRY(lmb_prune_bind(r->job.stage.prune, &r->prune, err));
    if (r->job.stage.lowrank)
        LMB_TRY(lmb_lowrank_bind(r->job.stage.lowrank, &r->lowrank, err));
    LMB_TRY(lmb_fields_bind(quantize_fields, r->job.stage.quantize, &r->quantize, err));
    LMB_TRY(bind_teachers(r, err));
    LMB_TRY(check_teaching(r, err));
    if (r->quantize.prove && r->quantize.distill.alpha == 0)
        return LMB_FAIL(err, LMB_E_ARG,
                        "quantize.prove asks whether the teacher helps, and there is none: give the student or quantize "
                        "a section `distill`");
    return check_unfolded(r, err);
}

lmb_status lmb_distill_check_job(const lmb_job *j, const lmb_graph *student, lmb_error *err)
{
    lmb_student r = { .job = *j };

    LMB_TRY(bind_options(&r, err));
    return lmb_student_check(&r, student, true, err);
}

static lmb_status run(int argc, char **argv, lmb_error *err)
{
    static const char *const known[] = { "stage", "!fresh", "plan-cache", LMB_TRACING_OPTIONS, NULL };
    lmb_student r = { .fresh = false };
    lmb_args a;

    LMB_TRY(lmb_args_parse(argc, argv, known, &a, err));
    if (a.n_words != 1)
        return LMB_FAIL(err, LMB_E_ARG, "give one configuration file; --help explains");
    LMB_TRY(lmb_tracing_bind(&a, &r.tracing, err));
    LMB_TRY(lmb_job_open(a.word[0], &a, lmb_args_get(&a, "stage", "student"), &r.job, err));
    r.fresh = lmb_args_get(&a, "fresh", NULL) != NULL;
    r.job.c.plan_cache = lmb_args_get(&a, "plan-cache", r.job.c.plan_cache);
    lmb_status st = bind_options(&r, err);
    if (st == LMB_OK)
        st = lmb_with_ranks(distill, &r, err);
    lmb_job_close(&r.job);
    return st;
}

const lmb_cmd lmb_cmd_distill = { "distill", "train a student against a teacher, then quantise it", usage, run };
