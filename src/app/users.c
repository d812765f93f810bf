/* --users all|FILE|ID,ID. */
#include "app_impl.h"

#include <string.h>

mltfr_status app_select_users(mltfr_comm *comm, const char *users, const mltfr_interactions *data,
                              mltfr_selection **out)
{
    mltfr_status st;
    mltfr_selection *s = NULL;

    *out = NULL;
    if (strcmp(users, "all") == 0)
        return MLTFR_OK;
    if (app_exists(comm, users))
        MLTFR_TRY(mltfr_selection_read(comm, users, data->user_names, data->users, &s));
    else
        MLTFR_AGREE(comm, mltfr_selection_split(users, data->user_names, data->users, &s));
    if (s->unknown > 0)
        MLTFR_FAIL(MLTFR_E_DATA,
                   "--users: '%s' is no user of the data, and no file (%lld of %lld ids are "
                   "unknown)",
                   s->first, (long long)s->unknown, (long long)(s->unknown + s->count));
    if (s->count == 0)
        MLTFR_FAIL(MLTFR_E_DATA,
                   "--users: %s names no user: all, ids with commas between, or a "
                   "file with an id a line is needed",
                   users);
    *out = s;
    s = NULL;
done:
    mltfr_selection_destroy(&s);
    return st;
}
