/* core/base/error.h - the one error type every fallible call reports through.
 *
 * Idea: a status code tells a program what to do; the message tells a person what to change. The
 * message lives in a small caller-owned struct, so reporting an error never allocates.
 *
 * Convention for the whole code base
 *   - fallible functions return lmb_status and take `lmb_error *err` last;
 *   - err may be NULL when the caller only wants the code;
 *   - the first writer wins: outer layers may prefix context (lmb_error_context), never overwrite;
 *   - on failure out-parameters are untouched and nothing needs freeing.
 */
#ifndef LMB_CORE_BASE_ERROR_H
#define LMB_CORE_BASE_ERROR_H

#ifdef __cplusplus
extern "C" {
#endif

/* One row per status: enum name, value and sentence can never drift apart. */
#define LMB_STATUS_MAP(X)                                              \
    X(OK, 0, "success")                                                \
    X(E_NOMEM, -1, "out of memory")                                    \
    X(E_ARG, -2, "argument or configuration outside its range")        \
    X(E_SHAPE, -3, "tensor shapes or types do not agree")              \
    X(E_UNSUPPORTED, -4, "nothing registered can do this")             \
    X(E_IO, -5, "reading or writing failed")                           \
    X(E_FORMAT, -6, "file or message is malformed")                    \
    X(E_PEER, -7, "a remote rank or client failed")                    \
    X(E_DEVICE, -8, "the accelerator reported an error")               \
    X(E_NUMERIC, -9, "a value is not finite or overflowed")            \
    X(E_DENIED, -10, "authentication or permission was refused")       \
    X(E_TIMEOUT, -11, "a deadline passed")                             \
    X(E_STOPPED, -12, "stopped on request; state is saved")            \
    X(E_UNMET, -13, "a limit that was asked for can not be met")       \
    X(E_PART, -14, "a part of it failed; the rest is done")

typedef enum {
#define X(name, value, text) LMB_##name = value,
    LMB_STATUS_MAP(X)
#undef X
} lmb_status;

typedef struct lmb_error {
    lmb_status status; /* LMB_OK while msg is empty                     */
    const char *file;  /* where it was first noticed; static storage    */
    int line;
    char msg[480]; /* one line, no newline, says what to change     */
} lmb_error;

#define LMB_ERROR_INIT { LMB_OK, 0, 0, { 0 } }

const char *lmb_status_name(lmb_status s); /* "E_SHAPE"; never NULL */
const char *lmb_status_text(lmb_status s); /* one sentence; never NULL */

#if defined(__GNUC__)
#define LMB_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#define LMB_MUST_CHECK __attribute__((warn_unused_result))
#else
#define LMB_PRINTF(fmt, args)
#define LMB_MUST_CHECK
#endif

/* Record a failure (first writer wins) and return `s`, so that it can be written as
 * `return LMB_FAIL(err, LMB_E_SHAPE, "student has %d classes, teacher %d", a, b);` */
lmb_status lmb_fail_at(lmb_error *err, lmb_status s, const char *file, int line, const char *fmt, ...)
    LMB_PRINTF(5, 6);
#define LMB_FAIL(err, s, ...) lmb_fail_at((err), (s), __FILE__, __LINE__, __VA_ARGS__)

/* Put "context: " before the message already there; returns err->status. No-op on NULL or no error. */
lmb_status lmb_error_context(lmb_error *err, const char *fmt, ...) LMB_PRINTF(2, 3);

void lmb_error_clear(lmb_error *err);

/* Early return, for functions that own nothing yet. */
#define LMB_TRY(call)                              \
    do {                                           \
        lmb_status lmb_try_status_ = (call);       \
        if (lmb_try_status_ != LMB_OK)             \
            return lmb_try_status_;                \
    } while (0)

/* Jump to the single cleanup label, for functions that do. */
#define LMB_TRY_GOTO(st, label, call)              \
    do {                                           \
        (st) = (call);                             \
        if ((st) != LMB_OK)                        \
            goto label;                            \
    } while (0)

#ifdef __cplusplus
}
#endif
#endif
