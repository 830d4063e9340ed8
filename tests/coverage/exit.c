#include <gcov.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

/*
 * Linked into the build of `make coverage`, with --wrap=_exit: what ends a process without its exit
 * handlers (the watchdog, a second SIGTERM, SIGTERM where nobody has asked for it) would leave no counts
 * behind.
 */

_Noreturn void __real__exit(int status);
_Noreturn void __wrap__exit(int status);

_Noreturn void __wrap__exit(int status)
{
    __gcov_dump();
    __real__exit(status);
}

static void on_term(int number)
{
    _exit(128 + number);
}

/* Before main, which may set its own. */
__attribute__((constructor)) static void listen_for_term(void)
{
    signal(SIGTERM, on_term);
}
