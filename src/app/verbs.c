/* The verbs and their options: one table behind the command line, --help and the manual page. */
#include "app_impl.h"

#define FLAG(word, field, text)                                                                    \
    {                                                                                              \
        .name = word, .help = text, .offset = offsetof(app_request, field)                         \
    }
#define ARGUMENT(word, what, field, text)                                                          \
    {                                                                                              \
        .name = word, .argument = what, .help = text, .offset = offsetof(app_request, field)       \
    }
#define CHOSEN(word, list, field, text)                                                            \
    {                                                                                              \
        .name = word, .argument = list, .help = text, .offset = offsetof(app_request, field),      \
        .words = list                                                                              \
    }

const app_option app_common_options[] = {
    ARGUMENT("config", "FILE", config, "read the configuration from this YAML file"),
    ARGUMENT("set", "KEY=VALUE", sets,
             "set section.key to a YAML value; may be repeated, the last wins"),
    FLAG("quiet", quiet, "print results, warnings and errors only"),
    CHOSEN("progress", "auto|bar|lines|none", progress,
           "a bar, lines at intervals, or nothing; auto: a bar on a terminal without a launcher"),
    FLAG("help", help, "print this help"),
    FLAG("version", version, "print the versions of the program and its libraries"),
    {.name = NULL},
};

#define CHECKPOINT                                                                                 \
    ARGUMENT("checkpoint", "FILE", checkpoint,                                                     \
             "read this checkpoint; without it the best of run.dir")

#define USERS                                                                                      \
    ARGUMENT("users", "all|FILE|ID,ID", users,                                                     \
             "all users, those whose ids are in a file, one a line, or those named")

const app_verb app_verbs[] = {
    {
        .name = "train",
        .synopsis = "",
        .summary = "train a recommender (the default verb)",
        .details = "Without --config the file mltfr.yaml is read; without that file the built-in "
                   "synthetic example is trained.",
        .source = APP_CONFIG_MLTFR_YAML,
        .sections = "*",
        .options = {ARGUMENT("resume", "auto|no|FILE", resume,
                             "auto: from the newest whole checkpoint of run.dir, if there is one"),
                    ARGUMENT(
                        "init", "FILE", init,
                        "start a new run from the parameters of this checkpoint, on other data "
                        "too: items go by id, experts by the LLM's name"),
                    ARGUMENT("dry-run", "[=N,...]", dry_run,
                             "predict memory and time on N ranks (on these, without N; a table for "
                             "several N) and write nothing")},
        .run = app_train,
    },
    {
        .name = "tokens",
        .synopsis = "",
        .summary = "condition LLM token tables into a token-space file",
        .details =
            "The tables are those of tokens.tables: GGUF, safetensors or .npy files. Without "
            "--config the file mltfr.yaml is read, if there is one.",
        .source = APP_CONFIG_MLTFR_YAML,
        .sections = "tokens",
        .options = {ARGUMENT(
                        "out", "FILE.h5", out,
                        "write the token spaces to this HDF5 file, and the report to FILE.json"),
                    ARGUMENT("tensor", "NAME", tensor,
                             "the tensor that is the table, in each file of tokens.tables whose "
                             "entry has no tensor")},
        .run = app_tokens,
    },
    {
        .name = "data",
        .synopsis = "[IN]",
        .summary = "convert interactions to HDF5 and print their statistics",
        .details = "IN stands for data.path. Without --out only the statistics are printed.",
        .most_operands = 1,
        .sections = "data",
        .options = {ARGUMENT("out", "FILE", out, "write the interactions to this HDF5 file"),
                    FLAG("synthetic", synthetic,
                         "make the planted example, with its token spaces, instead of reading IN"),
                    ARGUMENT("users", "N", users, "users of the planted example (600)"),
                    ARGUMENT("items", "N", items, "items of the planted example (200)")},
        .run = app_data,
    },
    {
        .name = "evaluate",
        .synopsis = "",
        .summary = "rank the validation or test split from a checkpoint",
        .details = "The configuration is that of the checkpoint; --config and --set go on top. "
                   "The metrics are also written as JSON to run.dir, or to --out.",
        .sections = "data eval",
        .options = {CHECKPOINT,
                    ARGUMENT("metrics", "coverage,popularity,length", metrics,
                             "more metrics: items that lists name; by how often the item was "
                             "trained; by the length of the history"),
                    ARGUMENT("out", "FILE.json", out, "write the JSON here"),
                    ARGUMENT("per-user", "FILE.csv", per_user,
                             "write a line a user, for tests of significance"),
                    CHOSEN("split", "test|valid", split,
                           "the split that is ranked; test if not given")},
        .run = app_evaluate,
    },
    {
        .name = "recommend",
        .synopsis = "",
        .summary = "top-K lists for users of the data or for new sequences, from a checkpoint",
        .details = "A user's list follows all that the data say of him; eval.exclude_seen: false "
                   "also lists what he had. A sequence is a line of item ids, oldest first.",
        .sections = "data eval",
        .options = {CHECKPOINT, USERS,
                    ARGUMENT("sequences", "FILE", sequences,
                             "for sequences of item ids in this file, one a line"),
                    ARGUMENT("top-k", "K", top_k, "items in a list; 10 if not given"),
                    ARGUMENT("items", "FILE", items,
                             "list only items whose ids are in this file, one a line"),
                    ARGUMENT("out", "FILE", out, "write the lists to FILE.csv or FILE.jsonl"),
                    CHOSEN("format", "csv|jsonl", format,
                           "the form, where the name does not tell")},
        .run = app_recommend,
    },
    {
        .name = "export",
        .synopsis = "",
        .summary = "item, user and token vectors of a checkpoint as HDF5 or .npy",
        .details = "Users times items are the scores. Ids and strings are beside the vectors.",
        .sections = "data",
        .options = {CHECKPOINT, USERS,
                    ARGUMENT("what", "items,users,tokens", what, "some of these; all if not given"),
                    ARGUMENT("out", "FILE.h5|DIRECTORY", out,
                             "write one HDF5 file, or .npy and .txt files in a directory"),
                    CHOSEN("format", "h5|npy", format, "the form, where the name does not tell")},
        .run = app_export,
    },
    {
        .name = "explain",
        .synopsis = "",
        .summary = "the tokens that the filter keeps for users, router shares, Fisher weights",
        .details =
            "all: means over all users, and the tokens of the largest weight; else each user.",
        .sections = "data",
        .options = {CHECKPOINT, USERS,
                    ARGUMENT("tokens", "N", tokens, "tokens shown of an expert; 10 if not given"),
                    ARGUMENT("out", "FILE.json", out, "write all of it as JSON")},
        .run = app_explain,
    },
    {
        .name = "inspect",
        .synopsis = "FILE",
        .summary = "say what a model, data, token-space or checkpoint file holds",
        .details = "",
        .least_operands = 1,
        .most_operands = 1,
        .sections = "",
        .options = {FLAG("verify", verify, "check every checksum"),
                    ARGUMENT("tensor", "NAME", tensor, "the tensor that is the token table"),
                    ARGUMENT("neighbours", "WORD", neighbours,
                             "list the nearest tokens of a word in each space of a token-space "
                             "file, raw and conditioned")},
        .run = app_inspect,
    },
    {
        .name = "report",
        .synopsis = "[RUN...]",
        .summary = "make a self-contained HTML page of a run, or of several compared",
        .details = "RUN is a run directory; without one it is run.dir. Nothing of the page is "
                   "fetched from elsewhere.",
        .most_operands = APP_MOST_OPERANDS,
        .sections = "",
        .options = {ARGUMENT("out", "FILE.html", out,
                             "write the page to this file; RUN/report.html if not given")},
        .run = app_report,
    },
    {
        .name = "bench",
        .synopsis = "",
        .summary = "measure this machine and the parts of the program on it",
        .details =
            "Each line has a rate and its share of the measured limit: the matrix product of "
            "2048 x 2048 x 2048 on all ranks, a copy in memory, a plain file. Without "
            "data.path the example of the section bench is measured.",
        .sections = "bench model filter train tokens run",
        .options = {ARGUMENT("out", "FILE.json", out, "write the lines to this file as JSON too"),
                    FLAG("quick", quick, "rough figures in a tenth of the time")},
        .run = app_bench,
    },
    {
        .name = "replay",
        .synopsis = "IN.h5 OUT.h5",
        .summary = "compute the step, or the conditioning, of a golden file",
        .details = "",
        .least_operands = 2,
        .most_operands = 2,
        .sections = "",
        .run = app_replay,
    },
    {.name = NULL},
};
