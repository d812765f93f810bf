/* Files that a verb fills as it goes: rank 0 writes beside the name, and gives the name at the
 * end.  Also the forms of what goes into them. */
#include "app_impl.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

/* @local */
static mltfr_status open_part(const char *path, app_output *out)
{
    mltfr_status st;

    MLTFR_TRY(app_part(path, &out->part));
    out->file = fopen(out->part, "w");
    if (out->file == NULL)
        MLTFR_FAIL(MLTFR_E_IO, "%s: %s", out->part, strerror(errno));
done:
    return st;
}

mltfr_status app_output_open(mltfr_comm *comm, const char *path, app_output *out)
{
    *out = (app_output){.path = path};
    return mltfr_comm_agree(comm, mltfr_comm_rank(comm) == 0 ? open_part(path, out) : MLTFR_OK);
}

static mltfr_status failed(const app_output *out)
{
    return mltfr_fail(MLTFR_E_IO, "%s: %s", out->part, strerror(errno));
}

mltfr_status app_output_bytes(app_output *out, const void *bytes, size_t count)
{
    if (out->file == NULL || fwrite(bytes, 1, count, out->file) == count)
        return MLTFR_OK;
    return failed(out);
}

mltfr_status app_output_text(app_output *out, mltfr_text *text)
{
    mltfr_status st = text->st;

    if (st == MLTFR_OK && text->size > 0)
        st = app_output_bytes(out, text->data, text->size);
    mltfr_text_destroy(text);
    return st;
}

/* @local */
static mltfr_status finish(app_output *out)
{
    const bool whole = fflush(out->file) == 0 && fsync(fileno(out->file)) == 0;
    mltfr_status st = whole ? MLTFR_OK : failed(out);

    if (fclose(out->file) != 0 && st == MLTFR_OK)
        st = failed(out);
    out->file = NULL;
    if (st == MLTFR_OK && rename(out->part, out->path) != 0)
        st = failed(out);
    if (st == MLTFR_OK)
        MLTFR_FREE(out->part);
    return st;
}

mltfr_status app_output_close(mltfr_comm *comm, app_output *out)
{
    return mltfr_comm_agree(comm, out->file != NULL ? finish(out) : MLTFR_OK);
}

void app_output_discard(app_output *out)
{
    if (out->file != NULL)
        fclose(out->file);
    out->file = NULL;
    if (out->part != NULL)
        unlink(out->part);
    MLTFR_FREE(out->part);
}

void app_add_csv(mltfr_text *text, const char *word)
{
    if (word[strcspn(word, ",\"\r\n")] == '\0') {
        mltfr_text_add_bytes(text, word, strlen(word));
        return;
    }
    mltfr_text_add_bytes(text, "\"", 1);
    for (; *word != '\0'; word++) {
        mltfr_text_add_bytes(text, word, 1);
        mltfr_text_add_bytes(text, word, *word == '"');
    }
    mltfr_text_add_bytes(text, "\"", 1);
}

mltfr_status app_form(const app_request *request, const char *forms, const char **out)
{
    const char *dot = strrchr(request->out, '.');

    *out = request->format;
    if (*out == NULL && dot != NULL && app_word_in(forms, dot + 1))
        *out = dot + 1;
    if (*out == NULL)
        return mltfr_fail(MLTFR_E_USAGE,
                          "--out: the form of %s cannot be told from its name: end it in one of "
                          "%s, or add --format",
                          request->out, forms);
    if (!app_word_in(forms, *out))
        return mltfr_fail(MLTFR_E_USAGE, "--format: %s is not allowed: must be one of %s", *out,
                          forms);
    return MLTFR_OK;
}

mltfr_status app_check_list(const char *option, const char *list, const char *words)
{
    char word[32];

    for (size_t n; list != NULL && *list != '\0'; list += n + (list[n] != '\0')) {
        n = strcspn(list, ",");
        snprintf(word, sizeof word, "%.*s", (int)n, list);
        if (!app_word_in(words, word))
            return mltfr_fail(MLTFR_E_USAGE,
                              "--%s: %s is not allowed: must be some of %s, with commas between",
                              option, word, words);
    }
    return MLTFR_OK;
}

bool app_listed(const char *list, const char *word)
{
    const size_t length = strlen(word);

    for (size_t n; list != NULL && *list != '\0'; list += n + (list[n] != '\0')) {
        n = strcspn(list, ",");
        if (length == n && strncmp(list, word, n) == 0)
            return true;
    }
    return false;
}
