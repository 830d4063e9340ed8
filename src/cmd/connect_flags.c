#include "cmd/connect_flags.h"

#include "base/clock.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static const char *first_of(const char *flag, const char *variable, const char *otherwise)
{
    if (flag != NULL)
        return flag;
    const char *value = getenv(variable);
    return value != NULL && *value != '\0' ? value : otherwise;
}

/* The configuration's strings are not const, though nobody writes to them. */
static char *borrow(const char *text)
{
    return (char *)(uintptr_t)text;
}

/* Splits at commas into strings of one allocation, which items[0] begins. */
static int split(const char *urls, struct string_list *list)
{
    size_t count = 1;
    for (const char *at = urls; *at != '\0'; at++)
        count += *at == ',';
    list->items = calloc(count, sizeof(*list->items));
    char *copy = strdup(urls);
    if (list->items == NULL || copy == NULL) {
        free(copy);
        free(list->items);
        list->items = NULL;
        return -1;
    }
    for (list->count = 0; copy != NULL; list->count++) {
        list->items[list->count] = copy;
        copy = strchr(copy, ',');
        if (copy != NULL)
            *copy++ = '\0';
    }
    return 0;
}

int connect_flags_config(const struct connect_flags *flags, struct nats_config *config,
                         struct error *err)
{
    const char *url = first_of(flags->url, "NATS_URL", "nats://127.0.0.1:4222");
    *config = (struct nats_config){
        .name = borrow("tidemill"),
        .user = borrow(flags->user),
        .password = borrow(flags->password),
        .creds = borrow(first_of(flags->creds, "NATS_CREDS", NULL)),
        .tls = {.enabled = flags->ca != NULL || strncmp(url, "tls://", 6) == 0,
                .ca = borrow(flags->ca),
                .verify = true},
        .connect_timeout_ns = 3 * NS_PER_S,
        .reconnect_wait_ns = NS_PER_S / 4,
        .max_reconnects = -1,
    };
    return split(url, &config->urls) == 0 ? 0 : error_set(err, "out of memory");
}

void connect_flags_free(struct nats_config *config)
{
    if (config->urls.items != NULL)
        free(config->urls.items[0]);
    free(config->urls.items);
}
