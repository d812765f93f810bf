/** @file mltfr/serve.h
 *  libmltfr: a trained model as a C library, for one process and without MPI.  Layer: app.
 *
 *  A server is opened from a checkpoint of mltfr_dist and then asked for the best items after what
 *  somebody had, or for the score of every item.  On a machine of the type that trained, the same
 *  histories in the same batches have the bits of `mltfr_dist recommend`.
 *
 *      mltfr_server *server;
 *      mltfr_serve_item top[10];
 *
 *      if (mltfr_serve_open("run/checkpoints/step-00000100.h5", NULL, &server) != 0)
 *          return fprintf(stderr, "%s\n", mltfr_serve_error()), 1;
 *      mltfr_serve_history had = mltfr_serve_user_history(server, mltfr_serve_find_user(server,
 * "196")); mltfr_serve_recommend(server, 1, &had, NULL, MLTFR_SERVE_NEW, 10, top);
 *      mltfr_serve_close(&server);
 *
 *  Nothing is printed, and nothing but the files of the model is opened.  One thread at a time may
 *  call; OpenBLAS is set to one thread, for the whole process.  All functions are @local: there is
 *  one process. */
#ifndef MLTFR_SERVE_H
#define MLTFR_SERVE_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define MLTFR_SERVE_API __attribute__((visibility("default")))
#else
#define MLTFR_SERVE_API
#endif

typedef struct mltfr_server mltfr_server;

/** What somebody had, oldest first.  Items are numbered from 1 to mltfr_serve_items. */
typedef struct {
    const int32_t *items;
    int64_t n; /**< at least 1; the last data.max_len of them are looked at */
} mltfr_serve_history;

/** An entry of a list. */
typedef struct {
    int32_t item; /**< 0: the list has ended */
    float score;
} mltfr_serve_item;

/** Which items a list may name. */
enum {
    MLTFR_SERVE_ALL, /**< all */
    MLTFR_SERVE_NEW  /**< those that are not in the history */
};

/** Open a checkpoint, with the data and the token spaces its configuration names.
 *  @param settings  what `--set` takes, "data.path=/new/place.h5", ended by NULL; NULL: nothing
 *  @param out       owned by the caller, ended by mltfr_serve_close; NULL on failure
 *  @return 0; 1 bad or missing file, no memory; 2 a setting that is not allowed */
MLTFR_SERVE_API int mltfr_serve_open(const char *checkpoint, const char *const settings[],
                                     mltfr_server **out);

/** Free and set to NULL; NULL is allowed. */
MLTFR_SERVE_API void mltfr_serve_close(mltfr_server **server);

/** What went wrong in the call that failed last, in one line. */
MLTFR_SERVE_API const char *mltfr_serve_error(void);

/** Version of the library: "0.1.0". */
MLTFR_SERVE_API const char *mltfr_serve_version(void);

/** How many there are; users are numbered from 0, items from 1. */
MLTFR_SERVE_API int64_t mltfr_serve_users(const mltfr_server *server);
MLTFR_SERVE_API int64_t mltfr_serve_items(const mltfr_server *server);

/** The id that the data have for a number; it lives as long as the server.  NULL: no such number.
 */
MLTFR_SERVE_API const char *mltfr_serve_user_id(const mltfr_server *server, int64_t user);
MLTFR_SERVE_API const char *mltfr_serve_item_id(const mltfr_server *server, int64_t item);

/** The number of an id: users -1, items 0 where the data do not have it. */
MLTFR_SERVE_API int64_t mltfr_serve_find_user(const mltfr_server *server, const char *id);
MLTFR_SERVE_API int32_t mltfr_serve_find_item(const mltfr_server *server, const char *id);

/** All that the data say a user had; it lives as long as the server.  n is 0: no such user. */
MLTFR_SERVE_API mltfr_serve_history mltfr_serve_user_history(const mltfr_server *server,
                                                             int64_t user);

/** The best items after each history, the best first; of equal scores the lowest number.  256
 *  histories are computed at a time; the last digits may depend on which are together.
 *  @param allowed  [items] 1 where item i + 1 may be named; NULL: all may
 *  @param which    MLTFR_SERVE_ALL or MLTFR_SERVE_NEW
 *  @param top_k    from 1
 *  @param out      [n][top_k]
 *  @return 0; 1 no memory, or a score that is not finite; 2 an argument that is not allowed */
MLTFR_SERVE_API int mltfr_serve_recommend(mltfr_server *server, int64_t n,
                                          const mltfr_serve_history histories[],
                                          const uint8_t *allowed, int which, int64_t top_k,
                                          mltfr_serve_item *out);

/** The score of every item after each history.
 *  @param out  [n][items]: that of item i is at i - 1
 *  @return as mltfr_serve_recommend */
MLTFR_SERVE_API int mltfr_serve_score(mltfr_server *server, int64_t n,
                                      const mltfr_serve_history histories[], float *out);

#ifdef __cplusplus
}
#endif

#endif
