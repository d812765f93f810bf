/* Shared inside the app layer: what the command line asks for, and the table of verbs. */
#ifndef MLTFR_APP_IMPL_H
#define MLTFR_APP_IMPL_H

#include <mltfr/comm.h>
#include <mltfr/config.h>
#include <mltfr/recommender.h>
#include <mltfr/selection.h>
#include <mltfr/synthetic.h>

#include <stddef.h>
#include <stdio.h>

enum { APP_MOST_OPTIONS = 16, APP_MOST_OPERANDS = 16 };

struct app_verb;

/* A command line.  Texts are borrowed from argv. */
typedef struct {
    const struct app_verb *verb;
    const char *operands[APP_MOST_OPERANDS]; /* NULL where not given */
    const char *config;                      /* --config FILE */
    const char **sets;                       /* [set_count], owned */
    int set_count;
    bool quiet, help, version;
    const char *progress; /* auto, bar, lines or none */
    const char *resume;   /* auto, no or a file */
    const char *checkpoint, *split, *out, *format, *tensor, *neighbours, *man, *completion;
    const char *users, *sequences, *items, *top_k, *what, *tokens, *metrics, *per_user, *init;
    const char *dry_run; /* numbers of ranks, "" for this one; NULL: really train */
    bool synthetic, verify, quick;
} app_request;

typedef struct {
    const char *name, *argument; /* argument NULL: a flag; "[=...]": it may be left out */
    const char *help;
    size_t offset; /* in app_request: bool of a flag, const char * of an argument; --set: sets */
    const char *words; /* "a|b": what the argument may be; NULL: anything */
} app_option;

/* Where the configuration comes from without --config. */
typedef enum { APP_CONFIG_DEFAULTS, APP_CONFIG_MLTFR_YAML } app_config_source;

typedef mltfr_status app_run(mltfr_comm *comm, const app_request *request, mltfr_config *config);

typedef struct app_verb {
    const char *name, *synopsis, *summary, *details;
    int least_operands, most_operands;
    app_config_source source;
    const char *sections; /* of the configuration, shown by --help: "data tokens", "*" or "" */
    app_option options[APP_MOST_OPTIONS]; /* besides app_common_options; a NULL name ends them */
    app_run *run;                         /* @collective{comm} */
} app_verb;

/* Tables, each ended by a NULL name. */
extern const app_verb app_verbs[];
extern const app_option app_common_options[];
extern const char app_default_config[]; /* "mltfr.yaml" */

/* Read the command line; MLTFR_E_USAGE with one line.  Free with app_request_destroy. */
mltfr_status app_request_read(int argc, char *argv[], app_request *out);
void app_request_destroy(app_request *request);

/* Is it answered by a text, before MPI starts?  @local */
bool app_informs(const app_request *request);

/* The configuration of a request: its file, then each --set.  @collective{comm} */
mltfr_status app_configure(mltfr_comm *comm, const app_request *request, mltfr_config *config);

/* Read a text file on rank 0 and give it to all.  @collective{comm}
 * `missing` is the status for a file that cannot be read. */
mltfr_status app_load(mltfr_comm *comm, const char *path, mltfr_status missing, char **out);

/* Files as rank 0 sees them; the same answer on every rank.  @collective{comm}, each of them.
 * app_require: MLTFR_E_DATA naming the key and the file, where there is none.
 * app_holds: is it an HDF5 file of ours with this group, "interactions" or "spaces"? */
bool app_exists(mltfr_comm *comm, const char *path);
bool app_is_directory(mltfr_comm *comm, const char *path);
bool app_starts_with(mltfr_comm *comm, const char *path, const char *bytes); /* at most 16 */
bool app_is_hdf5(mltfr_comm *comm, const char *path);
mltfr_status app_require(mltfr_comm *comm, const char *key, const char *path);
mltfr_status app_holds(mltfr_comm *comm, const char *path, const char *group, bool *out);
mltfr_status app_make_directory(mltfr_comm *comm, const char *path);

/* Write the text to a file as a whole: beside it first, then under its name. @collective{comm} */
mltfr_status app_write(mltfr_comm *comm, const char *path, const mltfr_text *text);

/* The same of a file that `write` makes of `what` under the name it is given.  @collective{comm} */
typedef mltfr_status app_writer(mltfr_comm *comm, const char *path, const void *what);
mltfr_status app_write_by(mltfr_comm *comm, const char *path, app_writer *write, const void *what);

/* The same of the planted example with its token spaces.  @collective{comm} */
mltfr_status app_synthetic_write(mltfr_comm *comm, const char *path,
                                 const mltfr_synthetic_spec *spec);

/* Rename, replacing what was there; both are in one directory.  @collective{comm} */
mltfr_status app_rename(mltfr_comm *comm, const char *from, const char *to);

/* "path.part": what a file is called until it is whole.  As below. */
mltfr_status app_part(const char *path, char **out);

/* "directory/name"; owned by the caller (MLTFR_FREE).  @local */
mltfr_status app_join(const char *directory, const char *name, char **out);

/* Where `tokens` leaves the report of FILE.h5: FILE.json; another name has it appended.  @local */
mltfr_status app_json_beside(const char *path, char **out);

/* Condition tokens.tables into a file, print the report and write it as JSON.  @collective{comm}
 * `tensor` is the table's in each file whose entry names none, or NULL: found by rule. */
mltfr_status app_condition(mltfr_comm *comm, const mltfr_settings *settings, const char *tensor,
                           const char *out, const char *json);

/* The report of conditioning as one JSON object.  @collective{comm} */
struct mltfr_conditioning_report;
mltfr_status app_report_spaces(mltfr_comm *comm, const struct mltfr_conditioning_report *report,
                               const char *path);

/* Say the nearest tokens of a word in each space of a file.  @collective{comm} */
mltfr_status app_neighbours(mltfr_comm *comm, const char *path, const char *word);

/* Make the spaces of tokens.tables at this path, with the recipe beside them.  @collective{comm} */
typedef mltfr_status app_make_spaces(mltfr_comm *comm, const mltfr_settings *settings,
                                     const char *path, const char *recipe);
app_make_spaces app_spaces_make;

/* Point tokens.path at the token spaces of the configuration, where there are experts; data.path
 * is an existing file.  spaces.h5 of the run directory is made where it is absent, or anew; with
 * make NULL it must exist.  (A pointer, so that libmltfr needs no code that conditions.)
 * @collective{comm} */
mltfr_status app_find_spaces(mltfr_comm *comm, mltfr_config *config, app_make_spaces *make,
                             bool anew);

/* Texts for --help, VERB --help, --version, --man and --completion; on failure to print,
 * MLTFR_E_IO. */
mltfr_status app_help(const app_verb *verb);
mltfr_status app_version(void);
mltfr_status app_man(const char *page);
mltfr_status app_completion(const char *shell);
mltfr_status app_print(mltfr_text *text); /* to stdout; empties it */

/* What stands between an option's name and its argument. */
static inline const char *app_option_sign(const app_option *option)
{
    return option->argument == NULL || option->argument[0] == '[' ? "" : "=";
}

/* Is a word in the list "a b c" (or "a|b|c")?  "*" holds every word. */
bool app_word_in(const char *list, const char *word);

/* The checkpoint a request names, or the best of its run.dir, and its configuration with --config
 * and --set (config: these alone) on top.  @collective{comm}  Both are owned by the caller, also
 * after a failure. */
mltfr_status app_checkpoint(mltfr_comm *comm, const app_request *request,
                            const mltfr_config *config, char **checkpoint, mltfr_config **full);

/* The same, opened. */
typedef struct {
    char *checkpoint;
    mltfr_config *config;
    const mltfr_settings *settings;
    mltfr_recommender *recommender;
    const mltfr_interactions *data;
} app_model;

mltfr_status app_recommender(mltfr_comm *comm, const app_request *request,
                             const mltfr_config *config, app_model *out); /* @collective{comm} */
void app_model_close(app_model *model);                                   /* @collective{comm} */

/* The users that --users names; NULL: all.  An unknown id is MLTFR_E_DATA.  @collective{comm} */
mltfr_status app_select_users(mltfr_comm *comm, const char *users, const mltfr_interactions *data,
                              mltfr_selection **out);

/* A file that is filled bit by bit and gets its name when it is whole.  Starts as {0}. */
typedef struct {
    FILE *file;       /* NULL beside rank 0, where writing does nothing */
    char *part;       /* owned */
    const char *path; /* borrowed: outlives the output */
} app_output;

mltfr_status app_output_open(mltfr_comm *comm, const char *path, app_output *out); /* @collective */
mltfr_status app_output_bytes(app_output *out, const void *bytes, size_t count);   /* @local */
mltfr_status app_output_text(app_output *out, mltfr_text *text);  /* empties the text; @local */
mltfr_status app_output_close(mltfr_comm *comm, app_output *out); /* @collective{comm} */
void app_output_discard(app_output *out);                         /* after a failure; @local */

/* A field of a CSV file, in quotes where it needs them. */
void app_add_csv(mltfr_text *text, const char *word);

/* An option `a,b`: MLTFR_E_USAGE where a word is none of "a|b|c"; is a word in it?  NULL: none. */
mltfr_status app_check_list(const char *option, const char *list, const char *words);
bool app_listed(const char *list, const char *word);

/* The form of --out: --format, else what the name ends in; one of "a|b", else MLTFR_E_USAGE. */
mltfr_status app_form(const app_request *request, const char *forms, const char **out);

/* Further metrics of a ranked split, said a line each and added to a JSON object. @collective{comm}
 */
mltfr_status app_evaluate_more(mltfr_comm *comm, const app_model *model,
                               const mltfr_ranked_split *ranked, const char *metrics,
                               mltfr_text *json);

app_run app_bench, app_dry_run; /* the latter is train --dry-run */
app_run app_train, app_tokens, app_data, app_evaluate, app_recommend, app_export, app_explain,
    app_report, app_inspect, app_replay;

#endif
