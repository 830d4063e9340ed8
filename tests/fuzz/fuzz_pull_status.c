/*
 * What a pull's inbox may get: a message with any headers. Only one without a payload and with a
 * status is no user's message; what it means is in a table here, whatever the case of its words;
 * the code and the rest of the request are numbers or 0; each header is visited with each of its
 * values.
 */
#include "bus/library.h"
#include "bus/wire.h"

#include <ctype.h>
#include <limits.h>
#include <nats/nats.h>

#include "fuzz.h"

enum { HEADERS_MAX = 6, KNOWN = 3 };

static const char *const known_names[KNOWN] = {"Status", "Description", "Nats-Pending-Messages"};

/* What the bytes say the message has. */
struct given {
    char *name[HEADERS_MAX], *value[HEADERS_MAX];
    size_t count, seen;
};

static const char *first_value(const struct given *given, const char *name)
{
    for (size_t i = 0; i < given->count; i++)
        if (strcmp(given->name[i], name) == 0)
            return given->value[i];
    return NULL;
}

static void see(void *context, const char *name, const char *value)
{
    struct given *given = context;
    bool known = false;
    for (size_t i = 0; i < given->count; i++)
        known = known || (strcmp(given->name[i], name) == 0 && strcmp(given->value[i], value) == 0);
    must(known);
    given->seen++;
}

static void see_first(void *context, const char *name, const char *value)
{
    struct given *given = context;
    must(strcmp(first_value(given, name), value) == 0);
    given->seen++;
}

static size_t count_names(const struct given *given)
{
    size_t names = 0;
    for (size_t i = 0; i < given->count; i++)
        names += first_value(given, given->name[i]) == given->value[i];
    return names;
}

/* The number a header says, up to `max`; anything else is 0. */
static uint64_t number_of(const char *text, uint64_t max)
{
    unsigned __int128 number = 0;
    if (text == NULL || *text == '\0' || text[strspn(text, "0123456789")] != '\0')
        return 0;
    for (; *text != '\0' && number <= max; text++)
        number = number * 10 + (unsigned)(*text - '0');
    return number <= max ? (uint64_t)number : 0;
}

/* What a status means, as bus/wire.h has it: by the code but for 409, where the words count. */
static enum pull_status meaning_of(int code, const char *capitals)
{
    static const struct {
        const char *words;
        enum pull_status status;
    } conflicts[] = {{"LEADERSHIP CHANGE", PULL_STATUS_ALL_ENDED},
                     {"SERVER SHUTDOWN", PULL_STATUS_ALL_ENDED},
                     {"CONSUMER DELETED", PULL_STATUS_DELETED},
                     {"MAXWAITING", PULL_STATUS_TOO_MANY},
                     {"MAXREQUEST", PULL_STATUS_LIMIT},
                     {"PUSH BASED", PULL_STATUS_REFUSED}};
    if (code == 100)
        return PULL_STATUS_HEARTBEAT;
    if (code == 503)
        return PULL_STATUS_UNAVAILABLE;
    for (size_t i = 0; code == 409 && capitals != NULL && i < 6; i++)
        if (strstr(capitals, conflicts[i].words) != NULL)
            return conflicts[i].status;
    return code == 404 || code == 408 || code == 409 ? PULL_STATUS_ENDED : PULL_STATUS_REFUSED;
}

/* Letters of either case say the same. */
static void check_words(int code, const char *description)
{
    char *capitals = description != NULL ? strdup(description) : NULL;
    for (char *c = capitals; c != NULL && *c != '\0'; c++)
        *c = (char)toupper((unsigned char)*c);
    must(pull_status_of(code, description) == meaning_of(code, capitals));
    must(pull_status_of(code, capitals) == meaning_of(code, capitals));
    free(capitals);
}

static void check(const struct wire_message *message, struct given *given, size_t payload_size)
{
    int code = -1;
    const char *description = NULL;
    uint64_t pending = 7;
    enum pull_status status = wire_pull_status(message, &code, &description, &pending);
    const char *given_status = first_value(given, "Status");
    must((status == PULL_STATUS_NONE) == (payload_size > 0 || given_status == NULL));
    if (status == PULL_STATUS_NONE) {
        must(code == 0 && description == NULL && pending == 0);
    } else {
        const char *words = first_value(given, "Description");
        must(code == (int)number_of(given_status, INT_MAX));
        must((description == NULL) == (words == NULL));
        must(words == NULL || strcmp(words, description) == 0);
        must(pending == number_of(first_value(given, "Nats-Pending-Messages"), UINT64_MAX));
        must(status == pull_status_of(code, description));
        check_words(code, description);
    }
    given->seen = 0;
    wire_each_header(message, see_first, given);
    must(given->seen == count_names(given));
    given->seen = 0;
    wire_each_header_value(message, see, given);
    must(given->seen == given->count);
}

/* Whether one name begins the other, and more than that. */
static bool begins(const char *a, const char *b)
{
    size_t a_size = strlen(a), b_size = strlen(b);
    return a_size != b_size && strncmp(a, b, a_size < b_size ? a_size : b_size) == 0;
}

/*
 * libnats (3.4 to 3.9 at least) takes some names for one that begin alike, "User" and "UserId": its
 * hash leaves out the last letters, and its comparison ends with the shorter name.
 */
static bool confuses_libnats(const struct given *given, const char *name)
{
    bool found = false;
    for (size_t i = 0; i < KNOWN; i++)
        found = found || begins(name, known_names[i]);
    for (size_t i = 0; i < given->count; i++)
        found = found || begins(name, given->name[i]);
    return found;
}

/* The bytes: which header each line is, and its value. A name of its own: "x=...". */
static void read_headers(natsMsg *message, struct given *given, char *text)
{
    while (text != NULL && given->count < HEADERS_MAX) {
        char *value = strsep(&text, "\n");
        unsigned known = (unsigned)(*value - '0');
        const char *name = known < KNOWN ? known_names[known] : strsep(&value, "=");
        value = known < KNOWN ? value + 1 : value;
        if (value == NULL || *name == '\0' || confuses_libnats(given, name))
            continue;
        if (natsMsgHeader_Add(message, name, value) != NATS_OK)
            continue;
        given->name[given->count] = strdup(name);
        given->value[given->count++] = strdup(value);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static bool is_open;
    if (!is_open) /* libnats frees messages in a thread of its own */
        is_open = library_open(NULL) == 0;
    struct given given = {.count = 0};
    natsMsg *message = NULL;
    size_t payload_size = size > 0 && data[0] == 'p' ? 3 : 0;
    char *text = copy_text(data + (payload_size > 0), size - (payload_size > 0));
    must(natsMsg_Create(&message, "_INBOX.x", NULL, "abc", (int)payload_size) == NATS_OK);
    read_headers(message, &given, text);
    check((struct wire_message *)message, &given, payload_size);
    check_words(409, text);
    check_words(404, text);
    check_words(408, text);
    wire_free((struct wire_message *)message);
    for (size_t i = 0; i < given.count; i++) {
        free(given.name[i]);
        free(given.value[i]);
    }
    free(text);
    return 0;
}
