/* alarm(2) is set anew by each sign of life; nothing else is needed, and nothing is locked when it
 * goes off. */
#include <mltfr/status.h>
#include <mltfr/watchdog.h>

#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

static struct {
    int rank;
    unsigned seconds;
    const char *volatile phase;
} watch;

static void bite(int number)
{
    char text[256];
    const int n = snprintf(text, sizeof text,
                           "mltfr_dist: error: rank %d: nothing got done for %u s in phase '%s' "
                           "(run.timeout)\n",
                           watch.rank, watch.seconds, watch.phase);

    (void)number;
    if (write(STDERR_FILENO, text, (size_t)n) == n)
        fsync(STDERR_FILENO);
    _exit(mltfr_status_exit(MLTFR_E_INTERNAL));
}

void mltfr_watchdog_start(int rank, int64_t seconds)
{
    struct sigaction action = {.sa_handler = seconds > 0 ? bite : SIG_DFL};

    watch.rank = rank;
    watch.seconds = seconds < UINT_MAX ? (unsigned)seconds : UINT_MAX;
    watch.phase = "start";
    sigemptyset(&action.sa_mask);
    alarm(0);
    sigaction(SIGALRM, &action, NULL);
    alarm(watch.seconds);
}

void mltfr_watchdog_kick(const char *phase)
{
    if (watch.seconds == 0)
        return;
    watch.phase = phase;
    alarm(watch.seconds);
}
