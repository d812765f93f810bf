/* From the command line to the exit status.  Help and versions are printed before MPI starts, and
 * there the launcher's environment tells which process may print. */
#include <mltfr/app.h>
#include <mltfr/log.h>
#include <mltfr/progress.h>
#include <mltfr/versions.h>

#include "app_impl.h"

#include <ctype.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* What a launcher says this process's rank is; NULL without a launcher. */
static const char *launched_as(void)
{
    static const char *const names[] = {"OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMI_RANK",
                                        "SLURM_PROCID"};

    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (getenv(names[i]) != NULL)
            return getenv(names[i]);
    return NULL;
}

static int launcher_rank(void)
{
    return launched_as() != NULL ? atoi(launched_as()) : 0;
}

/* A bar only where somebody watches: under a launcher isatty says nothing of the user's end. */
static mltfr_progress_form progress_of(const char *word)
{
    if (strcmp(word, "none") == 0)
        return MLTFR_PROGRESS_NONE;
    if (strcmp(word, "bar") == 0)
        return MLTFR_PROGRESS_BAR;
    return strcmp(word, "auto") == 0 && launched_as() == NULL && isatty(STDOUT_FILENO)
               ? MLTFR_PROGRESS_BAR
               : MLTFR_PROGRESS_LINES;
}

/* Report a failure, in one line whatever the names in it hold. */
static int finish(mltfr_status st)
{
    for (char *c = mltfr_error_text; *c != '\0'; c++)
        if (iscntrl((unsigned char)*c))
            *c = '?';
    if (st != MLTFR_OK && st != MLTFR_STOPPED)
        mltfr_complain("%s", mltfr_error_text);
    return mltfr_status_exit(st);
}

static mltfr_status run_verb(mltfr_comm *comm, const app_request *request)
{
    mltfr_status st;
    mltfr_config *config = NULL;

    MLTFR_AGREE(comm, mltfr_config_create(&config));
    MLTFR_TRY(app_configure(comm, request, config));
    mltfr_comm_watch(comm, mltfr_config_settings(config)->run_timeout);
    MLTFR_TRY(request->verb->run(comm, request, config));
done:
    mltfr_config_destroy(&config);
    return st;
}

/* --help, --version, --man, --completion: printed by the first process alone. */
static mltfr_status inform(const app_request *request)
{
    if (launcher_rank() != 0)
        return MLTFR_OK;
    if (request->man != NULL)
        return app_man(request->man);
    if (request->completion != NULL)
        return app_completion(request->completion);
    return request->version ? app_version() : app_help(request->verb);
}

/* With MPI.  A usage error under a launcher comes here too: a rank that ended early would take
 * rank 0 down before its line is out. */
static int run(int argc, char *argv[], const app_request *request, mltfr_status st)
{
    mltfr_comm *comm = NULL;
    int status;

    signal(SIGXFSZ, SIG_IGN); /* a file beyond `ulimit -f` shall be an error of the write */
    mltfr_comm_start(&argc, &argv, &comm);
    mltfr_log_setup(mltfr_comm_rank(comm), request->quiet);
    mltfr_progress_setup(progress_of(request->progress));
    st = mltfr_comm_agree(comm, st);
    status = finish(st == MLTFR_OK ? run_verb(comm, request) : st);
    mltfr_log_open(NULL);
    mltfr_comm_barrier(comm);
    mltfr_comm_finish(&comm);
    return status;
}

int mltfr_app_run(int argc, char *argv[])
{
    app_request request;
    int status;

    mltfr_log_setup(launcher_rank(), false);
    mltfr_blas_setup();
    mltfr_status st = app_request_read(argc, argv, &request);

    if (st == MLTFR_OK && app_informs(&request))
        status = finish(inform(&request));
    else if (st != MLTFR_OK && launched_as() == NULL)
        status = finish(st);
    else
        status = run(argc, argv, &request, st);
    app_request_destroy(&request);
    return status;
}
