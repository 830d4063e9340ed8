#include "base/error.h"

#include "base/redact.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

int error_set(struct error *err, const char *format, ...)
{
    if (err == NULL)
        return -1;
    va_list args;
    va_start(args, format);
    vsnprintf(err->text, sizeof(err->text), format, args);
    va_end(args);
    redact_urls(err->text, sizeof(err->text));
    return -1;
}

int error_prefix(struct error *err, const char *format, ...)
{
    if (err == NULL)
        return -1;
    char prefix[sizeof(err->text)];
    va_list args;
    va_start(args, format);
    vsnprintf(prefix, sizeof(prefix), format, args);
    va_end(args);
    redact_urls(prefix, sizeof(prefix));

    size_t before = strlen(prefix);
    if (before > sizeof(err->text) - 3)
        before = sizeof(err->text) - 3; /* leaves room for ": " */
    size_t room = sizeof(err->text) - before - 3;
    size_t kept = strlen(err->text);
    if (kept > room)
        kept = room;
    memmove(err->text + before + 2, err->text, kept);
    memcpy(err->text, prefix, before);
    memcpy(err->text + before, ": ", 2);
    err->text[before + 2 + kept] = '\0';
    return -1;
}
