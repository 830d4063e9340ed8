#include "base/server_url.h"

#include <stdlib.h>
#include <string.h>

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if ((c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'))
        return (c | 0x20) - 'a' + 10;
    return -1;
}

/* In place: the text never gets longer. */
static int decode(char *text, struct error *err)
{
    char *to = text;
    const char *from = text;
    for (; *from != '\0'; from++, to++) {
        *to = *from;
        if (*from != '%')
            continue;
        int high = hex_digit(from[1]);
        int low = high < 0 ? -1 : hex_digit(from[2]);
        if (low < 0 || (high == 0 && low == 0))
            return error_set(err, "has a %% in its user or password that two hexadecimal digits "
                                  "do not follow: write %%25 for a percent sign");
        *to = (char)(high << 4 | low);
        from += 2;
    }
    memset(to, 0, (size_t)(from - to)); /* no copy of the end of a secret stays behind */
    return 0;
}

int server_url_read(struct server_url *parts, const char *url, struct error *err)
{
    const char *host = strstr(url, "://");
    host = host != NULL ? host + 3 : url;
    const char *at = strrchr(host, '@');
    size_t scheme = (size_t)(host - url), secret = at != NULL ? (size_t)(at - host) : 0;
    char *text = calloc(1, strlen(url) + 2);
    *parts = (struct server_url){.address = text};
    if (text == NULL)
        return error_set(err, "out of memory");
    memcpy(text, url, scheme);
    strcpy(text + scheme, at != NULL ? at + 1 : host);
    if (secret == 0)
        return 0;

    parts->user = text + strlen(text) + 1;
    memcpy(parts->user, host, secret);
    char *colon = strchr(parts->user, ':');
    if (colon != NULL) {
        *colon = '\0';
        parts->password = colon + 1;
    }
    if (decode(parts->user, err) == 0 &&
        (parts->password == NULL || decode(parts->password, err) == 0))
        return 0;
    server_url_free(parts);
    return -1;
}

void server_url_free(struct server_url *parts)
{
    if (parts->user != NULL)
        explicit_bzero(parts->user, strlen(parts->user));
    if (parts->password != NULL)
        explicit_bzero(parts->password, strlen(parts->password));
    free(parts->address);
    *parts = (struct server_url){.address = NULL};
}
