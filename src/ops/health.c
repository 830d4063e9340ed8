#include "ops/health.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/units.h"
#include "ops/escape.h"

enum { CHECKS_STEP = 16, VERSION_MAX = 128 };

struct check {
    char name[HEALTH_NAME_MAX];
    bool ok;
    char reason[HEALTH_REASON_MAX];
    int64_t since_ns; /* wall clock: when it became ok, or failed */
};

struct section {
    struct section *next;
    char *name;
    void (*write)(void *context, FILE *out);
    void *context;
};

struct reload {
    int64_t time_ns; /* wall clock; 0: there was none */
    bool ok;
    char rules_version[VERSION_MAX]; /* of the rules at work, also after a failed reload */
    char error[sizeof(((struct error *)NULL)->text)];
    unsigned long long done, failed;
};

struct health {
    pthread_mutex_t lock;         /* all but the sections */
    pthread_mutex_t section_lock; /* the sections, also while they write */
    char *version;
    int64_t started_ns, started_monotonic_ns;
    struct check *checks;
    size_t count, capacity;
    bool incomplete; /* a check found no room: not ready, for it might have failed */
    struct reload reload;
    struct section *sections;
};

int health_open(struct health **result, const char *version, struct error *err)
{
    struct health *health = calloc(1, sizeof(*health));
    char *copy = strdup(version);
    if (health == NULL || copy == NULL) {
        free(health);
        free(copy);
        return error_set(err, "out of memory");
    }
    pthread_mutex_init(&health->lock, NULL);
    pthread_mutex_init(&health->section_lock, NULL);
    health->version = copy;
    health->started_ns = clock_wall_ns();
    health->started_monotonic_ns = clock_monotonic_ns();
    *result = health;
    return 0;
}

static void free_section(struct section *section)
{
    if (section == NULL)
        return;
    free(section->name);
    free(section);
}

void health_close(struct health *health)
{
    if (health == NULL)
        return;
    while (health->sections != NULL) {
        struct section *section = health->sections;
        health->sections = section->next;
        free_section(section);
    }
    pthread_mutex_destroy(&health->section_lock);
    pthread_mutex_destroy(&health->lock);
    free(health->checks);
    free(health->version);
    free(health);
}

/* ---- checks ---- */

static struct check *find_check(struct health *health, const char *name)
{
    for (size_t i = 0; i < health->count; i++) {
        if (strncmp(health->checks[i].name, name, HEALTH_NAME_MAX - 1) == 0)
            return &health->checks[i];
    }
    return NULL;
}

/* The check of this name, a new one if need be; NULL when there is no room. Under the lock. */
static struct check *want_check(struct health *health, const char *name)
{
    struct check *check = find_check(health, name);
    if (check != NULL)
        return check;
    if (health->count == HEALTH_CHECKS_MAX)
        return NULL;
    if (health->count == health->capacity) {
        size_t capacity = health->capacity + CHECKS_STEP;
        struct check *checks = realloc(health->checks, capacity * sizeof(*checks));
        if (checks == NULL)
            return NULL;
        health->checks = checks;
        health->capacity = capacity;
    }
    check = &health->checks[health->count++];
    memset(check, 0, sizeof(*check));
    snprintf(check->name, sizeof(check->name), "%s", name);
    return check;
}

/* A reason is one line of a page. */
static void put_on_one_line(char *text)
{
    for (char *c = text; *c != '\0'; c++) {
        if ((unsigned char)*c < ' ')
            *c = ' ';
    }
}

static void report(struct health *health, const char *name, bool ok, const char *reason)
{
    pthread_mutex_lock(&health->lock);
    struct check *check = want_check(health, name);
    if (check == NULL) {
        health->incomplete = true;
    } else {
        if (check->since_ns == 0 || check->ok != ok)
            check->since_ns = clock_wall_ns();
        check->ok = ok;
        snprintf(check->reason, sizeof(check->reason), "%s", reason);
        put_on_one_line(check->reason);
    }
    pthread_mutex_unlock(&health->lock);
}

void health_ok(struct health *health, const char *check)
{
    report(health, check, true, "");
}

void health_failed(struct health *health, const char *check, const char *reason, ...)
{
    char text[HEALTH_REASON_MAX];
    va_list args;
    va_start(args, reason);
    vsnprintf(text, sizeof(text), reason, args);
    va_end(args);
    report(health, check, false, text);
}

static bool is_ready(const struct health *health)
{
    bool ready = health->count > 0 && !health->incomplete;
    for (size_t i = 0; i < health->count; i++)
        ready = ready && health->checks[i].ok;
    return ready;
}

bool health_ready(struct health *health)
{
    pthread_mutex_lock(&health->lock);
    bool ready = is_ready(health);
    pthread_mutex_unlock(&health->lock);
    return ready;
}

/* ---- reloads ---- */

void health_reloaded(struct health *health, const char *rules_version)
{
    pthread_mutex_lock(&health->lock);
    struct reload *reload = &health->reload;
    reload->time_ns = clock_wall_ns();
    reload->ok = true;
    reload->done++;
    reload->error[0] = '\0';
    snprintf(reload->rules_version, sizeof(reload->rules_version), "%s", rules_version);
    pthread_mutex_unlock(&health->lock);
}

void health_reload_failed(struct health *health, const char *error)
{
    pthread_mutex_lock(&health->lock);
    struct reload *reload = &health->reload;
    reload->time_ns = clock_wall_ns();
    reload->ok = false;
    reload->failed++;
    snprintf(reload->error, sizeof(reload->error), "%s", error);
    pthread_mutex_unlock(&health->lock);
}

/* ---- sections ---- */

int health_add_section(struct health *health, const char *name,
                       void (*write)(void *context, FILE *out), void *context, struct error *err)
{
    struct section *section = calloc(1, sizeof(*section));
    char *copy = strdup(name);
    if (section == NULL || copy == NULL) {
        free(section);
        free(copy);
        return error_set(err, "out of memory");
    }
    *section = (struct section){.name = copy, .write = write, .context = context};
    pthread_mutex_lock(&health->section_lock);
    struct section **last = &health->sections;
    while (*last != NULL)
        last = &(*last)->next;
    *last = section;
    pthread_mutex_unlock(&health->section_lock);
    return 0;
}

void health_remove_section(struct health *health, const char *name)
{
    pthread_mutex_lock(&health->section_lock);
    struct section **place = &health->sections;
    while (*place != NULL && strcmp((*place)->name, name) != 0)
        place = &(*place)->next;
    struct section *section = *place;
    if (section != NULL)
        *place = section->next;
    pthread_mutex_unlock(&health->section_lock);
    free_section(section);
}

/* ---- pages ---- */

/* Ends a page begun with open_memstream: the text, or NULL when memory was short. */
static char *end_page(FILE *out, char **text)
{
    bool failed = ferror(out) != 0;
    if (fclose(out) == 0 && !failed)
        return *text;
    free(*text);
    return NULL;
}

static void write_plain_time(FILE *out, int64_t ns)
{
    char text[UNITS_TIME_TEXT];
    fputs(units_format_time(ns, 3, text), out);
}

/* A time as a JSON string. */
static void write_time(FILE *out, int64_t ns)
{
    fputc('"', out);
    write_plain_time(out, ns);
    fputc('"', out);
}

/*
 * The old rules go on after a reload that failed, so that is told, but is no reason not to be
 * ready.
 */
static void write_rules_line(FILE *out, const struct reload *reload)
{
    char error[sizeof(reload->error)];
    if (reload->time_ns == 0)
        return;
    fprintf(out, "rules: version %s", reload->rules_version);
    fputs(reload->ok ? ", loaded at " : " goes on; the reload failed at ", out);
    write_plain_time(out, reload->time_ns);
    memcpy(error, reload->error, sizeof(error));
    put_on_one_line(error);
    fprintf(out, "%s%s\n", reload->ok ? "" : ": ", error);
}

char *health_render_ready(struct health *health, bool *ready)
{
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    if (out == NULL)
        return NULL;
    pthread_mutex_lock(&health->lock);
    *ready = is_ready(health);
    if (*ready)
        fputs("ready\n", out);
    if (health->count == 0)
        fputs("starting: nothing has been checked yet\n", out);
    for (size_t i = 0; i < health->count; i++) {
        if (!health->checks[i].ok)
            fprintf(out, "%s: %s\n", health->checks[i].name, health->checks[i].reason);
    }
    if (health->incomplete)
        fputs("health: a check could not be recorded\n", out);
    write_rules_line(out, &health->reload);
    pthread_mutex_unlock(&health->lock);
    return end_page(out, &text);
}

static void write_checks(FILE *out, const struct health *health)
{
    fputs("\"checks\":[", out);
    for (size_t i = 0; i < health->count; i++) {
        const struct check *check = &health->checks[i];
        fputs(i > 0 ? ",{\"name\":" : "{\"name\":", out);
        escape_json(out, check->name);
        fprintf(out, ",\"ok\":%s,\"since\":", check->ok ? "true" : "false");
        write_time(out, check->since_ns);
        if (!check->ok) {
            fputs(",\"reason\":", out);
            escape_json(out, check->reason);
        }
        fputc('}', out);
    }
    fputc(']', out);
}

/* `null` before the first load. */
static void write_reload(FILE *out, const struct reload *reload)
{
    fputs("\"reload\":", out);
    if (reload->time_ns == 0) {
        fputs("null", out);
        return;
    }
    fputs("{\"time\":", out);
    write_time(out, reload->time_ns);
    fprintf(out, ",\"ok\":%s,\"error\":", reload->ok ? "true" : "false");
    if (reload->ok)
        fputs("null", out);
    else
        escape_json(out, reload->error);
    fputs(",\"rules_version\":", out);
    escape_json(out, reload->rules_version);
    fprintf(out, ",\"done\":%llu,\"failed\":%llu}", reload->done, reload->failed);
}

/* Each section writes on its own, so that one that writes nothing leaves the page whole. */
static void write_section(FILE *out, const struct section *section)
{
    char *text = NULL;
    size_t size = 0;
    FILE *own = open_memstream(&text, &size);
    if (own != NULL) {
        section->write(section->context, own);
        text = end_page(own, &text);
    }
    fputc(',', out);
    escape_json(out, section->name);
    fprintf(out, ":%s", text != NULL && text[0] != '\0' ? text : "null");
    free(text);
}

char *health_render_status(struct health *health)
{
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    if (out == NULL)
        return NULL;
    pthread_mutex_lock(&health->lock);
    fputs("{\"version\":", out);
    escape_json(out, health->version);
    fprintf(out, ",\"ready\":%s,\"started\":", is_ready(health) ? "true" : "false");
    write_time(out, health->started_ns);
    fprintf(out, ",\"uptime_seconds\":%.3f,",
            (double)(clock_monotonic_ns() - health->started_monotonic_ns) / (double)NS_PER_S);
    write_checks(out, health);
    fputc(',', out);
    write_reload(out, &health->reload);
    pthread_mutex_unlock(&health->lock);

    pthread_mutex_lock(&health->section_lock);
    for (const struct section *section = health->sections; section != NULL; section = section->next)
        write_section(out, section);
    pthread_mutex_unlock(&health->section_lock);
    fputs("}\n", out);
    return end_page(out, &text);
}
