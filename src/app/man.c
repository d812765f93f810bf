/* The manual pages, from the same tables as --help.  docs/man holds what this prints; a test
 * compares them. */
#include "app_impl.h"

#include <string.h>

/* Text in roff: a backslash, a leading dot or quote, and hyphens that are typed are escaped. */
static void add_plain(mltfr_text *page, const char *words)
{
    for (const char *c = words; *c != '\0'; c++) {
        if (*c == '\\')
            mltfr_text_add(page, "\\e");
        else if (*c == '-')
            mltfr_text_add(page, "\\-");
        else if ((*c == '.' || *c == '\'') && c == words)
            mltfr_text_add(page, "\\&%c", *c);
        else
            mltfr_text_add_bytes(page, c, 1);
    }
}

static void add_line(mltfr_text *page, const char *words)
{
    add_plain(page, words);
    mltfr_text_add(page, "\n");
}

static void add_title(mltfr_text *page, const char *name, const char *section, const char *summary)
{
    mltfr_text_add(page, ".\\\" Made from the tables of the source by mltfr_dist \\-\\-man.\n");
    mltfr_text_add(page, ".TH %s %s \"\" \"mltfr_dist %s\"\n.SH NAME\n%s \\- ", name, section,
                   MLTFR_VERSION, name);
    add_line(page, summary);
}

static void add_man_options(mltfr_text *page, const app_option *options)
{
    for (const app_option *option = options; option->name != NULL; option++) {
        mltfr_text_add(page, ".TP\n\\fB\\-\\-%s\\fR", option->name);
        if (option->argument != NULL)
            mltfr_text_add(page, "%s\\fI%s\\fR", app_option_sign(option), option->argument);
        mltfr_text_add(page, "\n");
        add_line(page, option->help);
    }
}

static void add_man_verb(mltfr_text *page, const app_verb *verb)
{
    mltfr_text_add(page, ".SS %s", verb->name);
    if (*verb->synopsis != '\0')
        mltfr_text_add(page, " %s", verb->synopsis);
    mltfr_text_add(page, "\n");
    add_plain(page, verb->summary);
    mltfr_text_add(page, ".\n");
    if (*verb->details != '\0')
        add_line(page, verb->details);
    if (verb->options[0].name != NULL)
        add_man_options(page, verb->options);
}

static void add_exit_status(mltfr_text *page)
{
    static const struct {
        int exit;
        const char *text;
    } rows[] = {
#define X(code, exit, text) {exit, text},
        MLTFR_STATUS_LIST(X)
#undef X
    };

    mltfr_text_add(page, ".SH EXIT STATUS\nThe same on every rank.\n");
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        bool again = i > 0 && rows[i].exit == rows[i - 1].exit;

        if (!again)
            mltfr_text_add(page, "%s.TP\n.B %d\n", i > 0 ? "\n" : "", rows[i].exit);
        if (again)
            mltfr_text_add(page, "; ");
        add_plain(page, rows[i].text);
    }
    mltfr_text_add(page, "\n");
}

static void man_program(mltfr_text *page)
{
    add_title(page, "mltfr_dist", "1", "recommendation from the token embeddings of several LLMs");
    mltfr_text_add(page,
                   ".SH SYNOPSIS\n.B mltfr_dist\n[\\fIVERB\\fR] [\\fB\\-\\-config\\fR "
                   "\\fIFILE\\fR] [\\fB\\-\\-set\\fR \\fIKEY\\fR=\\fIVALUE\\fR]... "
                   "[\\fIoptions\\fR]\n.br\n.B mpirun \\-np\n.I N\n.B mltfr_dist\n[\\fIVERB\\fR] "
                   "...\n.SH DESCRIPTION\nTrains and evaluates sequential recommenders whose "
                   "experts read the frozen token\nembeddings of LLMs. Every verb runs on any "
                   "number of MPI ranks, with the same numbers.\n");
    for (const app_verb *verb = app_verbs; verb->name != NULL; verb++)
        add_man_verb(page, verb);
    mltfr_text_add(page, ".SH OPTIONS\nThose of every verb:\n");
    add_man_options(page, app_common_options);
    add_exit_status(page);
    mltfr_text_add(page, ".SH ENVIRONMENT\n.TP\n.B OPENBLAS_CORETYPE\nthe kernel OpenBLAS uses in "
                         "place of its own choice; \\fB\\-\\-version\\fR names the one in use\n"
                         ".SH FILES\n.TP\n.I mltfr.yaml\nthe configuration of \\fBtrain\\fR and "
                         "\\fBtokens\\fR where none is given\n"
                         ".SH EXAMPLES\n.nf\nmltfr_dist data ratings.inter \\-\\-out data.h5\n"
                         "mpirun \\-q \\-np 4 mltfr_dist train \\-\\-config mltfr.yaml \\-\\-set "
                         "train.seed=2\n.fi\n.SH SEE ALSO\n.BR mltfr_config (5)\n");
}

static void add_man_key(mltfr_text *page, const mltfr_key *key)
{
    mltfr_text allowed = {0}, value = {0};

    mltfr_key_allowed(key, &allowed);
    mltfr_key_value(key, NULL, &value);
    mltfr_text_add(page, ".TP\n.B %s\n", key->name);
    add_plain(page, key->help);
    mltfr_text_add(page, ".\nAllowed: ");
    add_plain(page, allowed.data != NULL ? allowed.data : "");
    if (key->unit != NULL)
        mltfr_text_add(page, " (%s)", key->unit);
    mltfr_text_add(page, ". Default: ");
    add_plain(page, value.data != NULL ? value.data : "");
    mltfr_text_add(page, ".\n");
    if (page->st == MLTFR_OK)
        page->st = allowed.st != MLTFR_OK ? allowed.st : value.st;
    mltfr_text_destroy(&allowed);
    mltfr_text_destroy(&value);
}

static void man_config(mltfr_text *page)
{
    add_title(page, "mltfr_config", "5", "configuration of mltfr_dist");
    mltfr_text_add(page,
                   ".SH DESCRIPTION\nA YAML file of sections, each with keys. An unknown key, "
                   "a key given twice and a value\nthat is not allowed are errors that name "
                   "the line. \\fB\\-\\-set\\fR \\fIsection.key\\fR=\\fIVALUE\\fR\non the "
                   "command line takes the same keys; VALUE is YAML too. What a run used is "
                   "in\n\\fIconfig.yaml\\fR of its directory.\n");
    for (const mltfr_section *section = mltfr_sections; section->name != NULL; section++) {
        mltfr_text_add(page, ".SH \"%s\"\n", section->name);
        add_plain(page, section->help);
        mltfr_text_add(page, ".\n");
        for (const mltfr_key *key = mltfr_keys; key->name != NULL; key++)
            if (strcmp(key->section, section->name) == 0)
                add_man_key(page, key);
    }
    mltfr_text_add(page, ".SH EXAMPLES\n.nf\ndata:\n  path: ratings.inter\ntokens:\n  tables:\n"
                         "    \\- {name: smol, path: smollm2.gguf}\n    \\- {name: minilm, path: "
                         "minilm/model.safetensors}\ntrain:\n  epochs: 30\n.fi\n"
                         ".SH SEE ALSO\n.BR mltfr_dist (1)\n");
}

mltfr_status app_man(const char *page)
{
    mltfr_text text = {0};

    if (strcmp(page, "1") == 0)
        man_program(&text);
    else if (strcmp(page, "5") == 0)
        man_config(&text);
    else
        return mltfr_fail(MLTFR_E_USAGE, "--man: %s is not allowed: must be 1 or 5", page);
    return app_print(&text);
}
