/* --help, VERB --help and --version. */
#include <mltfr/log.h>
#include <mltfr/versions.h>

#include "app_impl.h"

#include <errno.h>
#include <string.h>

mltfr_status app_print(mltfr_text *text)
{
    mltfr_status st;
    char *all = NULL;

    MLTFR_TRY(mltfr_text_take(text, &all));
    if (fputs(all, stdout) < 0 || fflush(stdout) != 0)
        MLTFR_FAIL(MLTFR_E_IO, "standard output: %s", strerror(errno));
done:
    MLTFR_FREE(all);
    return st;
}

/* A name in its column and its text beside it, or below it where the name is long. */
static void add_entry(mltfr_text *text, const char *name, const char *help)
{
    enum { COLUMN = 28 };

    if (strlen(name) <= COLUMN - 4)
        mltfr_text_add(text, "  %-*s%s\n", COLUMN - 2, name, help);
    else
        mltfr_text_add(text, "  %s\n%*s%s\n", name, COLUMN, "", help);
}

static void add_options(mltfr_text *text, const app_option *options)
{
    char name[64];

    for (const app_option *option = options; option->name != NULL; option++) {
        snprintf(name, sizeof name, "--%s%s%s", option->name, app_option_sign(option),
                 option->argument != NULL ? option->argument : "");
        add_entry(text, name, option->help);
    }
}

static void add_key(mltfr_text *text, const mltfr_key *key)
{
    mltfr_text about = {0};
    char *all = NULL;

    mltfr_text_add(&about, "%s; ", key->help);
    mltfr_key_allowed(key, &about);
    if (key->unit != NULL)
        mltfr_text_add(&about, " (%s)", key->unit);
    mltfr_text_add(&about, "; default ");
    mltfr_key_value(key, NULL, &about);
    if (mltfr_text_take(&about, &all) == MLTFR_OK)
        add_entry(text, key->name, all);
    else
        text->st = MLTFR_E_NOMEM;
    MLTFR_FREE(all);
}

static void add_section(mltfr_text *text, const mltfr_section *section)
{
    mltfr_text_add(text, "\n%s (section %s):\n", section->help, section->name);
    for (const mltfr_key *key = mltfr_keys; key->name != NULL; key++)
        if (strcmp(key->section, section->name) == 0)
            add_key(text, key);
}

static void add_program(mltfr_text *text)
{
    mltfr_text_add(text, "Usage: mltfr_dist [VERB] [--config FILE] [--set KEY=VALUE]... [options]\n"
                         "       mpirun -np N mltfr_dist [VERB] ...\n\n"
                         "Sequential recommendation from the token embeddings of several LLMs.\n\n"
                         "Verbs:\n");
    for (const app_verb *verb = app_verbs; verb->name != NULL; verb++)
        add_entry(text, verb->name, verb->summary);
    mltfr_text_add(text, "\nOptions of every verb:\n");
    add_options(text, app_common_options);
    mltfr_text_add(text, "\nExit status: 0 done, 1 failed, 2 usage or configuration, 70 internal "
                         "error, 75 stopped\nearly with a complete checkpoint. 'mltfr_dist VERB "
                         "--help' says more about a verb.\n");
}

static void add_verb(mltfr_text *text, const app_verb *verb)
{
    mltfr_text_add(text, "Usage: mltfr_dist %s%s%s [options]\n\n%s: %s.\n", verb->name,
                   *verb->synopsis != '\0' ? " " : "", verb->synopsis, verb->name, verb->summary);
    if (*verb->details != '\0')
        mltfr_text_add(text, "%s\n", verb->details);
    mltfr_text_add(text, "\nOptions:\n");
    if (verb->options[0].name != NULL)
        add_options(text, verb->options);
    add_options(text, app_common_options);
    if (*verb->sections != '\0')
        mltfr_text_add(text, "\nKeys of the configuration, for --config and --set:\n");
    for (const mltfr_section *section = mltfr_sections; section->name != NULL; section++)
        if (app_word_in(verb->sections, section->name))
            add_section(text, section);
}

mltfr_status app_help(const app_verb *verb)
{
    mltfr_text text = {0};

    if (verb == NULL)
        add_program(&text);
    else
        add_verb(&text, verb);
    return app_print(&text);
}

mltfr_status app_version(void)
{
    static const struct {
        const char *name;
        void (*version)(char *, size_t);
    } libraries[] = {{"MPI", mltfr_mpi_version},
                     {"HDF5", mltfr_hdf5_version},
                     {"BLAS", mltfr_blas_version},
                     {"ScaLAPACK", mltfr_scalapack_version}};
    mltfr_text text = {0};
    char version[256];

    mltfr_text_add(&text, "mltfr_dist %s\n", MLTFR_VERSION);
    for (size_t i = 0; i < sizeof libraries / sizeof *libraries; i++) {
        libraries[i].version(version, sizeof version);
        mltfr_text_add(&text, "%s: %s\n", libraries[i].name, version);
    }
    mltfr_text_add(&text, "BLAS kernel: %s\n", mltfr_blas_kernel());
    return app_print(&text);
}
