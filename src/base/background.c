#include <mltfr/background.h>

#include <signal.h>

static void *run(void *data)
{
    mltfr_background *task = data;

    task->work(task->context);
    atomic_store(&task->done, true);
    return NULL;
}

void mltfr_background_start(mltfr_background *task, void (*work)(void *context), void *context)
{
    sigset_t all, before;

    task->work = work;
    task->context = context;
    atomic_store(&task->done, false);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before); /* a thread begins with the mask of its maker */
    task->running = pthread_create(&task->thread, NULL, run, task) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (!task->running)
        run(task);
}

bool mltfr_background_done(mltfr_background *task)
{
    return !task->running || atomic_load(&task->done);
}

void mltfr_background_wait(mltfr_background *task)
{
    if (task->running)
        pthread_join(task->thread, NULL);
    task->running = false;
}
