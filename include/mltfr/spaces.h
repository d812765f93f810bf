/** @file mltfr/spaces.h
 *  A file of conditioned token spaces (method E10), written once, read by rows.  Layer: io.
 *
 *  Arrays in the file, for each LLM k: /spaces/<k>/Z [V'][r] float32, /spaces/<k>/ids [V'] int64
 *  (token ids of the rows), /spaces/<k>/strings_bytes, strings_offsets (surface strings of the
 *  rows); /spaces/c/Z [A][r_c], /spaces/c/strings_*: the consensus space.  Attributes of /spaces:
 *  format, version, K, shared_dim, specific_dim, align, digest; of /spaces/<k>: name; and where
 *  everything came from (mltfr/conditioning.h). */
#ifndef MLTFR_SPACES_H
#define MLTFR_SPACES_H

#include <mltfr/file.h>
#include <mltfr/table.h>

enum { MLTFR_MAX_LLMS = 64 };

typedef struct {
    int64_t K, r_c, r_s;
    int64_t rows[MLTFR_MAX_LLMS + 1]; /**< V' of each LLM; rows[K] is A of the consensus space */
    char names[MLTFR_MAX_LLMS][64];
    uint64_t digest;  /**< hash of the content, the same for equal spaces */
    mltfr_file *file; /**< owned */
    mltfr_comm *comm; /**< borrowed */
} mltfr_spaces;

/** Open the spaces in a file (a spaces file, or a synthetic data file) and check the header.  A
 *  file without a digest gets that of its content, for which all of it is read.
 *  @collective{comm}
 *  @param comm  kept: must outlive the spaces
 *  @return MLTFR_E_DATA or MLTFR_E_IO, the same on every rank */
mltfr_status mltfr_spaces_open(mltfr_comm *comm, const char *path, mltfr_spaces **out);

/** Spaces of random numbers without a file, for measurements: mltfr_spaces_read and
 *  mltfr_spaces_close are all they are good for.  @local
 *  @param rows  [K + 1], as in mltfr_spaces
 *  @return MLTFR_E_USAGE for more than MLTFR_MAX_LLMS */
mltfr_status mltfr_spaces_imagine(mltfr_comm *comm, int64_t K, int64_t r_c, int64_t r_s,
                                  const int64_t rows[], mltfr_spaces **out);

/** Rows [first, first + rows) of space k (K is the consensus space) as float32; NaN or Inf is
 *  MLTFR_E_DATA with the row's number.  @collective{comm of the file}
 *  @param Z  [rows][r], or [rows][r_c] for the consensus space */
mltfr_status mltfr_spaces_read(mltfr_spaces *spaces, int64_t k, int64_t first, int64_t rows,
                               float *Z);

/** Surface strings of rows [first, first + rows) of space k.  @collective{comm of the file}
 *  @param bytes    all of them, one after the other, owned by the caller (MLTFR_FREE)
 *  @param offsets  [rows + 1], string i is bytes[offsets[i] .. offsets[i + 1]), owned by the
 *                  caller; empty strings where the file has none */
mltfr_status mltfr_spaces_strings(mltfr_spaces *spaces, int64_t k, int64_t first, int64_t rows,
                                  char **bytes, int64_t **offsets);

/** Compute the digest of what the file holds now and compare it with the one it was written
 *  with.  @collective{comm of the file}  @return MLTFR_E_DATA where they differ */
mltfr_status mltfr_spaces_verify(mltfr_spaces *spaces);

/** The row of space k that stands for a word: the token that is spelt so; else so but for a mark of
 *  word starts; else but for case, too; the lowest of several.  @collective{comm of the file}
 *  @param row  -1 where there is none */
mltfr_status mltfr_spaces_find(mltfr_spaces *spaces, int64_t k, const char *word, int64_t *row);

/** A token near another one. */
typedef struct {
    int64_t row; /**< of the space; -1: there are no more */
    double cosine;
} mltfr_neighbour;

/** The rows of space k with the highest cosine to one row, that row left out; of equals the lowest
 *  first.  @collective{comm of the file}
 *  @param table  the LLM's table: cosines of its raw rows; NULL: of the conditioned ones
 *  @param near   [count]
 *  @return MLTFR_E_DATA also where the table does not have the tokens of the space */
mltfr_status mltfr_spaces_neighbours(mltfr_spaces *spaces, int64_t k, const mltfr_table *table,
                                     int64_t row, int64_t count, mltfr_neighbour near[]);

/** Close, free and set to NULL; NULL is allowed.  @collective{comm of the file} */
void mltfr_spaces_close(mltfr_spaces **spaces);

/** One space to be written: this rank's rows [first, first + count) of `rows`. */
typedef struct {
    const char *name; /**< of the LLM; NULL for the consensus space */
    int64_t rows, first, count;
    const float *Z;         /**< [count][r] or [count][r_c] */
    const int64_t *ids;     /**< [count] token ids, or NULL on all ranks */
    const char *strings;    /**< the strings of the own rows, or NULL on all ranks */
    const int64_t *offsets; /**< [count + 1] into `strings`, from 0 */
} mltfr_space;

/** The group "spaces" of a file on its way: {comm, file, K, r_c, r_s}, then each space once. */
typedef struct {
    mltfr_comm *comm;
    mltfr_file *file;
    int64_t K, r_c, r_s;
    uint64_t digest; /**< of this rank's rows so far */
} mltfr_spaces_writer;

/** Write space k, K for the consensus space; then what all of them share.  @collective{file}
 *  @param align  how they were aligned, for people */
mltfr_status mltfr_spaces_put(mltfr_spaces_writer *writer, int64_t k, const mltfr_space *space);
mltfr_status mltfr_spaces_put_end(const mltfr_spaces_writer *writer, const char *align);

/** Both, for spaces that are all there.  @collective{file}
 *  @param spaces  [K + 1], the consensus space last */
mltfr_status mltfr_spaces_write(mltfr_comm *comm, mltfr_file *file, int64_t K, int64_t r_c,
                                int64_t r_s, const char *align, const mltfr_space spaces[]);

#endif
