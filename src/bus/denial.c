#include "bus/denial.h"

#include <stdio.h>
#include <string.h>

enum { ACK_TOKENS = 4 }; /* of "$JS.ACK.<stream>.<durable>." the same for each message */

/*
 * The text of this very error is the calling thread's; the connection's is that of its latest
 * error, so that of ten denials in a row it would name the last subject ten times (3.4.1).
 */
const char *denial_text(natsConnection *connection, natsStatus status)
{
    natsStatus of_thread = NATS_OK;
    const char *text = nats_GetLastError(&of_thread);
    if (of_thread != status || text == NULL || text[0] == '\0')
        natsConnection_GetLastError(connection, &text);
    return text != NULL && text[0] != '\0' ? text : natsStatus_GetText(status);
}

/* Undoes what Go does to a text between quotes; it may be cut. */
static void unquote(const char *from, char *subject)
{
    char *end = subject;
    for (; *from != '\0' && *from != '"' && end < subject + DENIAL_SUBJECT_SIZE - 1; from++) {
        if (from[0] == '\\' && (from[1] == '"' || from[1] == '\\'))
            from++;
        *end++ = *from;
    }
    *end = '\0';
}

bool denial_read(struct denial *denial, const char *text)
{
    static const char publish[] = "Permissions Violation for Publish to \"";
    static const char subscribe[] = "Permissions Violation for Subscription to \"";
    const char *found = strcasestr(text, publish);
    denial->subscribe = found == NULL;
    if (found != NULL)
        found += sizeof(publish) - 1;
    else if ((found = strcasestr(text, subscribe)) != NULL)
        found += sizeof(subscribe) - 1;
    if (found == NULL)
        return false;
    unquote(found, denial->subject);
    return true;
}

/* The subject as one would allow it. */
static void generalise(const char *subject, char *pattern, size_t size)
{
    const char *same = subject;
    int tokens = strncmp(subject, "$JS.ACK.", 8) == 0  ? ACK_TOKENS
                 : strncmp(subject, "_INBOX.", 7) == 0 ? 1
                                                       : 0;
    for (int i = 0; i < tokens && same != NULL; i++) {
        same = strchr(same, '.');
        same = same != NULL ? same + 1 : NULL;
    }
    if (tokens > 0 && same != NULL)
        snprintf(pattern, size, "%.*s>", (int)(same - subject), subject);
    else
        snprintf(pattern, size, "%s", subject);
}

int denial_error(const struct denial *denial, struct error *err)
{
    char pattern[DENIAL_SUBJECT_SIZE + 1];
    generalise(denial->subject, pattern, sizeof(pattern));
    return error_set(err, "permission is missing: the server denies this user to %s %s",
                     denial->subscribe ? "subscribe to" : "publish to", pattern);
}

int denial_text_error(const char *text, struct error *err)
{
    struct denial denial;
    return denial_read(&denial, text) ? denial_error(&denial, err) : error_set(err, "%s", text);
}
