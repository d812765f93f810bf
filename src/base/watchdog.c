/* A thread, because it goes on when the rank's own work does not.  A rank is late when it is gone,
 * stopped, or the one that does not wait for others while nothing gets done. */
#include <mltfr/status.h>
#include <mltfr/watchdog.h>

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { LINE = 1024 };

static const int64_t look_ns = 250000000; /* between two looks */

static mltfr_pulse nobody;
mltfr_pulse *mltfr_own_pulse = &nobody;

static struct {
    mltfr_pulse *pulses;
    int count, own;
    int64_t seconds;
    bool runs, ends;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake;
} watch = {.lock = PTHREAD_MUTEX_INITIALIZER, .wake = PTHREAD_COND_INITIALIZER};

/* ---- what is seen of a rank ---------------------------------------------------------------- */

/* The kernel's letter for the state of a process; 0 where there is none (any more). */
static char state_of(int pid)
{
    char path[32], text[512], state = '?';
    FILE *file;

    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    file = fopen(path, "r");
    if (file == NULL)
        return kill(pid, 0) != 0 && errno == ESRCH ? 0 : '?';

    const size_t n = fread(text, 1, sizeof text - 1, file);

    fclose(file);
    text[n] = '\0';
    const char *end = strrchr(text, ')'); /* the name before may hold anything */

    if (end != NULL && end[1] == ' ')
        state = end[2];
    return state == 'Z' || state == 'X' ? 0 : state;
}

static bool is_gone(const mltfr_pulse *p)
{
    return p->pid != 0 && !p->over && state_of(p->pid) == 0 && !p->over;
}

/* Why this rank would be the late one, the surest reasons first.  Inside HDF5 and ScaLAPACK all
 * ranks seem to wait for none; there the ranks that do wait spin, and one that hangs does not. */
enum { REASONS = 3 };

static const char *lateness(const mltfr_pulse *p, int reason)
{
    const char state = state_of(p->pid);

    if (p->over)
        return NULL;
    if (reason == 1)
        return p->waiting ? NULL : "it waits for no other rank";
    if (reason == 2)
        return state == 'S' || state == 'D' ? "it sleeps or waits for a disk" : NULL;
    return state == 0                     ? "it is gone"
           : state == 'T' || state == 't' ? "it is stopped by a signal"
                                          : NULL;
}

static unsigned beats(void)
{
    unsigned sum = 0;

    for (int i = 0; i < watch.count; i++)
        sum += atomic_load(&watch.pulses[i].beats);
    return sum;
}

/* ---- the end ------------------------------------------------------------------------------- */

/* One rank of the node says it; the others leave it the time to do so. */
static _Noreturn void end_run(const char *text)
{
    char line[LINE + 64];

    if (atomic_exchange(&watch.pulses[0].told, 1) != 0) {
        sleep(2);
    } else {
        const int n = snprintf(line, sizeof line, "mltfr_dist: error: %s\n", text);
        if (write(STDERR_FILENO, line, (size_t)n) == n)
            fsync(STDERR_FILENO);
    }
    _exit(mltfr_status_exit(MLTFR_E_INTERNAL));
}

static int add(char text[LINE], int at, const mltfr_pulse *p, const char *why)
{
    const int room = at < LINE ? LINE - at : 0;

    return at + snprintf(text + at, (size_t)room, "%srank %d, phase '%s%s%s'%s%s",
                         at > 0 ? "; " : "", p->rank, p->phase, p->part[0] != '\0' ? ", " : "",
                         p->part, why[0] != '\0' ? ": " : "", why);
}

/* The late ranks for this reason into text; how many there are. */
static int list_late(int reason, char text[LINE])
{
    int n = 0;

    for (int i = 0, at = 0; i < watch.count; i++) {
        const char *why = reason < REASONS ? lateness(&watch.pulses[i], reason) : "";
        if (why == NULL)
            continue;
        n++;
        if (at < LINE / 2)
            at = add(text, at, &watch.pulses[i], why);
    }
    return n;
}

static _Noreturn void bite(void)
{
    char late[LINE] = "", text[2 * LINE];
    int reason = 0, n = list_late(0, late);

    while (reason < REASONS && (n == 0 || (reason > 0 && n == watch.count && n > 1)))
        n = list_late(++reason, late);
    snprintf(text, sizeof text, "nothing got done for %lld s (run.timeout): %s%s",
             (long long)watch.seconds,
             reason < REASONS ? "" : "all ranks of this node wait: ", late);
    end_run(text);
}

/* Each rank looks at the next one, so that every one is looked at. */
static void look_for_the_dead(void)
{
    const mltfr_pulse *next = &watch.pulses[(watch.own + 1) % watch.count];
    char text[LINE];

    if (!is_gone(next))
        return;
    text[add(text, 0, next, "it has ended before its time") % LINE] = '\0';
    end_run(text);
}

/* ---- the watch ----------------------------------------------------------------------------- */

static int64_t now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

/* Until the next look; false: the watch ends. */
static bool nap(void)
{
    struct timespec until;

    clock_gettime(CLOCK_REALTIME, &until);
    const int64_t ns = until.tv_nsec + look_ns;

    until.tv_sec += ns / 1000000000;
    until.tv_nsec = ns % 1000000000;
    pthread_mutex_lock(&watch.lock);
    if (!watch.ends)
        pthread_cond_timedwait(&watch.wake, &watch.lock, &until);
    const bool goes_on = !watch.ends;

    pthread_mutex_unlock(&watch.lock);
    return goes_on;
}

/* Nanoseconds without a beat that end the run. */
static int64_t patience_ns(void)
{
    int64_t most = 0;

    for (int i = 0; i < watch.count; i++)
        most = watch.pulses[i].allowed > most ? watch.pulses[i].allowed : most;
    return (watch.seconds + most) * INT64_C(1000000000);
}

static void *look(void *unused)
{
    unsigned last = beats();
    int64_t since = now_ns();

    while (nap()) {
        const unsigned sum = beats();

        look_for_the_dead();
        if (sum != last)
            since = now_ns();
        last = sum;
        if (watch.seconds > 0 && now_ns() - since > patience_ns())
            bite();
    }
    return unused;
}

void mltfr_watchdog_start(mltfr_pulse *pulses, int count, int own, int rank, int64_t seconds)
{
    sigset_t all, before;

    mltfr_watchdog_stop();
    watch.pulses = pulses;
    watch.count = count;
    watch.own = own;
    watch.seconds = seconds;
    watch.ends = false;
    mltfr_own_pulse = &pulses[own];
    mltfr_own_pulse->rank = rank;
    mltfr_own_pulse->pid = getpid();
    mltfr_own_pulse->over = 0;
    mltfr_watchdog_phase("start");
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before); /* signals are for the main thread */
    watch.runs = pthread_create(&watch.thread, NULL, look, NULL) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

void mltfr_watchdog_stop(void)
{
    mltfr_watchdog_leave();
    mltfr_own_pulse = &nobody;
    if (!watch.runs)
        return;
    pthread_mutex_lock(&watch.lock);
    watch.ends = true;
    pthread_cond_signal(&watch.wake);
    pthread_mutex_unlock(&watch.lock);
    pthread_join(watch.thread, NULL);
    watch.runs = false;
}

void mltfr_watchdog_leave(void)
{
    mltfr_own_pulse->over = 1;
}

void mltfr_watchdog_phase(const char *phase)
{
    snprintf(mltfr_own_pulse->phase, sizeof mltfr_own_pulse->phase, "%s", phase);
    mltfr_watchdog_kick("");
}

void mltfr_watchdog_allow(double seconds)
{
    const int most = 1 << 30; /* 34 years */

    mltfr_own_pulse->allowed = seconds < most ? (int)seconds : most;
    mltfr_watchdog_go_on();
}

void mltfr_watchdog_kick(const char *part)
{
    snprintf(mltfr_own_pulse->part, sizeof mltfr_own_pulse->part, "%s", part);
    mltfr_watchdog_go_on();
}
