#include "latency.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>

#include "base/clock.h"
#include "reading.h"
#include "socket.h"

enum { ALERT_SID = 1 };

static const int64_t LAST_NS = 10 * NS_PER_S; /* in which the last alerts must come */

struct course {
    struct socket *socket;
    const char *subject; /* of the readings */
    int64_t *sent_ns;    /* by number; clock_wall_ns, as the kernel's stamps are */
    double *took_ms;
    size_t count, sent, seen;
};

/* The value of a reading is its number, and the alert carries it. */
static int send_reading(struct course *course, struct error *err)
{
    char payload[256];
    int size = snprintf(payload, sizeof(payload),
                        "{\"sensor_id\":\"boiler-07\",\"value\":%zu,\"unit\":\"C\",\"battery\":87,"
                        "\"rssi\":-71,\"ok\":true,\"site\":\"north\",\"firmware\":\"2.4.1\"}",
                        course->sent);
    socket_publish(course->socket, course->subject, NULL, payload, (size_t)size);
    course->sent_ns[course->sent++] = clock_wall_ns();
    return socket_flush(course->socket, err);
}

/* Takes the alerts that have come. */
static int take_alerts(struct course *course, struct error *err)
{
    struct socket_message message;
    int status;
    int64_t arrived_ns = socket_arrived_ns(course->socket);
    while ((status = socket_next(course->socket, &message, err)) > 0) {
        struct reading reading;
        if (reading_find(&reading, message.payload, message.payload_size) != 0 ||
            reading.number < 0 || (size_t)reading.number >= course->sent)
            return error_set(err, "a strange alert: %.*s", (int)message.payload_size,
                             message.payload);
        size_t number = (size_t)reading.number;
        if (course->took_ms[number] == 0)
            course->seen++;
        course->took_ms[number] = (double)(arrived_ns - course->sent_ns[number]) / 1e6;
    }
    return status;
}

static int run(struct course *course, struct error *err)
{
    int64_t began_ns = clock_monotonic_ns(), step_ns = NS_PER_S / LATENCY_RATE;
    int64_t end_ns = began_ns + (int64_t)course->count * step_ns + LAST_NS;
    while (course->seen < course->count) {
        bool all_sent = course->sent == course->count;
        int64_t due_ns = all_sent ? end_ns : began_ns + (int64_t)course->sent * step_ns;
        int status = socket_read(course->socket, due_ns, err);
        if (status > 0)
            status = take_alerts(course, err);
        else if (status == 0 && all_sent)
            return error_set(err, "%zu of %zu alerts are missing", course->count - course->seen,
                             course->count);
        if (status == 0 && !all_sent && clock_monotonic_ns() >= due_ns)
            status = send_reading(course, err);
        if (status != 0)
            return -1;
    }
    return 0;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void compute(const struct course *course, struct latency *latency)
{
    double *took = course->took_ms + LATENCY_RATE;
    size_t count = course->count - LATENCY_RATE;
    qsort(took, count, sizeof(*took), by_value);
    latency->p50_ms = took[count / 2];
    latency->p99_ms = took[count * 99 / 100];
    latency->max_ms = took[count - 1];
}

static int measure(struct stage *stage, const char *readings, const char *alerts, int seconds,
                   struct latency *latency, struct error *err)
{
    struct course course = {.subject = readings, .count = (size_t)(seconds + 1) * LATENCY_RATE};
    int status = -1;
    prctl(PR_SET_TIMERSLACK, 1UL); /* or each wait ends 50 us late */
    course.sent_ns = calloc(course.count, sizeof(*course.sent_ns));
    course.took_ms = calloc(course.count, sizeof(*course.took_ms));
    if (course.sent_ns == NULL || course.took_ms == NULL)
        error_set(err, "out of memory");
    else
        status = socket_open(&course.socket, stage_url(stage), err);
    if (status == 0) {
        socket_printf(course.socket, "SUB %s %d\r\n", alerts, ALERT_SID);
        status = socket_barrier(course.socket, err);
    }
    if (status == 0)
        status = socket_stamp(course.socket, err);
    if (status == 0)
        status = run(&course, err);
    if (status == 0)
        compute(&course, latency);
    socket_close(course.socket);
    free(course.sent_ns);
    free(course.took_ms);
    return status;
}

int latency_measure(struct stage *stage, int seconds, struct latency *latency, struct error *err)
{
    return measure(stage, "sensors.value", "alerts.high", seconds, latency, err);
}

int latency_measure_echo(struct stage *stage, int seconds, struct latency *latency,
                         struct error *err)
{
    return measure(stage, "echo", "echo", seconds, latency, err);
}
