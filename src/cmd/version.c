#include "bus/client.h"
#include "cmd/command.h"
#include "cmd/flags.h"
#include "rules/engine.h"

#include <stdio.h>
#include <uv.h>

static int run(int argc, char **argv)
{
    int left = flags_read(&command_version, NULL, 0, argc, argv);
    if (left < 0)
        return EXIT_USAGE;
    if (left > 1)
        return flags_wrong_usage(&command_version, "unexpected argument %s", argv[1]);
    printf("tidemill %s (libnats %s, libuv %s, Lua %s)\n", TIDEMILL_VERSION,
           client_library_version(), uv_version_string(), engine_lua_version());
    return EXIT_DONE;
}

const struct command command_version = {
    .name = "version",
    .usage = "version",
    .summary = "print the version, and those of the libraries it runs with",
    .run = run,
};
