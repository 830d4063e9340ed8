#include "unit/engine_fixture.h"

#include "hostile/rules.h"

/*
 * Each hostile rule, twice, in an engine with a rule that works: its call ends with the error that
 * hostile/rules.h says, and the neighbour never notices.
 */

static const struct hostile_rule *hostile; /* of this test */

static const char neighbour[] =
    "return { subjects = { '>' }, on_message = function(msg)\n"
    "  assert(rawget(_G, 'shared') == nil and string.upper('x') == 'X' and ('x'):upper() == 'X')\n"
    "  assert(table.concat({ 1, 2 }, ',') == '1,2' and math.floor(1.5) == 1)\n"
    "  assert(getmetatable('') == false and mill.json.encode({ 1 }) == '[1]')\n"
    "  assert(mill.json.decode('[]').x == nil and require('cjson').encode({ 1 }) == '[1]')\n"
    "  assert(('k=v'):match('(%w+)=(%w+)') == 'k')\n"
    "  mill.publish('out.neighbour', { subject = msg.subject })\n"
    "end }";

static int setup(void **state)
{
    hostile = *state;
    return fixture_setup(state);
}

/*
 * The text of tests/hostile/NAME.lua; the tests run in the source tree, else TIDEMILL_SOURCE says.
 */
static void read_hostile(char *text, size_t size)
{
    const char *source = getenv("TIDEMILL_SOURCE");
    char path[512];
    snprintf(path, sizeof(path), "%s/tests/hostile/%s.lua", source != NULL ? source : ".",
             hostile->name);
    FILE *file = fopen(path, "r");
    if (file == NULL)
        fail_msg("%s cannot be read", path);
    size_t used = fread(text, 1, size - 1, file);
    text[used] = '\0';
    fclose(file);
}

/* Whether the error has one of the texts, with | between, in it. */
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

static void provoke(struct fixture *f, const char *payload)
{
    size_t ends = f->end_count;
    send_to(f, hostile->name, "hostile.x", payload);
    assert_int_equal(f->end_count, ends + 1);
    const struct end *end = last_end(f);
    if (end->outcome != OUTCOME_ERROR && end->outcome != OUTCOME_REJECT)
        fail_msg("%s has come to its end", hostile->name);
    if (!is_wanted(end->error, hostile->error))
        fail_msg("\"%s\" is not in \"%s\"", hostile->error, end->error);
    assert_null(strchr(end->error, '\n'));
    if (hostile->reason != NULL)
        assert_string_equal(cause_name(end->cause), hostile->reason);
    assert_int_equal(end->output_count, 0);
}

static void check_neighbour(struct fixture *f)
{
    send_to(f, "neighbour", "hostile.x", "{}");
    assert_done(f);
    assert_int_equal(last_end(f)->output_count, 1);
}

static void test_hostile_rule(void **state)
{
    struct fixture *f = *state;
    static char text[4096], payload[64 << 10 | 1];
    bool is_stopped = strstr(hostile->error, "ran longer") != NULL;
    f->options.limits.timeout_ns = is_stopped ? NS_PER_S / 10 : 60 * NS_PER_S;
    f->options.host.max_payload = 1 << 20;
    read_hostile(text, sizeof(text));
    write_rule(f, hostile->name, text);
    write_rule(f, "neighbour", neighbour);
    open_engine(f);
    memset(payload, 'x', (size_t)hostile->letters);
    strcpy(payload + hostile->letters, hostile->letters == 0 ? "{}" : "");
    for (int turn = 0; turn < 2; turn++) {
        provoke(f, payload);
        check_neighbour(f);
    }
    assert_true(engine_memory(f->engine) < (size_t)f->options.limits.memory);
}

int main(void)
{
    struct CMUnitTest tests[HOSTILE_RULES] = {{0}};
    for (size_t i = 0; i < HOSTILE_RULES; i++)
        tests[i] = (struct CMUnitTest){.name = hostile_rules[i].name,
                                       .test_func = test_hostile_rule,
                                       .setup_func = setup,
                                       .teardown_func = fixture_teardown,
                                       .initial_state = (void *)(uintptr_t)&hostile_rules[i]};
    return cmocka_run_group_tests_name("hostile rules", tests, NULL, NULL);
}
