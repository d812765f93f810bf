#include "fault.h"

#include <mltfr/mem.h>

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <mpi.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PUBLIC __attribute__((visibility("default")))

/* ---- what is armed ------------------------------------------------------------------------- */

enum { MOST_FILES = 1024, WORD = 16 };

typedef enum { FAIL, DIE, STOP, EXIT, SLEEP, ACTIONS } action;

static const char *const actions[ACTIONS] = {"fail", "die", "stop", "exit", "sleep"};
static const char points[] =
    " alloc open read write short enospc flush fsync rename close collective ";

static struct {
    char point[WORD];
    int64_t count;
    int rank; /* -1: every one */
    action action;
} armed;

static atomic_int_least64_t passed;
static atomic_bool ours[MOST_FILES]; /* file descriptors that count */
static atomic_bool started;          /* MPI is there */

static int own_rank(void)
{
    const char *rank = getenv("OMPI_COMM_WORLD_RANK");

    return rank != NULL ? atoi(rank) : 0;
}

/* Pass a point: does it fail? */
static bool fails(const char *point)
{
    if (strcmp(point, armed.point) != 0 || atomic_fetch_add(&passed, 1) + 1 != armed.count ||
        (armed.rank >= 0 && armed.rank != own_rank()))
        return false;
    if (armed.action == DIE)
        raise(SIGKILL);
    if (armed.action == STOP)
        raise(SIGSTOP);
    if (armed.action == EXIT)
        _exit(0);
    while (armed.action == SLEEP)
        pause();
    return armed.action == FAIL;
}

void fault_arm(const char *point, int64_t count, int rank)
{
    passed = 0;
    armed.action = FAIL;
    armed.count = count;
    armed.rank = rank;
    snprintf(armed.point, sizeof armed.point, "%s", point);
}

int64_t fault_passed(void)
{
    return passed;
}

static bool read_spec(const char *spec)
{
    char point[WORD] = "", padded[WORD + 2];
    long long count = 0;
    int rank = -1, end = 0;
    action does = FAIL;

    for (int a = DIE; a < ACTIONS; a++)
        if (strncmp(spec, actions[a], strlen(actions[a])) == 0 && spec[strlen(actions[a])] == '-') {
            spec += strlen(actions[a]) + 1;
            does = (action)a;
        }
    if (sscanf(spec, "%15[a-z]:%18lld%n@%9d%n", point, &count, &end, &rank, &end) < 2 ||
        spec[end] != '\0' || count < 1 || rank < -1)
        return false;
    snprintf(padded, sizeof padded, " %s ", point);
    if (strstr(points, padded) == NULL)
        return false;
    fault_arm(point, count, rank);
    armed.action = does;
    return true;
}

__attribute__((constructor)) static void arm_by_environment(void)
{
    const char *spec = getenv("MLTFR_FAULT");

    if (spec == NULL || *spec == '\0' || read_spec(spec))
        return;
    if (own_rank() == 0)
        fprintf(stderr,
                "mltfr_dist: error: MLTFR_FAULT: '%s' is not [die-|stop-|exit-|sleep-]POINT:COUNT"
                "[@RANK] with a POINT of:%s\n",
                spec, points);
    _exit(2);
}

/* ---- memory -------------------------------------------------------------------------------- */

/* The linker sends the calls of the libraries here (--wrap). */
mltfr_status __real_mltfr_alloc(void *pointer, size_t count, size_t size);
mltfr_status __wrap_mltfr_alloc(void *pointer, size_t count, size_t size);
mltfr_status __real_mltfr_room_take(mltfr_room *room, void *out, size_t count, size_t size);
mltfr_status __wrap_mltfr_room_take(mltfr_room *room, void *out, size_t count, size_t size);

mltfr_status __wrap_mltfr_alloc(void *pointer, size_t count, size_t size)
{
    if (!fails("alloc"))
        return __real_mltfr_alloc(pointer, count, size);
    *(void **)pointer = NULL;
    return mltfr_fail(MLTFR_E_NOMEM, "out of memory: %zu bytes", count * size);
}

mltfr_status __wrap_mltfr_room_take(mltfr_room *room, void *out, size_t count, size_t size)
{
    return fails("alloc") ? mltfr_fail(MLTFR_E_NOMEM, "out of memory: %zu bytes", count * size)
                          : __real_mltfr_room_take(room, out, count, size);
}

/* ---- files --------------------------------------------------------------------------------- */

/* The function that would have been called without this file. */
#define NEXT(type, name)       ((type)(uintptr_t)dlsym(RTLD_NEXT, name))
#define FAIL_WITH(code, value) return errno = (code), (value)

/* Not those of the system and of the MPI library. */
static bool counts(const char *path)
{
    static const char *const foreign[] = {"/dev/", "/proc/", "/sys/", "/etc/", "/usr/", "/lib"};

    for (size_t i = 0; i < sizeof foreign / sizeof *foreign; i++)
        if (!started || strncmp(path, foreign[i], strlen(foreign[i])) == 0)
            return false;
    return strstr(path, "/ompi.") == NULL && strstr(path, "pmix") == NULL;
}

static bool is_ours(int fd)
{
    return fd >= 0 && fd < MOST_FILES && ours[fd];
}

static int note(int fd, bool counted)
{
    if (fd >= 0 && fd < MOST_FILES)
        ours[fd] = counted;
    return fd;
}

typedef int open_call(const char *, int, ...);
typedef ssize_t write_call(int, const void *, size_t);
typedef ssize_t pwrite_call(int, const void *, size_t, off_t);
typedef ssize_t read_call(int, void *, size_t);
typedef ssize_t pread_call(int, void *, size_t, off_t);

PUBLIC int open(const char *path, int flags, ...)
{
    va_list ap;

    va_start(ap, flags);
    const int mode = flags & O_CREAT ? va_arg(ap, int) : 0;

    va_end(ap);
    if (counts(path) && fails("open"))
        FAIL_WITH(EMFILE, -1);
    return note(NEXT(open_call *, "open")(path, flags, mode), counts(path));
}

PUBLIC FILE *fopen(const char *path, const char *mode)
{
    if (counts(path) && fails("open"))
        FAIL_WITH(EMFILE, NULL);

    FILE *file = NEXT(FILE * (*)(const char *, const char *), "fopen")(path, mode);

    if (file != NULL)
        note(fileno(file), counts(path));
    return file;
}

/* The bytes that a write may take: -1, errno set, where it fails. */
static ssize_t take(int fd, size_t bytes)
{
    if (!is_ours(fd))
        return (ssize_t)bytes;
    if (fails("write"))
        FAIL_WITH(EIO, -1);
    if (fails("enospc"))
        FAIL_WITH(ENOSPC, -1);
    return (ssize_t)(fails("short") ? bytes / 2 : bytes);
}

PUBLIC ssize_t write(int fd, const void *data, size_t bytes)
{
    const ssize_t n = take(fd, bytes);

    return n < 0 ? n : NEXT(write_call *, "write")(fd, data, (size_t)n);
}

PUBLIC ssize_t pwrite(int fd, const void *data, size_t bytes, off_t at)
{
    const ssize_t n = take(fd, bytes);

    return n < 0 ? n : NEXT(pwrite_call *, "pwrite")(fd, data, (size_t)n, at);
}

PUBLIC int fflush(FILE *file)
{
    if (file != NULL && is_ours(fileno(file)) && fails("flush"))
        FAIL_WITH(EIO, EOF);
    return NEXT(int (*)(FILE *), "fflush")(file);
}

PUBLIC ssize_t read(int fd, void *data, size_t bytes)
{
    if (is_ours(fd) && fails("read"))
        FAIL_WITH(EIO, -1);
    return NEXT(read_call *, "read")(fd, data, bytes);
}

PUBLIC ssize_t pread(int fd, void *data, size_t bytes, off_t at)
{
    if (is_ours(fd) && fails("read"))
        FAIL_WITH(EIO, -1);
    return NEXT(pread_call *, "pread")(fd, data, bytes, at);
}

PUBLIC int posix_fallocate(int fd, off_t at, off_t bytes)
{
    if (is_ours(fd) && fails("enospc"))
        return ENOSPC;
    return NEXT(int (*)(int, off_t, off_t), "posix_fallocate")(fd, at, bytes);
}

PUBLIC int fsync(int fd)
{
    if (is_ours(fd) && fails("fsync"))
        FAIL_WITH(EIO, -1);
    return NEXT(int (*)(int), "fsync")(fd);
}

PUBLIC int rename(const char *from, const char *to)
{
    if (counts(to) && fails("rename"))
        FAIL_WITH(EIO, -1);
    return NEXT(int (*)(const char *, const char *), "rename")(from, to);
}

/* As in the kernel: a close that fails has closed. */
PUBLIC int close(int fd)
{
    const bool bad = is_ours(fd) && fails("close");
    const int code = NEXT(int (*)(int), "close")(note(fd, false));

    if (bad)
        FAIL_WITH(EIO, -1);
    return code;
}

PUBLIC int fclose(FILE *file)
{
    const int fd = fileno(file);
    const bool bad = is_ours(fd) && fails("close");

    note(fd, false);

    const int code = NEXT(int (*)(FILE *), "fclose")(file);

    if (bad)
        FAIL_WITH(EIO, EOF);
    return code;
}

/* ---- MPI ----------------------------------------------------------------------------------- */

/* With AddressSanitizer: here plugins are unloaded that have left allocations behind
   (mpi_leaks.c), and only the whole stack, which is slow to follow, has a name to suppress. */
const char *__asan_default_options(void);

PUBLIC const char *__asan_default_options(void)
{
    return "fast_unwind_on_malloc=0";
}

PUBLIC int MPI_Init(int *argc, char ***argv)
{
    const int code = PMPI_Init(argc, argv);

    started = true;
    return code;
}

PUBLIC int MPI_Init_thread(int *argc, char ***argv, int wanted, int *given)
{
    const int code = PMPI_Init_thread(argc, argv, wanted, given);

    started = true;
    return code;
}

PUBLIC int MPI_Allreduce(const void *mine, void *all, int count, MPI_Datatype type, MPI_Op op,
                         MPI_Comm comm)
{
    if (fails("collective"))
        return MPI_SUCCESS;
    return PMPI_Allreduce(mine, all, count, type, op, comm);
}
