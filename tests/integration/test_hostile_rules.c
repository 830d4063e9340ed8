#include "harness.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hostile/rules.h"
#include "sanitizer.h"

/*
 * All hostile rules in one process, each with a message of its own: the process outlives them, a
 * rule that wants the same messages handles every one, and each message is a dead letter that says
 * what its hostile rule has done.
 */

enum { PATIENCE_MS = 60000 };

static const char config[] =
    "return {\n"
    "  streams = { { name = 'hostile' }, { name = 'out' } },\n"
    "  sources = { { stream = 'hostile', durable = 'mill', ack_wait = '60s', max_deliver = 1 } },\n"
    "  rules = { timeout = '500ms', memory = '48MB' },\n"
    "}";

static const char neighbour[] =
    "return { subjects = { 'hostile.>' }, on_message = function(msg)\n"
    "  assert(string.upper('x') == 'X' and ('x'):upper() == 'X' and getmetatable('') == false)\n"
    "  assert(rawget(_G, 'shared') == nil and mill.json.encode({ 1 }) == '[1]')\n"
    "  mill.publish('out.' .. msg.subject, { size = #msg.raw })\n"
    "end }";

static void install(struct harness *h)
{
    char path[128], file[128];
    harness_stream(h, "hostile", "hostile.>");
    harness_stream(h, "out", "out.>");
    harness_write_file(h, "tidemill.lua", config);
    harness_write_file(h, "rules/neighbour.lua", neighbour);
    for (size_t i = 0; i < HOSTILE_RULES; i++) {
        snprintf(file, sizeof(file), "tests/hostile/%s.lua", hostile_rules[i].name);
        snprintf(path, sizeof(path), "rules/%s.lua", hostile_rules[i].name);
        FILE *source = fopen(harness_source_path(h, file), "r");
        assert_non_null(source);
        char text[4096];
        text[fread(text, 1, sizeof(text) - 1, source)] = '\0';
        fclose(source);
        harness_write_file(h, path, text);
    }
}

static void publish_all(struct harness *h)
{
    static char payload[64 << 10 | 1];
    char subject[128];
    for (size_t i = 0; i < HOSTILE_RULES; i++) {
        size_t letters = (size_t)hostile_rules[i].letters;
        memset(payload, 'x', letters);
        strcpy(payload + letters, letters == 0 ? "{}" : "");
        snprintf(subject, sizeof(subject), "hostile.%s", hostile_rules[i].name);
        harness_publish(h, subject, payload);
    }
}

static bool is_wanted(const char *error, const char *texts)
{
    char wanted[256];
    for (; texts != NULL; texts = strchr(texts, '|')) {
        texts += *texts == '|';
        snprintf(wanted, sizeof(wanted), "%.*s", (int)strcspn(texts, "|"), texts);
        if (strstr(error, wanted) != NULL)
            return true;
    }
    return false;
}

/*
 * Checks the dead letter of one rule. Returns whether it is another end than it should be: on a
 * busy machine time may be over before what is wrong has been reached.
 */
static bool check_letter(struct harness *h, const struct hostile_rule *rule,
                         const struct harness_message *letter)
{
    const char *name = harness_header(letter, "Tidemill-Rule");
    const char *error = harness_header(letter, "Tidemill-Error");
    const char *reason = harness_header(letter, "Tidemill-Reason");
    if (name == NULL || error == NULL || reason == NULL || strcmp(name, rule->name) != 0)
        harness_fail(h, "%s: the dead letter names the rule %s", rule->name,
                     name != NULL ? name : "not at all");
    assert_int_equal(letter->size, rule->letters == 0 ? 2 : rule->letters);
    if (strcmp(reason, "timeout") == 0 && strstr(error, "ran longer") != NULL)
        return rule->reason != NULL && strcmp(rule->reason, "timeout") != 0;
    if (!is_wanted(error, rule->error))
        harness_fail(h, "%s: \"%s\" is not in \"%s\"", rule->name, rule->error, error);
    if (rule->reason != NULL)
        assert_string_equal(reason, rule->reason);
    return false;
}

/* The dead letter of the message of a rule. */
static const struct harness_message *letter_of(struct harness *h,
                                               const struct harness_messages *letters,
                                               const char *name)
{
    for (size_t i = 0; i < letters->count; i++) {
        const char *subject = harness_header(&letters->items[i], "Tidemill-Subject");
        if (subject != NULL && strcmp(subject + strlen("hostile."), name) == 0)
            return &letters->items[i];
    }
    harness_fail(h, "%s has no dead letter", name);
}

static void test_hostile_rules_harm_nobody_else(struct harness *h)
{
    install(h);
    struct process *mill = harness_tidemill(h, "run");
    harness_wait_http(mill, "/readyz", 200, PATIENCE_MS);
    publish_all(h);
    harness_wait_count(h, "dead", HOSTILE_RULES, PATIENCE_MS);
    harness_wait_drained(h, "hostile", "mill", PATIENCE_MS);
    harness_wait_count(h, "out", HOSTILE_RULES, PATIENCE_MS);

    const struct harness_messages *letters = harness_read(h, "dead");
    size_t overtaken = 0;
    for (size_t i = 0; i < HOSTILE_RULES; i++) {
        const struct hostile_rule *rule = &hostile_rules[i];
        overtaken += check_letter(h, rule, letter_of(h, letters, rule->name));
    }
    assert_in_range(overtaken, 0, SANITIZED ? HOSTILE_RULES / 4 : HOSTILE_RULES / 10);
    assert_int_equal(harness_http(mill, "/readyz", NULL), 200);
    harness_stop(mill, PATIENCE_MS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {harness_test(test_hostile_rules_harm_nobody_else)};
    return cmocka_run_group_tests_name("hostile rules", tests, NULL, NULL);
}
