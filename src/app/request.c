/* The command line: [VERB] [options and operands].  getopt_long does the splitting; what is known
 * comes from the tables of verbs.c, and so does the nearest name in a message. */
#include "app_impl.h"

#include <getopt.h>
#include <string.h>

static const app_verb *verb_find(const char *name)
{
    for (const app_verb *verb = app_verbs; verb->name != NULL; verb++)
        if (strcmp(verb->name, name) == 0)
            return verb;
    return NULL;
}

static mltfr_status unknown_verb(const char *name)
{
    mltfr_nearest nearest = {.word = name};

    for (const app_verb *verb = app_verbs; verb->name != NULL; verb++)
        mltfr_nearest_try(&nearest, verb->name);
    return mltfr_fail(MLTFR_E_USAGE, "unknown verb '%s' (did you mean '%s'?)", name, nearest.name);
}

/* All options of a verb, its own and the common ones, one after the other. */
static const app_option *option_at(const app_verb *verb, int i)
{
    int own = 0;

    while (own < APP_MOST_OPTIONS && verb->options[own].name != NULL)
        own++;
    return i < own ? &verb->options[i] : &app_common_options[i - own];
}

static mltfr_status unknown_option(const app_verb *verb, const char *word)
{
    char name[64];
    mltfr_nearest nearest = {.word = name};
    size_t start = strspn(word, "-");

    snprintf(name, sizeof name, "%.*s", (int)strcspn(word + start, "="), word + start);
    for (int i = 0; option_at(verb, i)->name != NULL; i++)
        mltfr_nearest_try(&nearest, option_at(verb, i)->name);
    return mltfr_fail(MLTFR_E_USAGE, "unknown option '%s%s' of %s (did you mean '--%s'?)",
                      start == 1 ? "-" : "--", name, verb->name, nearest.name);
}

static mltfr_status bad_word(const app_option *option, const char *argument)
{
    return mltfr_fail(MLTFR_E_USAGE, "--%s: %s is not allowed: must be %s", option->name, argument,
                      option->words);
}

bool app_word_in(const char *list, const char *word)
{
    size_t length = strlen(word);

    if (strcmp(list, "*") == 0)
        return true;
    while (*list != '\0') {
        size_t item = strcspn(list, "| ");

        if (item == length && strncmp(list, word, item) == 0)
            return true;
        list += item + (list[item] != '\0');
    }
    return false;
}

static mltfr_status option_store(const app_option *option, const char *argument,
                                 app_request *request)
{
    char *field = (char *)request + option->offset;

    if (option->argument == NULL)
        *(bool *)field = true;
    else if (option->words != NULL && !app_word_in(option->words, argument))
        return bad_word(option, argument);
    else if (option->offset == offsetof(app_request, sets))
        request->sets[request->set_count++] = argument;
    else
        *(const char **)field = argument != NULL ? argument : "";
    return MLTFR_OK;
}

enum { FIRST_CODE = 256, HIDDEN_MAN = 2 * FIRST_CODE, HIDDEN_COMPLETION };

static int argument_rule(const app_option *option)
{
    if (option->argument == NULL)
        return no_argument;
    return option->argument[0] == '[' ? optional_argument : required_argument;
}

/* getopt's table: the verb's options, their codes being FIRST_CODE + i, and what is not shown. */
static void long_options(const app_verb *verb, struct option out[])
{
    int n = 0;

    for (; option_at(verb, n)->name != NULL; n++) {
        const app_option *option = option_at(verb, n);

        out[n] = (struct option){option->name, argument_rule(option), NULL, FIRST_CODE + n};
    }
    out[n++] = (struct option){"man", required_argument, NULL, HIDDEN_MAN};
    out[n++] = (struct option){"completion", required_argument, NULL, HIDDEN_COMPLETION};
    out[n] = (struct option){0};
}

/* What getopt did not like about `word`; of letters in one word, as in -np, about one of them. */
static mltfr_status bad_option(const app_verb *verb, int code, const char *word)
{
    const char letter[] = {'-', (char)optopt, '\0'};
    const app_option *option =
        optopt >= FIRST_CODE && optopt < HIDDEN_MAN ? option_at(verb, optopt - FIRST_CODE) : NULL;

    if (code == ':' && option != NULL)
        return mltfr_fail(MLTFR_E_USAGE, "option '--%s' needs %s", option->name, option->argument);
    if (option != NULL)
        return mltfr_fail(MLTFR_E_USAGE, "option '--%s' takes no value", option->name);
    return unknown_option(verb, optopt > 0 && optopt < FIRST_CODE ? letter : word);
}

static mltfr_status options_read(int argc, char *argv[], app_request *request)
{
    mltfr_status st = MLTFR_OK;
    struct option table[2 * APP_MOST_OPTIONS];
    int code;

    long_options(request->verb, table);
    opterr = 0;
    optind = 1;
    while ((code = getopt_long(argc, argv, ":h", table, NULL)) != -1) {
        if (code == 'h')
            request->help = true;
        else if (code == HIDDEN_MAN)
            request->man = optarg;
        else if (code == HIDDEN_COMPLETION)
            request->completion = optarg;
        else if (code >= FIRST_CODE)
            MLTFR_TRY(option_store(option_at(request->verb, code - FIRST_CODE), optarg, request));
        else
            return bad_option(request->verb, code, argv[optind - 1]);
    }
done:
    return st;
}

static mltfr_status operands_read(int argc, char *argv[], app_request *request)
{
    const app_verb *verb = request->verb;
    int count = argc - optind;

    if (app_informs(request))
        return MLTFR_OK;
    if (count > verb->most_operands && verb_find(argv[optind]) != NULL)
        return mltfr_fail(MLTFR_E_USAGE, "the verb '%s' goes before the options", argv[optind]);
    if (count > verb->most_operands)
        return mltfr_fail(MLTFR_E_USAGE, "unexpected argument '%s' of %s: try mltfr_dist %s --help",
                          argv[optind + verb->most_operands], verb->name, verb->name);
    if (count < verb->least_operands)
        return mltfr_fail(MLTFR_E_USAGE, "%s needs %s", verb->name, verb->synopsis);
    for (int i = 0; i < count; i++)
        request->operands[i] = argv[optind + i];
    return MLTFR_OK;
}

bool app_informs(const app_request *request)
{
    return request->help || request->version || request->man != NULL || request->completion != NULL;
}

mltfr_status app_request_read(int argc, char *argv[], app_request *out)
{
    mltfr_status st = MLTFR_OK;
    int named = argc > 1 && argv[1][0] != '-';

    *out = (app_request){.progress = "auto", .resume = "auto", .split = "test"};
    out->verb = named ? verb_find(argv[1]) : &app_verbs[0];
    if (out->verb == NULL)
        return unknown_verb(argv[1]);
    MLTFR_TRY(MLTFR_NEW(out->sets, argc));
    MLTFR_TRY(options_read(argc - named, argv + named, out));
    if (!named && out->help) /* `--help` alone is about the program */
        out->verb = NULL;
    else
        MLTFR_TRY(operands_read(argc - named, argv + named, out));
done:
    return st;
}

void app_request_destroy(app_request *request)
{
    MLTFR_FREE(request->sets);
}
