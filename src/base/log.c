#include <mltfr/log.h>

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/file.h>
#include <time.h>

static struct {
    bool silent, quiet, bar; /* bar: a line on stdout waits to be replaced */
    FILE *file;
} log_state;

void mltfr_log_setup(int rank, bool quiet)
{
    log_state.silent = rank != 0;
    log_state.quiet = quiet;
}

bool mltfr_log_open(const char *path)
{
    if (log_state.file != NULL)
        fclose(log_state.file);
    log_state.file = NULL;
    if (path == NULL || log_state.silent)
        return true;
    log_state.file = fopen(path, "ae");
    return log_state.file != NULL;
}

bool mltfr_log_lock(void)
{
    const struct timespec pause = {.tv_nsec = 100000000};
    int pauses = 100;

    while (log_state.file != NULL && flock(fileno(log_state.file), LOCK_EX | LOCK_NB) != 0) {
        if (errno != EWOULDBLOCK)
            return true;
        if (pauses-- == 0)
            return false;
        nanosleep(&pause, NULL);
    }
    return true;
}

static void to_file(const char *prefix, const char *format, va_list ap)
{
    char when[32];
    time_t now = time(NULL);
    struct tm tm;

    if (log_state.file == NULL)
        return;
    strftime(when, sizeof when, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&now, &tm));
    fprintf(log_state.file, "%s %s", when, prefix);
    vfprintf(log_state.file, format, ap);
    fputc('\n', log_state.file);
    fflush(log_state.file);
}

static void wipe_bar(void)
{
    if (log_state.bar)
        fputs("\r\033[K", stdout);
    fflush(stdout);
    log_state.bar = false;
}

static void emit(FILE *to, const char *prefix, const char *format, va_list ap)
{
    va_list again;

    if (log_state.silent)
        return;
    va_copy(again, ap);
    to_file(prefix, format, again);
    va_end(again);
    if (to == NULL)
        return;
    wipe_bar();
    fputs(prefix, to);
    vfprintf(to, format, ap);
    fputc('\n', to);
    fflush(to);
}

#define EMIT(to, prefix)                                                                           \
    do {                                                                                           \
        va_list ap;                                                                                \
        va_start(ap, format);                                                                      \
        emit(to, prefix, format, ap);                                                              \
        va_end(ap);                                                                                \
    } while (0)

void mltfr_note(const char *format, ...)
{
    EMIT(log_state.quiet ? NULL : stdout, "");
}

void mltfr_say(const char *format, ...)
{
    EMIT(stdout, "");
}

void mltfr_bar(const char *format, ...)
{
    va_list ap;

    if (log_state.silent || log_state.quiet)
        return;
    wipe_bar();
    va_start(ap, format);
    vprintf(format, ap);
    va_end(ap);
    fflush(stdout);
    log_state.bar = true;
}

void mltfr_warn(const char *format, ...)
{
    EMIT(stderr, "mltfr_dist: warning: ");
}

void mltfr_complain(const char *format, ...)
{
    EMIT(stderr, "mltfr_dist: error: ");
}

double mltfr_seconds(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}
