#include "mill/signals.h"

#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

static const int requests[] = {SIGHUP, SIGUSR1, SIGUSR2};

static sigset_t all(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    for (size_t i = 0; i < sizeof(requests) / sizeof(requests[0]); i++)
        sigaddset(&set, requests[i]);
    return set;
}

void signals_hold(void)
{
    sigset_t set = all();
    pthread_sigmask(SIG_BLOCK, &set, NULL);
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
    struct signals *signals = poll->data;
    struct signalfd_siginfo info;
    (void)status;
    (void)events;
    while (signals->fd >= 0 && read(signals->fd, &info, sizeof(info)) == sizeof(info))
        signals->heard(signals->context, (int)info.ssi_signo);
}

int signals_open(struct signals *signals, uv_loop_t *loop, void (*heard)(void *context, int number),
                 void *context, struct error *err)
{
    sigset_t set = all();
    *signals = (struct signals){.heard = heard, .context = context};
    signals->fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    if (signals->fd < 0)
        return error_set(err, "cannot listen to signals: %s", strerror(errno));
    uv_poll_init(loop, &signals->poll, signals->fd);
    signals->poll.data = signals;
    uv_poll_start(&signals->poll, UV_READABLE, on_readable);
    return 0;
}

void signals_close(struct signals *signals)
{
    if (signals->fd >= 0) {
        uv_close((uv_handle_t *)&signals->poll, NULL);
        close(signals->fd);
        signals->fd = -1;
    }
    for (size_t i = 0; i < sizeof(requests) / sizeof(requests[0]); i++)
        signal(requests[i], SIG_IGN); /* which drops what is held back */
    sigset_t set = all();
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);
}
