#include "mill/status.h"

#include "base/log.h"
#include "ops/escape.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

struct status {
    const struct config *config;
    const struct tally *tally;
    struct health *health;
};

/* --- /status --- */

static void write_count(FILE *out, const char *name, unsigned long long value)
{
    fprintf(out, ",\"%s\":%llu", name, value);
}

/* What the server is to tell: null until it has. */
static void write_told(FILE *out, const char *name, const struct status *status, size_t source,
                       int (*ask)(const struct tally *tally, size_t source, uint64_t *value))
{
    uint64_t value;
    if (ask(status->tally, source, &value) == 0)
        write_count(out, name, value);
    else
        fprintf(out, ",\"%s\":null", name);
}

static void write_reasons(FILE *out, const char *name, const unsigned long long *counts,
                          size_t count)
{
    unsigned long long sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += counts[i];
    fprintf(out, ",\"%s\":{\"total\":%llu", name, sum);
    for (size_t i = 0; i < count; i++) {
        if (counts[i] > 0)
            write_count(out, reason_name((enum reason)i), counts[i]);
    }
    fputc('}', out);
}

static void write_source(FILE *out, const struct status *status, size_t index)
{
    const struct source_config *config = &status->config->sources[index];
    unsigned long long delivered = 0, redelivered = 0, in_flight = 0, acked = 0, unmatched = 0;
    unsigned long long naked = 0, dead[REASON_COUNT] = {0};
    for (size_t i = 0; i < status->tally->worker_count; i++) {
        const struct source_counters *counters = tally_source(status->tally, i, index);
        delivered += counter_get(counters->delivered);
        redelivered += counter_get(counters->redelivered);
        in_flight += counter_get(counters->in_flight);
        acked += counter_get(counters->acked);
        unmatched += counter_get(counters->unmatched);
        naked += counter_get(counters->naked);
        for (size_t j = 0; j < REASON_COUNT; j++)
            dead[j] += counter_get(counters->dead_of[j]);
    }
    fputs("{\"stream\":", out);
    escape_json(out, config->stream);
    fputs(",\"consumer\":", out);
    escape_json(out, config->durable);
    write_told(out, "pending", status, index, tally_pending);
    write_told(out, "ack_pending", status, index, tally_ack_pending);
    write_count(out, "in_flight", in_flight);
    write_count(out, "delivered", delivered);
    write_count(out, "redelivered", redelivered);
    write_count(out, "acked", acked);
    write_count(out, "unmatched", unmatched);
    write_count(out, "given_back", naked);
    write_reasons(out, "dead_letters", dead, REASON_COUNT);
    fputc('}', out);
}

static void write_sources(void *context, FILE *out)
{
    const struct status *status = context;
    fputc('[', out);
    for (size_t i = 0; i < status->tally->source_count; i++) {
        if (i > 0)
            fputc(',', out);
        write_source(out, status, i);
    }
    fputc(']', out);
}

static void write_workers(void *context, FILE *out)
{
    const struct status *status = context;
    fputc('[', out);
    for (size_t i = 0; i < status->tally->worker_count; i++) {
        const struct worker_counters *counters = &status->tally->workers[i];
        struct calls calls = tally_calls(status->tally, i);
        fprintf(out, "%s{\"worker\":%zu,\"connected\":%s", i > 0 ? "," : "", i + 1,
                counter_get(counters->connected) != 0 ? "true" : "false");
        write_count(out, "reconnects", counter_get(counters->reconnects));
        write_count(out, "calls", calls.ended);
        write_count(out, "errors", calls.errors);
        write_count(out, "outputs_stored", counter_get(counters->outputs_stored));
        write_count(out, "outputs_repeated", counter_get(counters->outputs_repeated));
        write_count(out, "outputs_failed", counter_get(counters->outputs_failed));
        write_count(out, "lua_memory_bytes", counter_get(counters->lua_bytes));
        fputc('}', out);
    }
    fputc(']', out);
}

static void write_rule(FILE *out, const struct tally *tally, size_t row, const char *name)
{
    unsigned long long calls = 0, duration_ns = 0, errors[REASONS_OF_RULES] = {0};
    for (size_t i = 0; i < tally->worker_count; i++) {
        const struct rule_counters *rule = rule_book_row(tally->rules, row, i);
        calls += counter_get(rule->calls);
        duration_ns += counter_get(rule->duration.sum_ns);
        for (size_t j = 0; j < REASONS_OF_RULES; j++)
            errors[j] += counter_get(rule->errors[j]);
    }
    fputs("{\"rule\":", out);
    escape_json(out, name);
    write_count(out, "calls", calls);
    fprintf(out, ",\"seconds\":%.6f", (double)duration_ns / 1e9);
    write_reasons(out, "errors", errors, REASONS_OF_RULES);
    fputc('}', out);
}

static void write_rules(void *context, FILE *out)
{
    const struct status *status = context;
    const struct tally *tally = status->tally;
    const char *separator = "";
    fputc('[', out);
    for (size_t row = 0; row < rule_book_count(tally->rules); row++) {
        const char *name = rule_book_name(tally->rules, row);
        if (name == NULL)
            continue;
        fputs(separator, out);
        write_rule(out, tally, row, name);
        separator = ",";
    }
    fputc(']', out);
}

static const struct {
    const char *name;
    void (*write)(void *context, FILE *out);
} sections[] = {{"sources", write_sources}, {"workers", write_workers}, {"rules", write_rules}};

enum { SECTIONS = sizeof(sections) / sizeof(sections[0]) };

int status_open(struct status **out, const struct config *config, const struct tally *tally,
                struct health *health, struct error *err)
{
    struct status *status = malloc(sizeof(*status));
    if (status == NULL)
        return error_set(err, "out of memory");
    *status = (struct status){config, tally, health};
    for (size_t i = 0; i < SECTIONS; i++) {
        if (health_add_section(health, sections[i].name, sections[i].write, status, err) != 0) {
            status_close(status);
            return -1;
        }
    }
    *out = status;
    return 0;
}

void status_close(struct status *status)
{
    if (status == NULL)
        return;
    for (size_t i = 0; i < SECTIONS; i++)
        health_remove_section(status->health, sections[i].name);
    free(status);
}

/* --- the log --- */

static void log_worker(const struct tally *tally, size_t worker)
{
    const struct worker_counters *counters = &tally->workers[worker];
    struct calls calls = tally_calls(tally, worker);
    log_info("status",
             "worker %zu: %s, %" PRIu64 " calls (%" PRIu64
             " errors), outputs %llu stored (%llu repeated) %llu failed, %llu reconnects, "
             "Lua %llu KiB",
             worker + 1, counter_get(counters->connected) != 0 ? "connected" : "not connected",
             calls.ended, calls.errors, counter_get(counters->outputs_stored),
             counter_get(counters->outputs_repeated), counter_get(counters->outputs_failed),
             counter_get(counters->reconnects), counter_get(counters->lua_bytes) / 1024);
}

static void log_source(const struct source_config *config, const struct tally *tally, size_t worker,
                       size_t source)
{
    const struct source_counters *counters = tally_source(tally, worker, source);
    log_info("status",
             "worker %zu, %s/%s: %llu delivered (%llu again), %llu acked (%llu unmatched), %llu "
             "given back, %llu dead, %llu in flight",
             worker + 1, config->stream, config->durable, counter_get(counters->delivered),
             counter_get(counters->redelivered), counter_get(counters->acked),
             counter_get(counters->unmatched), counter_get(counters->naked),
             counter_get(counters->dead), counter_get(counters->in_flight));
}

void status_log(const struct config *config, const struct tally *tally)
{
    for (size_t worker = 0; worker < tally->worker_count; worker++) {
        log_worker(tally, worker);
        for (size_t i = 0; i < tally->source_count; i++) {
            if ((size_t)config->sources[i].workers > worker)
                log_source(&config->sources[i], tally, worker, i);
        }
    }
}
