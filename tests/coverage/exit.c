#include <gcov.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

/*
 * Linked into the build of `make coverage`, with --wrap=_exit: what ends a process without its exit
 * handlers (the watchdog, a signal that nobody has asked for) would leave no counts behind.
 */

_Noreturn void __real__exit(int status);
_Noreturn void __wrap__exit(int status);

_Noreturn void __wrap__exit(int status)
{
    __gcov_dump();
    __real__exit(status);
}

/* Its end is the signal's all the same. */
static void on_signal(int number)
{
    __gcov_dump();
    signal(number, SIG_DFL);
    raise(number);
}

/* Before main, which may set its own. */
__attribute__((constructor)) static void listen_for_signals(void)
{
    signal(SIGTERM, on_signal);
    signal(SIGINT, on_signal);
}
