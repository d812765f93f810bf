/** @file mltfr/file.h
 *  Collective HDF5 files of global arrays.  Layer: comm (mpi/).
 *
 *  An array in a file is the whole, global one; each rank writes or reads consecutive rows of its
 *  first axis, so a file written by N ranks reads the same on any other number.  A rank without
 *  rows still takes part.  Missing groups of a name are made on the way. */
#ifndef MLTFR_FILE_H
#define MLTFR_FILE_H

#include <mltfr/comm.h>
#include <mltfr/mem.h>

typedef struct mltfr_file mltfr_file;

typedef enum { MLTFR_F32, MLTFR_F64, MLTFR_I32, MLTFR_I64, MLTFR_U8 } mltfr_dtype;

/** Bytes of one element.  @local */
int64_t mltfr_dtype_bytes(mltfr_dtype type);

enum { MLTFR_MAX_DIMS = 4 };

/** Type and shape of an array; a scalar has ndim 0, and counts as one row of one element. */
typedef struct {
    mltfr_dtype type;
    int ndim;
    int64_t dims[MLTFR_MAX_DIMS];
} mltfr_shape;

/** Elements of one row, and of the whole.  @local */
int64_t mltfr_shape_row(const mltfr_shape *shape);
int64_t mltfr_shape_count(const mltfr_shape *shape);

/** Make a new file (an old one is replaced), open one for reading, or open one to add to it: what
 *  was sealed is sealed again then.
 *  @collective{comm}
 *  @param comm  kept: must outlive the file
 *  @return MLTFR_E_IO with the name of the file; the same on every rank */
mltfr_status mltfr_file_create(mltfr_comm *comm, const char *path, mltfr_file **out);
mltfr_status mltfr_file_open(mltfr_comm *comm, const char *path, mltfr_file **out);
mltfr_status mltfr_file_append(mltfr_comm *comm, const char *path, mltfr_file **out);

/** Close a file that was written, without a seal, with what may go wrong on the way.
 * @collective{file} */
mltfr_status mltfr_file_close(mltfr_file **file);

/** Close after reading or a failure; sets *file to NULL, which is allowed.  @collective{file} */
void mltfr_file_destroy(mltfr_file **file);

/** Close a file that is complete, sealed and synced to the disk.  Every array that was written
 *  since it was opened gets its checksums: of blocks of rows cut by its shape alone, so the same
 * for any number of ranks.  Behind its end, where HDF5 does not look, goes the checksum of all that
 * is not in these arrays.  docs/formats.md has the form.
 *
 *  Opening a sealed file checks that checksum before HDF5 sees the file, and reading rows checks
 * the blocks they are in.  A file without a seal, of another program, is read as it is.
 *  @collective{file}
 *  @param file  is set to NULL, on failure too */
mltfr_status mltfr_file_seal(mltfr_file **file);

/** Open for reading what must be sealed.  @collective{comm}
 *  @return MLTFR_E_DATA where the seal is missing or broken */
mltfr_status mltfr_file_open_sealed(mltfr_comm *comm, const char *path, mltfr_file **out);

/** What mltfr_file_verify saw: arrays that have checksums, their blocks, the damaged ones. */
typedef struct {
    bool sealed;
    int64_t arrays, blocks, damaged;
} mltfr_verified;

/** Read all blocks of all arrays of an open file; `found` is called for each damaged one, rows
 * first to last.  @local */
typedef void mltfr_file_damage(void *context, const char *name, int64_t first, int64_t last);
mltfr_status mltfr_file_verify(mltfr_file *file, mltfr_file_damage *found, void *context,
                               mltfr_verified *out);

/** The path the file was opened by.  @local */
const char *mltfr_file_path(const mltfr_file *file);

/** Write a new global array; this rank holds rows [first, first + rows) of axis 0.
 *  @collective{file}
 *  @param name  path in the file, e.g. "params/item.weight" */
mltfr_status mltfr_file_write(mltfr_file *file, const char *name, const mltfr_shape *shape,
                              int64_t first, int64_t rows, const void *mine);

/** Write a new array of strings in UTF-8, all of one length, padded with zeros.  Every rank gives
 *  all of them.  Such arrays are passed over by mltfr_file_visit.  @collective{file} */
mltfr_status mltfr_file_write_strings(mltfr_file *file, const char *name, int64_t n,
                                      char *const *strings);

/** Read all strings of an array of one axis, whatever their form, on every rank.
 *  @collective{file}  @param out  [*n] one block, owned by the caller (MLTFR_FREE)
 *  @return MLTFR_E_DATA where there is no such array */
mltfr_status mltfr_file_read_strings(mltfr_file *file, const char *name, char ***out, int64_t *n);

/** The two halves of a write: make an array, and write it later, perhaps after the file was closed
 *  and opened again by more ranks.  @collective{file} */
mltfr_status mltfr_file_reserve(mltfr_file *file, const char *name, const mltfr_shape *shape);
mltfr_status mltfr_file_fill(mltfr_file *file, const char *name, const mltfr_shape *shape,
                             int64_t first, int64_t rows, const void *mine);

/** Write while the program goes on.  Open a file whose arrays are all reserved; mltfr_file_fill
 * then only notes the rows, mltfr_file_start copies them and begins to write and sync them in the
 *  background; mltfr_file_written asks all ranks whether they are done; mltfr_file_seal waits for
 *  it.  A failure in the background is that of the seal, on every rank.  @collective{file}
 *  @param copy  kept by the file until it is destroyed; grows to what this rank has to write.
 *               NULL: all is written before this returns, and nothing is copied
 *  @return of the start: MLTFR_E_NOMEM where there is no memory for the copy */
mltfr_status mltfr_file_append_later(mltfr_comm *comm, const char *path, mltfr_file **out);
mltfr_status mltfr_file_start(mltfr_file *file, mltfr_room *copy);
bool mltfr_file_written(mltfr_file *file);

/** Read rows [first, first + rows) as `type`; a number is converted as HDF5 does.
 *  @collective{file} */
mltfr_status mltfr_file_read(mltfr_file *file, const char *name, mltfr_dtype type, int64_t first,
                             int64_t rows, void *mine);

/** The same of an array of one dimension; MLTFR_E_DATA where it has another number of them.
 *  @collective{file} */
mltfr_status mltfr_file_read_list(mltfr_file *file, const char *name, mltfr_dtype type,
                                  int64_t first, int64_t rows, void *mine);

/** The same as shape->type; MLTFR_E_DATA where the array does not have this shape.
 *  @collective{file} */
mltfr_status mltfr_file_read_as(mltfr_file *file, const char *name, const mltfr_shape *shape,
                                int64_t first, int64_t rows, void *mine);

/** Is there such a group or array?  @local */
bool mltfr_file_has(mltfr_file *file, const char *name);

/** Shape of an array; MLTFR_E_DATA where there is none.  @local */
mltfr_status mltfr_file_shape(mltfr_file *file, const char *name, mltfr_shape *out);

/** Call `visit` for each array below a group, by rising name; stops at the first failure.  @local
 */
typedef mltfr_status mltfr_file_visitor(void *context, const char *name, const mltfr_shape *shape);
mltfr_status mltfr_file_visit(mltfr_file *file, mltfr_file_visitor *visit, void *context);

/** Attributes of a group or array ("/" is the file itself).  Setting is @collective{file}, with
 *  the same value on every rank; getting is @local.  MLTFR_E_DATA where there is none. */
mltfr_status mltfr_file_set_i64(mltfr_file *file, const char *object, const char *name,
                                int64_t value);
mltfr_status mltfr_file_set_f64(mltfr_file *file, const char *object, const char *name,
                                double value);
mltfr_status mltfr_file_set_text(mltfr_file *file, const char *object, const char *name,
                                 const char *value);
mltfr_status mltfr_file_get_i64(mltfr_file *file, const char *object, const char *name,
                                int64_t *out);
mltfr_status mltfr_file_get_f64(mltfr_file *file, const char *object, const char *name,
                                double *out);
/** @param out  new string, owned by the caller (MLTFR_FREE) */
mltfr_status mltfr_file_get_text(mltfr_file *file, const char *object, const char *name,
                                 char **out);
/** Does the object have this attribute?  @local */
bool mltfr_file_has_attr(mltfr_file *file, const char *object, const char *name);

#endif
