/*
 * floor: the whole work with as little of anything as possible: a bare socket, no library, the
 * fields picked by hand, no Lua. Publishes the alerts with a message id and acknowledges a reading
 * when its alert is stored.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "options.h"
#include "pulls.h"
#include "reading.h"
#include "socket.h"

enum { PUBACK_SID = 2, SLOTS = 1 << 16, REPLY_SIZE = 120, ALERT_SIZE = 512 };

/* A reading whose alert is not stored yet: how to acknowledge it. */
struct slot {
    unsigned char size;
    char reply[REPLY_SIZE];
};

struct floor {
    struct options options;
    struct socket *socket;
    struct pulls pulls;
    char limit[32];
    char publish[96]; /* "HPUB alerts.high INBOX.A." */
    size_t publish_size;
    uint64_t settled, alerts;
    struct slot *slots;
    unsigned *free_slots; /* their numbers, `free_count` of them */
    size_t free_count;
};

static char *append(char *at, const char *text, size_t size)
{
    memcpy(at, text, size);
    return at + size;
}

static char *append_number(char *at, size_t number)
{
    char digits[20];
    size_t size = 0;
    do
        digits[size++] = (char)('0' + number % 10);
    while ((number /= 10) > 0);
    while (size > 0)
        *at++ = digits[--size];
    return at;
}

static void ack(struct floor *floor, const char *reply, size_t size)
{
    char *room = socket_room(floor->socket, size + 16), *at = room;
    at = append(at, "PUB ", 4);
    at = append(at, reply, size);
    at = append(at, " 0\r\n\r\n", 6);
    socket_put(floor->socket, (size_t)(at - room));
    floor->settled++;
}

/* Publishes the alert of a reading, with the slot as the last token of the reply subject. */
static int publish(struct floor *floor, const struct reading *reading,
                   const struct socket_message *message, struct error *err)
{
    static const char id[] = "NATS/1.0\r\nNats-Msg-Id: ";
    char alert[ALERT_SIZE];
    const char *digits;
    size_t digits_size = 0;
    size_t size = reading_alert(reading, floor->options.limit, alert, sizeof(alert));
    if (floor->free_count == 0 || message->reply_size > REPLY_SIZE || size == 0)
        return error_set(err, "no room for an alert");
    if (reading_sequence(message->reply, &digits, &digits_size) == 0)
        return error_set(err, "no message of JetStream: %s", message->reply);
    unsigned number = floor->free_slots[--floor->free_count];
    struct slot *slot = &floor->slots[number];
    slot->size = (unsigned char)message->reply_size;
    memcpy(slot->reply, message->reply, message->reply_size);

    size_t headers = sizeof(id) - 1 + digits_size + 4;
    char *room = socket_room(floor->socket, floor->publish_size + headers + size + 128);
    char *at = append(room, floor->publish, floor->publish_size);
    at = append_number(at, number);
    *at++ = ' ';
    at = append_number(at, headers);
    *at++ = ' ';
    at = append_number(at, headers + size);
    at = append(at, "\r\n", 2);
    at = append(at, id, sizeof(id) - 1);
    at = append(at, digits, digits_size);
    at = append(at, "\r\n\r\n", 4);
    at = append(at, alert, size);
    at = append(at, "\r\n", 2);
    socket_put(floor->socket, (size_t)(at - room));
    floor->alerts++;
    return 0;
}

static int take_reading(struct floor *floor, const struct socket_message *message,
                        struct error *err)
{
    struct reading reading;
    if (message->headers || reading_find(&reading, message->payload, message->payload_size) != 0)
        return error_set(err, "no reading: %.*s", (int)message->payload_size, message->payload);
    if (reading.number > floor->options.limit) {
        if (publish(floor, &reading, message, err) != 0)
            return -1;
    } else {
        ack(floor, message->reply, message->reply_size);
    }
    pulls_count(&floor->pulls);
    return 0;
}

static int take_puback(struct floor *floor, const struct socket_message *message, struct error *err)
{
    static const char stored[] = "{\"stream\":";
    const char *token = message->subject + message->subject_size;
    while (token[-1] != '.')
        token--;
    unsigned long number = strtoul(token, NULL, 10);
    if (message->payload_size < sizeof(stored) || number >= SLOTS ||
        memcmp(message->payload, stored, sizeof(stored) - 1) != 0)
        return error_set(err, "alert not stored: %.*s", (int)message->payload_size,
                         message->payload);
    ack(floor, floor->slots[number].reply, floor->slots[number].size);
    floor->free_slots[floor->free_count++] = (unsigned)number;
    return 0;
}

/* One round: all that is there is worked on, and what comes of it leaves in one write. */
static int work_once(struct floor *floor, struct error *err)
{
    struct socket_message message;
    int status;
    if (socket_read(floor->socket, -1, err) < 0)
        return -1;
    while ((status = socket_next(floor->socket, &message, err)) > 0) {
        status = message.sid == PULLS_SID ? take_reading(floor, &message, err)
                                          : take_puback(floor, &message, err);
        if (status != 0)
            return -1;
    }
    return status < 0 ? -1 : socket_flush(floor->socket, err);
}

static int prepare(struct floor *floor, struct error *err)
{
    floor->slots = malloc(SLOTS * sizeof(*floor->slots));
    floor->free_slots = malloc(SLOTS * sizeof(*floor->free_slots));
    if (floor->slots == NULL || floor->free_slots == NULL)
        return error_set(err, "out of memory");
    for (unsigned i = SLOTS; i > 0; i--)
        floor->free_slots[floor->free_count++] = i - 1;
    floor->publish_size = (size_t)snprintf(floor->publish, sizeof(floor->publish),
                                           "HPUB alerts.high %s.A.", socket_inbox(floor->socket));
    socket_printf(floor->socket, "SUB %s.A.* %d\r\n", socket_inbox(floor->socket), PUBACK_SID);
    pulls_open(&floor->pulls, floor->socket, &floor->options);
    return socket_flush(floor->socket, err);
}

int main(int argc, char **argv)
{
    static struct floor floor;
    struct error err;
    if (options_read(&floor.options, argc, argv) != 0)
        return 2;
    if (socket_open(&floor.socket, floor.options.url, &err) != 0)
        return options_fail("floor", err.text);
    int64_t began_ns = clock_monotonic_ns();
    int status = prepare(&floor, &err);
    while (status == 0 && (floor.options.count == 0 || floor.settled < floor.options.count))
        status = work_once(&floor, &err);
    if (status == 0)
        status = socket_barrier(floor.socket, &err);
    if (status == 0)
        options_report(&floor.options, "floor", floor.settled, floor.alerts,
                       clock_monotonic_ns() - began_ns);
    socket_close(floor.socket);
    free(floor.slots);
    free(floor.free_slots);
    return status == 0 ? 0 : options_fail("floor", err.text);
}
