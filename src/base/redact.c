#include "base/redact.h"

#include <stdbool.h>
#include <string.h>

void redact_urls(char *text, size_t size)
{
    char *at = strstr(text, "://");
    bool cut = at != NULL && strlen(text) + 1 >= size;
    while (at != NULL) {
        char *secret = at + 3;
        size_t length = strcspn(secret, " \t\r\n\"'`,<>");
        char *end = memrchr(secret, '@', length);
        if (end == NULL && cut && secret[length] == '\0')
            end = secret + length;
        at = secret;
        if (end != NULL) {
            size_t stars = (size_t)(end - secret) < 3 ? (size_t)(end - secret) : 3;
            memset(secret, '*', stars);
            memmove(secret + stars, end, strlen(end) + 1);
            at = secret + stars;
        }
        at = strstr(at, "://");
    }
}
