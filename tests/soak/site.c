#include "site.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "integration/process.h"

enum {
    PATIENCE_MS = 20000,
    TOLD_MS = 2000, /* until it has said that rules are broken */
    BROKEN_ONE_IN = 6
};

/*
 * The streams forget what is older than anything that can still be under way, so that a soak of any
 * length needs the same room. max_deliver is for what asks for another try while the server is
 * away; the timeout, for the rule that takes its time where a checker makes all fifty times slower.
 */
static const char configuration[] =
    "return {\n"
    "  nats = { reconnect_wait = '200ms' },\n"
    "  streams = {\n"
    "    { name = 'in', subjects = { 'sensors.>', 'jobs.>', 'nobody.>' }, max_age = '3m',\n"
    "      duplicate_window = '1m' },\n"
    "    { name = 'out', subjects = { 'receipts.>', 'alerts.>', 'ticks.>', 'dead.>' },\n"
    "      max_age = '3m', duplicate_window = '1m' },\n"
    "  },\n"
    "  sources = {\n"
    "    { stream = 'in', durable = 'soak', workers = 2, batch = 200, ack_wait = '5s',\n"
    "      max_deliver = 12, backoff = { '100ms', '300ms' } },\n"
    "  },\n"
    "  rules = { timeout = '3s' },\n"
    "  shutdown_timeout = '10s',\n"
    "}\n";

struct site {
    struct harness *h;
    struct disturbances every;
    struct unrest unrest;
    struct process *mill, *second;            /* second: NULL when there is none */
    int64_t reload_ns, restart_ns, second_ns; /* when next; 0: not begun */
    int64_t second_end_ns;                    /* until then it must have ended; 0: it may run */
    char complaint[256];
};

/* ---- rules ---- */

/* Copies the Lua files of a folder of the source tree, tests left out. */
static void copy_rules(struct harness *h, const char *folder, const char *to)
{
    const char *path = harness_source_path(h, folder);
    DIR *entries = opendir(path);
    if (entries == NULL)
        harness_fail(h, "cannot read %s (run it in the source tree, or set TIDEMILL_SOURCE)", path);
    for (struct dirent *entry; (entry = readdir(entries)) != NULL;) {
        const char *suffix = strrchr(entry->d_name, '.');
        if (suffix == NULL || strcmp(suffix, ".lua") != 0 || entry->d_name[0] == '.' ||
            strstr(entry->d_name, "_test.lua") != NULL)
            continue;
        char from[512], name[512];
        snprintf(from, sizeof(from), "%.200s/%.250s", path, entry->d_name);
        snprintf(name, sizeof(name), "%.200s/%.250s", to, entry->d_name);
        harness_write_file(h, name, harness_read_file(h, from));
    }
    closedir(entries);
}

static void write_edition(struct site *site)
{
    char text[32];
    snprintf(text, sizeof(text), "return %u\n", site->unrest.reloads);
    harness_write_file(site->h, "rules/lib/edition.lua", text);
}

static void reload(struct site *site)
{
    site->unrest.reloads++;
    write_edition(site);
    process_signal(site->mill, SIGHUP);
    /* Before it holds signals back SIGHUP would end it. */
    if (site->second != NULL && site->second_end_ns == 0 &&
        process_count_text(site->second, " running: ") > 0)
        process_signal(site->second, SIGHUP);
}

/*
 * A file that does not compile, taken away when it has been read. A process that is starting would
 * be right to end: it has said that it connects when it has its rules.
 */
static void reload_broken(struct site *site)
{
    static const char name[] = "rules/broken.lua";
    if (site->second != NULL && process_count_text(site->second, "connecting to") == 0)
        process_wait_text(site->second, "connecting to", harness_deadline(PATIENCE_MS));
    site->unrest.broken_reloads++;
    harness_write_file(site->h, name, "return { subjects = { 'in.>' }, on_message = function(\n");
    process_signal(site->mill, SIGHUP);
    process_wait_text(site->mill, "not reloaded", harness_deadline(TOLD_MS));
    harness_remove_file(site->h, name);
}

/* ---- the second tidemill ---- */

static void start_second(struct site *site)
{
    char url[96];
    snprintf(url, sizeof(url), "NATS_URL=%s", harness_url(site->h));
    struct process_options options = {
        .argv = (const char *const[]){harness_program(site->h), "run", NULL},
        .environment = (const char *const[]){url, "TIDEMILL_HTTP=", NULL},
        .folder = harness_path(site->h, "."),
        .log = harness_path(site->h, "second.log"),
        .owner = site->h};
    struct error err;
    if (process_open(&site->second, &options, &err) != 0)
        harness_fail(site->h, "%s", err.text);
    site->unrest.second_starts++;
    site->second_end_ns = 0;
}

static void stop_second(struct site *site)
{
    process_signal(site->second, site->unrest.second_starts % 2 == 0 ? SIGKILL : SIGTERM);
    site->second_end_ns = harness_deadline(PATIENCE_MS);
}

/* Its end on SIGTERM must be in order; while the server is away it may also be 1. */
static void bury_second(struct site *site)
{
    int status = process_status(site->second);
    bool ours = site->second_end_ns != 0 && (status <= 1 || status == 128 + SIGKILL ||
                                             status == 128 + SIGTERM); /* TERM before main() */
    if (!ours && site->complaint[0] == '\0')
        snprintf(site->complaint, sizeof(site->complaint),
                 "the second tidemill ended with status %d", status);
    if (process_count_text(site->second, "Sanitizer") > 0)
        snprintf(site->complaint, sizeof(site->complaint), "a sanitizer reports in second.log");
    process_close(site->second);
    site->second = NULL;
}

static void watch_second(struct site *site)
{
    if (site->second != NULL && process_wait(site->second, 0))
        bury_second(site);
    if (site->second != NULL && site->second_end_ns != 0 &&
        clock_monotonic_ns() > site->second_end_ns)
        harness_fail(site->h, "the second tidemill does not end");
}

/* ---- the disturbances ---- */

/* Whether it is time, every `ms`; the first time after half of it. */
static bool is_due(int64_t *next_ns, int ms)
{
    int64_t now_ns = clock_monotonic_ns();
    if (*next_ns == 0)
        *next_ns = now_ns + ms / 2 * NS_PER_MS;
    if (now_ns < *next_ns)
        return false;
    *next_ns = now_ns + ms * NS_PER_MS;
    return true;
}

void site_disturb(struct site *site)
{
    watch_second(site);
    if (is_due(&site->reload_ns, site->every.reload_ms)) {
        if ((site->unrest.reloads + site->unrest.broken_reloads) % BROKEN_ONE_IN == 2)
            reload_broken(site);
        else
            reload(site);
    }
    if (is_due(&site->restart_ns, site->every.restart_ms)) {
        harness_server_stop(site->h);
        harness_server_start(site->h);
        site->unrest.restarts++;
    }
    if (is_due(&site->second_ns, site->every.second_ms)) {
        if (site->second == NULL)
            start_second(site);
        else if (site->second_end_ns == 0)
            stop_second(site);
    }
}

void site_calm(struct site *site)
{
    if (site->second != NULL && site->second_end_ns == 0)
        stop_second(site);
    if (site->second != NULL) {
        process_wait(site->second, site->second_end_ns);
        watch_second(site);
    }
}

/* ---- opening and closing ---- */

static void make_bucket(struct harness *h)
{
    kvStore *bucket = NULL;
    kvConfig config;
    kvConfig_Init(&config);
    config.Bucket = "soak";
    natsStatus s = js_CreateKeyValue(&bucket, harness_js(h), &config);
    kvStore_Destroy(bucket);
    if (s != NATS_OK)
        harness_fail(h, "cannot make the bucket: %s", natsStatus_GetText(s));
}

struct site *site_open(struct harness *h, const struct disturbances *disturbances)
{
    struct site *site = calloc(1, sizeof(*site));
    assert_non_null(site);
    *site = (struct site){.h = h, .every = *disturbances};
    harness_write_file(h, "tidemill.lua", configuration);
    copy_rules(h, "rules", "rules");
    copy_rules(h, "rules/lib", "rules/lib");
    copy_rules(h, "tests/soak/rules", "rules");
    write_edition(site);
    make_bucket(h);
    site->mill = harness_tidemill(h, "run");
    harness_wait_log(site->mill, " running: ", PATIENCE_MS);
    harness_wait_http(site->mill, "/readyz", 200, PATIENCE_MS);
    return site;
}

void site_close(struct site *site)
{
    if (site == NULL)
        return;
    process_close(site->second);
    free(site);
}

struct process *site_mill(struct site *site)
{
    return site->mill;
}

const struct unrest *site_unrest(const struct site *site)
{
    return &site->unrest;
}

const char *site_complaint(const struct site *site)
{
    return site->complaint[0] != '\0' ? site->complaint : NULL;
}
