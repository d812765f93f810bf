/** @file mltfr/status.h
 *  Error codes, the text of the last error and the clean-up idiom.  Layer: base.
 *
 *  A fallible function declares `mltfr_status st = MLTFR_OK;`, leaves by the label `done:` and
 *  returns `st`.  The list runs from mild to severe; where ranks differ the worst one wins
 *  (mltfr_comm_agree, mltfr/comm.h).  The text is recorded once, where the error is found. */
#ifndef MLTFR_STATUS_H
#define MLTFR_STATUS_H

/* X(code, exit status, meaning) */
#define MLTFR_STATUS_LIST(X)                                                                       \
    X(OK, 0, "done")                                                                               \
    X(STOPPED, 75, "stopped early with a complete checkpoint")                                     \
    X(E_DATA, 1, "bad or missing input")                                                           \
    X(E_NUMERIC, 1, "a number is not finite or a matrix cannot be solved")                         \
    X(E_IO, 1, "a file could not be read or written")                                              \
    X(E_NOMEM, 1, "out of memory")                                                                 \
    X(E_USAGE, 2, "usage or configuration")                                                        \
    X(E_INTERNAL, 70, "internal error")

typedef enum {
#define X(code, exit, text) MLTFR_##code,
    MLTFR_STATUS_LIST(X)
#undef X
} mltfr_status;

#define MLTFR_ERROR_BYTES 1024

/** Text of the last error of this process, without the program's name; empty at first. */
extern char mltfr_error_text[MLTFR_ERROR_BYTES];

/** Record the text of an error and return `code`.  @local */
mltfr_status mltfr_fail(mltfr_status code, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/** Exit status of the program for a status (interface: 0, 1, 2, 70, 75).  @local */
int mltfr_status_exit(mltfr_status code);

/** The meaning of a status, a constant string.  @local */
const char *mltfr_status_text(mltfr_status code);

/** Fail with a code and a printf text; needs `st` and the label `done`. */
#define MLTFR_FAIL(code, ...)                                                                      \
    do {                                                                                           \
        st = mltfr_fail((code), __VA_ARGS__);                                                      \
        goto done;                                                                                 \
    } while (0)

/** Pass a failure on; needs `st` and the label `done`. */
#define MLTFR_TRY(call)                                                                            \
    do {                                                                                           \
        st = (call);                                                                               \
        if (st != MLTFR_OK)                                                                        \
            goto done;                                                                             \
    } while (0)

#endif
