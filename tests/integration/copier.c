#include "copier.h"

#include <stdio.h>

enum { PATIENCE_MS = 15000, TEXT_SIZE = 2048 };

static const char rule[] = "return { subjects = { 'in.a' }, on_message = function(msg)\n"
                           "  mill.publish('out', msg.raw)\n"
                           "end }";

void copier_configure(struct harness *h, const char *nats)
{
    char text[TEXT_SIZE];
    snprintf(text, sizeof(text),
             "return { nats = { reconnect_wait = '50ms', %s },\n"
             "  streams = { { name = 'in', subjects = { 'in.>' } },\n"
             "              { name = 'out', subjects = { 'out' } } },\n"
             "  sources = { { stream = 'in', durable = 'd', ack_wait = '5s' } } }",
             nats);
    harness_write_file(h, "tidemill.lua", text);
    harness_write_file(h, "rules/a.lua", rule);
}

struct process *copier_run(struct harness *h, const char *nats)
{
    copier_configure(h, nats);
    struct process *mill = harness_tidemill(h, "run");
    harness_wait_log(mill, " running: ", PATIENCE_MS);
    harness_wait_http(mill, "/readyz", 200, PATIENCE_MS);
    return mill;
}

void copier_expect_refused(struct harness *h, const char *nats, const char *says,
                           const char *advises)
{
    copier_configure(h, nats);
    harness_expect_end(harness_tidemill(h, "run", "--log-level", "error"), PATIENCE_MS, 1, 1, says,
                       advises);
}
