/* Interactions for all ranks: rank 0 reads and parses, the others receive the finished arrays.
 *
 *      rank 0   file -> rows -> sequences --+--> rank 1 ... N-1: the same sequences */
#include "interactions_impl.h"

#include <mltfr/log.h>
#include <mltfr/mem.h>

mltfr_status mltfr_interactions_parse(const mltfr_settings *settings, mltfr_interactions **out)
{
    mltfr_status st = MLTFR_OK;
    mltfr_reader text = {0};
    mltfr_rows rows = {0};
    int format = settings->data_format;

    *out = NULL;
    MLTFR_TRY(mltfr_reader_load(settings->data_path, &text));
    if (format == MLTFR_DATA_FORMAT_AUTO)
        MLTFR_TRY(mltfr_reader_format(&text, settings, &format));
    MLTFR_TRY(mltfr_rows_parse(&rows, &text, settings, format));
    MLTFR_TRY(mltfr_rows_finish(&rows, settings, out));
done:
    mltfr_rows_free(&rows);
    mltfr_reader_free(&text);
    return st;
}

/* What the settings leave out, and the split.  A file in the HDF5 form keeps the split it has. */
static mltfr_status prepare(const mltfr_settings *settings, mltfr_interactions *data)
{
    mltfr_status st = MLTFR_OK;

    MLTFR_TRY(mltfr_interactions_filter(data, settings->data_min_user, settings->data_min_item));
    if (settings->data_split == MLTFR_DATA_SPLIT_TIME && data->times == NULL && data->cuts == NULL)
        MLTFR_FAIL(MLTFR_E_DATA,
                   "%s: data.split: time needs times, which this form does not keep: convert the "
                   "text form again with data.split: time",
                   settings->data_path);
    if (data->times != NULL)
        MLTFR_TRY(mltfr_interactions_cut(data, settings->data_split_share));
    MLTFR_FREE(data->times);
done:
    return st;
}

/* Is it the HDF5 form, which all ranks open?  Rank 0 looks. */
static mltfr_status find_form(const mltfr_settings *settings, int64_t *hdf5)
{
    mltfr_status st;
    bool is_hdf5;

    if (settings->data_path == NULL || settings->data_path[0] == '\0')
        return mltfr_fail(MLTFR_E_USAGE, "data.path: a file of interactions is needed");
    st = mltfr_reader_probe(settings->data_path, &is_hdf5);
    *hdf5 = settings->data_format == MLTFR_DATA_FORMAT_HDF5 ||
            (settings->data_format == MLTFR_DATA_FORMAT_AUTO && is_hdf5);
    return st;
}

/* What the others must know before the arrays come. */
typedef struct {
    mltfr_interactions head; /* its pointers mean nothing */
    int64_t user_bytes, item_bytes;
} header;

static mltfr_status make_copy(const header *n, mltfr_interactions **out)
{
    mltfr_status st = MLTFR_OK;
    mltfr_interactions *d;

    MLTFR_TRY(MLTFR_NEW(*out, 1));
    d = *out;
    *d = n->head;
    d->offsets = NULL, d->ids = NULL, d->user_names = d->item_names = NULL, d->cuts = NULL;
    if (n->head.cuts != NULL)
        MLTFR_TRY(MLTFR_NEW(d->cuts, 2 * d->users));
    MLTFR_TRY(MLTFR_NEW(d->offsets, d->users + 1));
    MLTFR_TRY(MLTFR_NEW(d->ids, d->count));
    MLTFR_TRY(mltfr_names_alloc(d->users, n->user_bytes, &d->user_names));
    MLTFR_TRY(mltfr_names_alloc(d->items, n->item_bytes, &d->item_names));
done:
    return st;
}

static void bcast_names(mltfr_comm *comm, char **names, int64_t n, int64_t bytes)
{
    mltfr_comm_bcast(comm, names + n, bytes, 0);
    if (mltfr_comm_rank(comm) != 0)
        mltfr_names_link(names, n);
}

/* Give rank 0's data to all; *data is NULL on the others. */
static mltfr_status share(mltfr_comm *comm, mltfr_interactions **data)
{
    mltfr_status st = MLTFR_OK;
    mltfr_interactions *d = *data;
    bool root = mltfr_comm_rank(comm) == 0;
    header n = {0};

    if (root)
        n = (header){*d, mltfr_names_bytes(d->user_names, d->users),
                     mltfr_names_bytes(d->item_names, d->items)};
    mltfr_comm_bcast(comm, &n, sizeof n, 0);
    MLTFR_AGREE(comm, root ? MLTFR_OK : make_copy(&n, data));
    d = *data;
    mltfr_comm_bcast(comm, d->offsets, (d->users + 1) * (int64_t)sizeof *d->offsets, 0);
    mltfr_comm_bcast(comm, d->ids, d->count * (int64_t)sizeof *d->ids, 0);
    if (d->cuts != NULL)
        mltfr_comm_bcast(comm, d->cuts, 2 * d->users * (int64_t)sizeof *d->cuts, 0);
    bcast_names(comm, d->user_names, d->users, n.user_bytes);
    bcast_names(comm, d->item_names, d->items, n.item_bytes);
done:
    return st;
}

mltfr_status mltfr_interactions_read(mltfr_comm *comm, const mltfr_settings *settings,
                                     mltfr_interactions **out)
{
    mltfr_status st = MLTFR_OK;
    mltfr_interactions *data = NULL;
    bool root = mltfr_comm_rank(comm) == 0;
    int64_t hdf5 = 0;

    *out = NULL;
    MLTFR_AGREE(comm, root ? find_form(settings, &hdf5) : MLTFR_OK);
    mltfr_comm_bcast(comm, &hdf5, sizeof hdf5, 0);
    if (hdf5 && settings->data_ties == MLTFR_DATA_TIES_SHUFFLED)
        mltfr_warn("%s: data.ties: shuffled has no effect on this form, which keeps its order",
                   settings->data_path);
    if (hdf5)
        MLTFR_TRY(mltfr_interactions_load(comm, settings->data_path, &data));
    else
        MLTFR_AGREE(comm, root ? mltfr_interactions_parse(settings, &data) : MLTFR_OK);
    MLTFR_AGREE(comm, root ? prepare(settings, data) : MLTFR_OK);
    MLTFR_TRY(share(comm, &data));
    *out = data;
    data = NULL;
done:
    mltfr_interactions_destroy(&data);
    return st;
}

void mltfr_interactions_destroy(mltfr_interactions **data)
{
    if (*data == NULL)
        return;
    MLTFR_FREE((*data)->offsets);
    MLTFR_FREE((*data)->ids);
    MLTFR_FREE((*data)->cuts);
    MLTFR_FREE((*data)->times);
    MLTFR_FREE((*data)->user_names);
    MLTFR_FREE((*data)->item_names);
    MLTFR_FREE(*data);
}
