/* Completion for bash, from the same tables as --help: verbs, their options, words and keys. */
#include "app_impl.h"

#include <string.h>

/* bash breaks words at `=` by default: then only what follows it is to be given. */
static const char tail[] =
    "    local word=${line##*[[:space:]]} before parts\n"
    "    local value=$word\n"
    "    read -ra parts <<<\"${line%\"$word\"}\"\n"
    "    before=${parts[-1]}\n"
    "    [[ \" $verbs \" != *\" ${COMP_WORDS[1]} \"* ]] || verb=${COMP_WORDS[1]}\n"
    "    if [[ $word == --*=* ]]; then\n"
    "        option=${word%%=*} value=${word#*=}\n"
    "    elif [[ $before == --* ]]; then\n"
    "        option=$before\n"
    "        [[ -n $(_mltfr_dist_words \"$verb:$option\") ]] || option=\n"
    "    fi\n"
    "    if [[ -z $option && $word == -* ]]; then\n"
    "        words=$(_mltfr_dist_options \"$verb\")\n"
    "    elif [[ -z $option && $COMP_CWORD == 1 ]]; then\n"
    "        words=$verbs\n"
    "    elif [[ $option == --set && $value == *=* ]]; then\n"
    "        words=$(_mltfr_dist_values \"${value%%=*}\") value=${value#*=}\n"
    "    elif [[ $option == --set ]]; then\n"
    "        words=$(_mltfr_dist_keys \"$verb\")\n"
    "    elif [[ -n $option ]]; then\n"
    "        words=$(_mltfr_dist_words \"$verb:$option\")\n"
    "    fi\n"
    "    [[ -n $option || $words ]] || words=FILE\n"
    "    if [[ $words == FILE ]]; then\n"
    "        compopt -o filenames\n"
    "        mapfile -t COMPREPLY < <(compgen -f -- \"$value\")\n"
    "        return\n"
    "    fi\n"
    "    mapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$value\")\n"
    "    [[ $COMP_WORDBREAKS == *=* ]] ||\n"
    "        COMPREPLY=(\"${COMPREPLY[@]/#/${word%\"$value\"}}\")\n"
    "    [[ ${COMPREPLY[0]-} != *= ]] || compopt -o nospace\n"
    "}\n"
    "complete -F _mltfr_dist mltfr_dist\n";

/* `a|b` as `a b`. */
static void add_words(mltfr_text *text, const char *list)
{
    for (; *list != '\0'; list++)
        mltfr_text_add_bytes(text, *list == '|' ? " " : list, 1);
}

static void add_options(mltfr_text *text, const app_option *options)
{
    for (const app_option *o = options; o->name != NULL; o++)
        mltfr_text_add(text, " --%s%s", o->name, o->argument != NULL ? "=" : "");
}

/* What the value of an option may be: words, or FILE where it names one; a number has none. */
static void add_option_words(mltfr_text *text, const char *verb, const app_option *options)
{
    for (const app_option *o = options; o->name != NULL; o++) {
        if (o->argument == NULL)
            continue;
        mltfr_text_add(text, "        %s:--%s) echo '", verb, o->name);
        if (o->words != NULL)
            add_words(text, o->words);
        else if (strstr(o->argument, "FILE") != NULL || strstr(o->argument, "DIR") != NULL)
            mltfr_text_add(text, "FILE");
        else
            add_words(text, o->argument);
        mltfr_text_add(text, "' ;;\n");
    }
}

static void add_verb_keys(mltfr_text *text, const app_verb *verb)
{
    mltfr_text_add(text, "        %s) echo '", verb->name);
    for (const mltfr_key *key = mltfr_keys; key->name != NULL; key++)
        if (app_word_in(verb->sections, key->section))
            mltfr_text_add(text, " %s=", key->name);
    mltfr_text_add(text, "' ;;\n");
}

static void add_values(mltfr_text *text, const mltfr_key *key)
{
    if (key->kind == MLTFR_KEY_BOOL)
        mltfr_text_add(text, "        %s) echo 'true false' ;;\n", key->name);
    if (key->kind == MLTFR_KEY_AUTO)
        mltfr_text_add(text, "        %s) echo auto ;;\n", key->name);
    if (key->kind == MLTFR_KEY_TEXT)
        mltfr_text_add(text, "        %s) echo FILE ;;\n", key->name);
    if (key->kind != MLTFR_KEY_CHOICE)
        return;
    mltfr_text_add(text, "        %s) echo '", key->name);
    for (const char *const *word = key->words; *word != NULL; word++)
        mltfr_text_add(text, " %s", *word);
    mltfr_text_add(text, "' ;;\n");
}

/* name NAME: a shell function that answers by its first argument. */
static void begin(mltfr_text *text, const char *name)
{
    mltfr_text_add(text, "_mltfr_dist_%s() {\n    case $1 in\n", name);
}

static void end(mltfr_text *text)
{
    mltfr_text_add(text, "    esac\n}\n");
}

static void add_tables(mltfr_text *text)
{
    begin(text, "options");
    for (const app_verb *verb = app_verbs; verb->name != NULL; verb++) {
        mltfr_text_add(text, "        %s) echo '", verb->name);
        add_options(text, verb->options);
        add_options(text, app_common_options);
        mltfr_text_add(text, "' ;;\n");
    }
    end(text);
    begin(text, "words");
    for (const app_verb *verb = app_verbs; verb->name != NULL; verb++)
        add_option_words(text, verb->name, verb->options);
    add_option_words(text, "*", app_common_options);
    end(text);
    begin(text, "keys");
    for (const app_verb *verb = app_verbs; verb->name != NULL; verb++)
        add_verb_keys(text, verb);
    end(text);
    begin(text, "values");
    for (const mltfr_key *key = mltfr_keys; key->name != NULL; key++)
        add_values(text, key);
    end(text);
}

mltfr_status app_completion(const char *shell)
{
    mltfr_text text = {0};

    if (strcmp(shell, "bash") != 0)
        return mltfr_fail(MLTFR_E_USAGE, "--completion: %s is not allowed: must be bash", shell);
    mltfr_text_add(&text,
                   "# Made from the tables of the source by mltfr_dist --completion=bash.\n");
    add_tables(&text);
    mltfr_text_add(&text, "_mltfr_dist() {\n    local verbs='");
    for (const app_verb *verb = app_verbs; verb->name != NULL; verb++)
        mltfr_text_add(&text, " %s", verb->name);
    mltfr_text_add(&text, "' verb=%s option='' words='' line=${COMP_LINE:0:COMP_POINT}\n%s",
                   app_verbs[0].name, tail);
    return app_print(&text);
}
