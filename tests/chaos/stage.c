#include "stage.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "integration/loopback.h"
#include "integration/process.h"

enum {
    STATUSES = 256,
    STATUS_KILLED = 128 + SIGKILL,
    RELOAD_MS = 300, /* a broken rule stays in the folder for that long at most */
    TERM_MS = 15000, /* more than shutdown_timeout */
    START_MS = 15000
};

/*
 * max_deliver is 10, since a try is also spent by every fault that meets the message: about one in
 * two seconds, and a message that is not settled meets a second one with less than even chance, so
 * that ten in a row are not to be expected in thousands of rounds. The windows outlast a round, so
 * that not one output may be stored twice.
 */
static const char configuration[] =
    "return {\n"
    "  nats = { reconnect_wait = '200ms' },\n"
    "  streams = {\n"
    "    { name = 'in', subjects = { 'in.>' }, duplicate_window = '10m' },\n"
    "    { name = 'out', subjects = { 'out.>' }, duplicate_window = '10m' },\n"
    "    { name = 'other', subjects = { 'other.>' }, duplicate_window = '10m' },\n"
    "    { name = 'dead', subjects = { 'dead.>' }, duplicate_window = '10m' },\n"
    "  },\n"
    "  sources = {\n"
    "    { stream = 'in', durable = 'chaos', batch = 200, ack_wait = '3s', max_deliver = 10,\n"
    "      ack = '%s',\n"
    "      backoff = { '50ms', '100ms' } },\n"
    "  },\n"
    "  shutdown_timeout = '5s',\n"
    "}\n";

struct rule_file {
    const char *name, *text;
};

/* What they must do stands in plan.c, kind by kind. */
static const struct rule_file rules[] = {
    {"rules/copy.lua", "return { subjects = { 'in.copy' }, on_message = function(msg)\n"
                       "  assert(msg.data.id)\n"
                       "  mill.publish('out.copy', msg.raw)\n"
                       "end }\n"},
    {"rules/two.lua", "return { subjects = { 'in.two' }, on_message = function(msg)\n"
                      "  mill.publish('out.two', msg.raw)\n"
                      "  mill.publish('other.two', { id = msg.data.id })\n"
                      "end }\n"},
    {"rules/flaky.lua", "return { subjects = { 'in.flaky' }, on_message = function(msg)\n"
                        "  mill.publish('out.flaky', { id = msg.data.id })\n"
                        "  if msg.delivered < 3 then error('not yet') end\n"
                        "end }\n"},
    {"rules/later.lua", "return { subjects = { 'in.later' }, on_message = function(msg)\n"
                        "  mill.publish('out.later', msg.raw)\n"
                        "  if msg.delivered < 2 then msg:retry(0.07) end\n"
                        "end }\n"},
    {"rules/slow.lua", "return { subjects = { 'in.slow' }, on_message = function(msg)\n"
                       "  mill.sleep(0.001 + msg.sequence % 5 * 0.001)\n"
                       "  mill.publish('out.slow', { id = msg.data.id })\n"
                       "end }\n"},
    {"rules/first.lua", "return { subjects = { 'in.pair', 'in.half' }, on_message = function(msg)\n"
                        "  mill.publish('out.first', { id = msg.data.id })\n"
                        "end }\n"},
    {"rules/second.lua",
     "return { subjects = { 'in.pair', 'in.half' }, on_message = function(msg)\n"
     "  if msg.delivered == 1 or msg.subject == 'in.half' then error('no luck') end\n"
     "  mill.publish('other.second', msg.raw)\n"
     "end }\n"},
    {"rules/failing.lua", "return { subjects = { 'in.failing' }, on_message = function(msg)\n"
                          "  mill.publish('out.failing', msg.raw)\n"
                          "  error('never')\n"
                          "end }\n"},
    {"rules/rejected.lua", "return { subjects = { 'in.rejected' }, on_message = function(msg)\n"
                           "  mill.publish('out.rejected', msg.raw)\n"
                           "  msg:reject('unwanted')\n"
                           "end }\n"},
};

enum { RULES = sizeof(rules) / sizeof(rules[0]) };

struct mill {
    struct process *process; /* NULL: not running */
    unsigned number;
    bool wanted;       /* is to run; stage_watch sees to that */
    bool killed;       /* by us */
    int64_t end_by_ns; /* after a TERM; 0: none was sent */
};

struct stage {
    struct harness *h;
    struct mill first, second;
    bool server_up;
    const char *refusing; /* a stream that has lost its subjects, or NULL */
    unsigned starts, edition;
    unsigned ends[STATUSES];
    char complaint[512];
};

__attribute__((format(printf, 2, 3))) static void complain(struct stage *stage, const char *format,
                                                           ...)
{
    if (stage->complaint[0] != '\0')
        return; /* the first is the one to look at */
    va_list args;
    va_start(args, format);
    vsnprintf(stage->complaint, sizeof(stage->complaint), format, args);
    va_end(args);
}

/* ---- tidemill ---- */

/* Not with harness_tidemill: that one is for a few processes, and keeps them all. */
static void start_mill(struct stage *stage, struct mill *mill)
{
    const char *program = harness_program(stage->h);
    char url[96], log[64];
    mill->number = ++stage->starts;
    snprintf(url, sizeof(url), "NATS_URL=%s", harness_url(stage->h));
    snprintf(log, sizeof(log), "tidemill-%03u.log", mill->number);
    struct process_options options = {.argv = (const char *const[]){program, "run", NULL},
                                      .environment =
                                          (const char *const[]){url, "TIDEMILL_HTTP=", NULL},
                                      .folder = harness_path(stage->h, "."),
                                      .log = harness_path(stage->h, log),
                                      .owner = stage->h};
    struct error err;
    if (process_open(&mill->process, &options, &err) != 0)
        harness_fail(stage->h, "%s", err.text);
    mill->wanted = true;
    mill->killed = false;
    mill->end_by_ns = 0;
}

/* The process has ended: what must be said about that, and away with it. */
static void bury_mill(struct stage *stage, struct mill *mill)
{
    int status = process_status(mill->process);
    /* TERM may do that before main() and near the end; HUP, before main() alone. */
    bool ours = (status == STATUS_KILLED && mill->killed) ||
                (status == 128 + SIGTERM && mill->end_by_ns != 0) ||
                (status == 128 + SIGHUP && process_text(mill->process)[0] == '\0');
    if (status >= 128 && !ours)
        complain(stage, "tidemill %u died of signal %d", mill->number, status - 128);
    if (process_count_text(mill->process, "Sanitizer") > 0 ||
        process_count_text(mill->process, "runtime error:") > 0)
        complain(stage, "a sanitizer reports in the log of tidemill %u", mill->number);
    if (!mill->killed && mill->end_by_ns == 0)
        stage->ends[status % STATUSES]++;
    process_close(mill->process);
    mill->process = NULL;
}

static void signal_mill(struct mill *mill, int signal)
{
    if (mill->process != NULL)
        process_signal(mill->process, signal);
}

static void kill_mill(struct mill *mill)
{
    mill->wanted = false;
    mill->killed = true;
    signal_mill(mill, SIGKILL);
}

/* Its exit status is not judged: the server may be away meanwhile. */
static void stop_mill(struct mill *mill)
{
    mill->wanted = false;
    if (mill->end_by_ns != 0)
        return; /* a second one means at once, in whatever way */
    mill->end_by_ns = harness_deadline(TERM_MS);
    signal_mill(mill, SIGTERM);
}

static void watch_mill(struct stage *stage, struct mill *mill)
{
    if (mill->process != NULL && process_wait(mill->process, 0))
        bury_mill(stage, mill);
    if (mill->process == NULL && mill->wanted)
        start_mill(stage, mill);
    if (mill->process != NULL && mill->end_by_ns != 0 && !mill->killed &&
        clock_monotonic_ns() > mill->end_by_ns) {
        complain(stage, "tidemill %u still runs %d ms after TERM", mill->number, TERM_MS);
        kill_mill(mill);
    }
}

/* ---- rules ---- */

static void write_rules(struct stage *stage)
{
    char text[1024];
    stage->edition++;
    for (size_t i = 0; i < RULES; i++) {
        snprintf(text, sizeof(text), "-- edition %u\n%s", stage->edition, rules[i].text);
        harness_write_file(stage->h, rules[i].name, text);
    }
}

static void reload(struct stage *stage)
{
    write_rules(stage);
    signal_mill(&stage->first, SIGHUP);
    signal_mill(&stage->second, SIGHUP);
}

/* Says SIGHUP with a broken rule in the folder, and takes it away before any tidemill starts. */
static void reload_broken(struct stage *stage)
{
    static const char name[] = "rules/broken.lua";
    struct process *mill = stage->first.process;
    harness_write_file(stage->h, name, "return { subjects = { 'in.>' }, on_message = function(\n");
    signal_mill(&stage->first, SIGHUP);
    signal_mill(&stage->second, SIGHUP);
    if (mill != NULL) /* it may be paused, or not be ready: then it says nothing */
        process_wait_text(mill, "not reloaded", clock_monotonic_ns() + RELOAD_MS * NS_PER_MS);
    harness_remove_file(stage->h, name);
}

/* ---- the server ---- */

static void start_server(struct stage *stage)
{
    if (!stage->server_up)
        harness_server_start(stage->h);
    stage->server_up = true;
}

static void kill_server(struct stage *stage)
{
    if (stage->server_up)
        harness_server_kill(stage->h);
    stage->server_up = false;
}

/* ---- streams that refuse ---- */

/* Gives a stream other subjects, so that nobody stores its usual ones (503). */
static void set_subject(struct stage *stage, const char *stream, const char *root)
{
    char subject[32];
    const char *subjects[] = {subject};
    jsStreamInfo *info = NULL;
    snprintf(subject, sizeof(subject), "%s.>", root);
    natsStatus s = js_GetStreamInfo(&info, harness_js(stage->h), stream, NULL, NULL);
    if (s == NATS_OK) {
        jsStreamConfig config = *info->Config;
        config.Subjects = subjects;
        config.SubjectsLen = 1;
        s = js_UpdateStream(NULL, harness_js(stage->h), &config, NULL, NULL);
    }
    jsStreamInfo_Destroy(info);
    if (s != NATS_OK)
        harness_fail(stage->h, "stream %s can't be given subject %s: %s", stream, subject,
                     natsStatus_GetText(s));
}

static void begin_refusing(struct stage *stage, unsigned pick)
{
    static const char *const streams[] = {"out", "other", "dead"};
    stage->refusing = streams[pick % 3];
    set_subject(stage, stage->refusing, "nowhere");
}

static void end_refusing(struct stage *stage)
{
    if (stage->refusing != NULL)
        set_subject(stage, stage->refusing, stage->refusing);
    stage->refusing = NULL;
}

/* ---- faults ---- */

void stage_begin_fault(struct stage *stage, const struct fault *fault)
{
    switch (fault->kind) {
    case FAULT_KILL_MILL:
        kill_mill(&stage->first);
        break;
    case FAULT_STOP_MILL:
        stop_mill(&stage->first);
        break;
    case FAULT_PAUSE_MILL:
        signal_mill(&stage->first, SIGSTOP);
        break;
    case FAULT_SECOND_MILL:
        stage->second.wanted = true;
        break;
    case FAULT_KILL_SERVER:
        kill_server(stage);
        break;
    case FAULT_PAUSE_SERVER:
        harness_server_signal(stage->h, SIGSTOP);
        break;
    case FAULT_REFUSE:
        begin_refusing(stage, fault->pick);
        break;
    case FAULT_RELOAD:
        reload(stage);
        break;
    case FAULT_BROKEN_RELOAD:
        reload_broken(stage);
        break;
    case FAULT_COUNT:
        break;
    }
}

void stage_end_fault(struct stage *stage, const struct fault *fault)
{
    switch (fault->kind) {
    case FAULT_KILL_MILL:
    case FAULT_STOP_MILL:
        stage->first.wanted = true;
        break;
    case FAULT_PAUSE_MILL:
        signal_mill(&stage->first, SIGCONT);
        break;
    case FAULT_SECOND_MILL:
        if (fault->pick % 2 == 0)
            stop_mill(&stage->second);
        else
            kill_mill(&stage->second);
        break;
    case FAULT_KILL_SERVER:
        start_server(stage);
        break;
    case FAULT_PAUSE_SERVER:
        harness_server_signal(stage->h, SIGCONT);
        break;
    case FAULT_REFUSE:
        end_refusing(stage);
        break;
    default:
        break;
    }
}

void stage_watch(struct stage *stage)
{
    watch_mill(stage, &stage->first);
    watch_mill(stage, &stage->second);
}

void stage_heal(struct stage *stage)
{
    start_server(stage);
    harness_server_signal(stage->h, SIGCONT);
    end_refusing(stage);
    kill_mill(&stage->second);
    signal_mill(&stage->first, SIGCONT);
    stage->first.wanted = true;
}

void stage_finish(struct stage *stage)
{
    struct mill *mill = &stage->first;
    stop_mill(mill);
    if (!process_wait(mill->process, mill->end_by_ns))
        complain(stage, "tidemill %u still runs %d ms after the last TERM", mill->number, TERM_MS);
    else if (process_status(mill->process) != 0)
        complain(stage, "tidemill %u ended with status %d on the last TERM", mill->number,
                 process_status(mill->process));
    stage_watch(stage);
}

/* ---- opening and closing ---- */

struct stage *stage_open(struct harness *h, bool cumulative)
{
    char text[sizeof(configuration) + 16];
    struct stage *stage = calloc(1, sizeof(*stage));
    assert_non_null(stage);
    stage->h = h;
    stage->server_up = true;
    snprintf(text, sizeof(text), configuration, cumulative ? "cumulative" : "each");
    harness_write_file(h, "tidemill.lua", text);
    write_rules(stage);
    start_mill(stage, &stage->first);
    if (!process_wait_text(stage->first.process, " running: ", harness_deadline(START_MS)))
        harness_fail(h, "tidemill does not run: %s", process_text(stage->first.process));
    return stage;
}

void stage_close(struct stage *stage)
{
    if (stage == NULL)
        return;
    process_close(stage->first.process);
    process_close(stage->second.process);
    free(stage);
}

const char *stage_complaint(const struct stage *stage)
{
    return stage->complaint[0] != '\0' ? stage->complaint : NULL;
}

unsigned stage_ends(const struct stage *stage, int status)
{
    return stage->ends[status % STATUSES];
}
