#include "base/redact.h"

#include <stddef.h>
#include <string.h>

void redact_urls(char *text)
{
    static const char stars[] = "***";
    char *at = text;
    while ((at = strstr(at, "://")) != NULL) {
        char *secret = at + 3;
        size_t size = strcspn(secret, " \t\r\n\"'`,<>");
        char *end = memrchr(secret, '@', size);
        at = secret;
        if (end == NULL)
            continue;
        size_t count = (size_t)(end - secret) < 3 ? (size_t)(end - secret) : 3;
        memcpy(secret, stars, count);
        memmove(secret + count, end, strlen(end) + 1);
        at = secret + count;
    }
}
