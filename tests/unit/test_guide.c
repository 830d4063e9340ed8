#include "unit/engine_fixture.h"

#include <errno.h>
#include <lauxlib.h>
#include <lualib.h>

#include "rules/json.h"
#include "rules/testing.h"

/*
 * Runs the examples of docs/rules.md and README.md. Every block of Lua there has a comment before
 * it (not visible in the page) that says what it is:
 *
 *     <!-- run too_hot                                        a rule; what goes in and comes out:
 *     answer {"price":5}                                      the next mill.request is answered so
 *     in sensors.value {"value":95}                           a message
 *     wait 10                                                 seconds pass
 *     out alerts.too_hot {"value":95}                         what was published, and so on
 *     log info text
 *     retry 30
 *     reject rules/too_hot.lua:3: no value
 *     error rules/too_hot.lua:3: ...
 *     -->
 *     <!-- file lib/units.lua -->                             a file that later examples may use
 *     <!-- test door_test.lua -->                             tests of a rule before it, which pass
 *
 * The lines in the comment must be what happens, in this order. (JSON is compared with its keys
 * sorted.)
 */

enum { TEXT_SIZE = 16384, NAME_SIZE = 128 };

struct example {
    const char *page;
    int line;
    bool is_rule, is_test;
    char name[NAME_SIZE];
    char script[TEXT_SIZE]; /* the lines of the comment */
    char source[TEXT_SIZE];
};

struct run {
    struct fixture *f;
    const struct example *example;
    char answer[512];         /* to the next request */
    char key[64], value[512]; /* what the bucket holds */
    uint64_t revision;        /* 0: nothing */
    lua_State *L;             /* to sort keys with */
    char transcript[TEXT_SIZE];
    size_t ends, logged; /* of what the fixture has seen, those in the transcript */
};

static struct run run;

/* --- the host --------------------------------------------------------------------------------- */

static int answer_request(void *context, struct engine *engine, uint64_t wait, const char *subject,
                          const char *payload, size_t payload_size, struct error *err)
{
    (void)context, (void)subject, (void)payload, (void)payload_size;
    if (run.answer[0] == '\0')
        return error_set(err, "the example has no answer line for this request");
    struct reply reply = {.payload = run.answer, .payload_size = strlen(run.answer)};
    if (run.answer[0] != '{')
        reply = (struct reply){.error = run.answer};
    engine_reply(engine, wait, &reply);
    run.answer[0] = '\0';
    return 0;
}

/* A bucket that remembers one key. */
static int ask_bucket(void *context, struct engine *engine, uint64_t wait,
                      const struct kv_request *request, struct error *err)
{
    (void)context, (void)err;
    struct reply reply = {.revision = run.revision};
    bool there = run.revision > 0 && strcmp(run.key, request->key) == 0;
    if (request->operation == KV_GET && there) {
        reply.payload = run.value;
        reply.payload_size = strlen(run.value);
    } else if (request->operation == KV_CREATE && there) {
        reply.error = "exists";
    } else if (request->operation == KV_UPDATE && request->revision != run.revision) {
        reply.error = "wrong revision";
    } else if (request->operation == KV_CREATE || request->operation == KV_UPDATE) {
        FIXTURE_COPY(run.key, request->key);
        fixture_copy(run.value, sizeof(run.value), request->value, request->size);
        reply.revision = ++run.revision;
    }
    engine_reply(engine, wait, &reply);
    return 0;
}

/* A clock that goes with the fixture's. */
static int64_t wall_clock(void *context)
{
    return INT64_C(1700000000) * NS_PER_S + ((struct fixture *)context)->now_ns;
}

/* --- what happened ---------------------------------------------------------------------------- */

static void note(const char *format, ...) __attribute__((format(printf, 1, 2)));

static void note(const char *format, ...)
{
    size_t used = strlen(run.transcript);
    va_list args;
    va_start(args, format);
    vsnprintf(run.transcript + used, sizeof(run.transcript) - used, format, args);
    va_end(args);
}

/* Writes JSON with sorted keys; a text that is none stays as it is. */
static const char sort_keys[] =
    "local json = ...\n"
    "local function sorted(v)\n"
    "  if type(v) ~= 'table' then return json.encode(v) end\n"
    "  local parts, is_array = {}, getmetatable(v) == json.array_mt\n"
    "  for key, value in pairs(v) do\n"
    "    parts[#parts + 1] = (is_array and '' or json.encode(key) .. ':') .. sorted(value)\n"
    "  end\n"
    "  if not is_array then table.sort(parts) end\n"
    "  local inside = table.concat(parts, ',')\n"
    "  return is_array and '[' .. inside .. ']' or '{' .. inside .. '}'\n"
    "end\n"
    "return function(text)\n"
    "  local ok, value = pcall(json.decode, text)\n"
    "  return ok and sorted(value) or text\n"
    "end\n";

static void open_sorter(void)
{
    run.L = luaL_newstate();
    assert_non_null(run.L);
    luaL_openlibs(run.L);
    json_open(run.L);
    assert_int_equal(luaL_loadstring(run.L, sort_keys), LUA_OK); /* chunk */
    json_push_library(run.L);                                    /* chunk json */
    assert_int_equal(lua_pcall(run.L, 1, 1, 0), LUA_OK);         /* sorted */
}

static void note_output(const char *subject, const char *payload)
{
    lua_pushvalue(run.L, 1);                             /* sorted */
    lua_pushstring(run.L, payload);                      /* sorted payload */
    assert_int_equal(lua_pcall(run.L, 1, 1, 0), LUA_OK); /* text */
    note("out %s %s\n", subject, lua_tostring(run.L, -1));
    lua_pop(run.L, 1); /* */
}

/* "rules/x.lua:3: ..." instead of the temporary folder's name. */
static const char *without_folder(const char *text, char *out, size_t size)
{
    size_t length = strlen(run.f->dir);
    if (strncmp(text, run.f->dir, length) != 0)
        return text;
    snprintf(out, size, "rules%s", text + length);
    return out;
}

static void note_end(const struct end *end)
{
    char text[2200];
    for (size_t i = 0; i < end->output_count; i++)
        note_output(end->outputs[i].subject, end->outputs[i].payload);
    if (end->outcome == OUTCOME_RETRY)
        note("retry %g\n", (double)end->retry_ns / NS_PER_S);
    else if (end->outcome == OUTCOME_REJECT)
        note("reject %s\n", without_folder(end->error, text, sizeof(text)));
    else if (end->outcome == OUTCOME_ERROR)
        note("error %s\n", without_folder(end->error, text, sizeof(text)));
}

/* Adds what is new to the transcript. */
static void note_news(void)
{
    struct fixture *f = run.f;
    char name[NAME_SIZE + 2];
    snprintf(name, sizeof(name), "%s: ", run.example->name);
    for (char *line = f->log + run.logged; *line != '\0';) {
        char *end = strchr(line, '\n');
        const char *text = strstr(line, name);
        assert_non_null(text);
        note("log %.*s%.*s\n", (int)(text - line), line, (int)(end - (text + strlen(name))),
             text + strlen(name));
        line = end + 1;
        run.logged = (size_t)(line - f->log);
    }
    for (; run.ends < f->end_count; run.ends++)
        note_end(&f->ends[run.ends % ENDS_MAX]);
}

/* Does what a line of the script says; lines about what comes out are only expectations. */
static void play(const char *line)
{
    struct rule *wanted[8];
    char subject[256];
    int used = 0;
    if (strncmp(line, "answer ", 7) == 0) {
        FIXTURE_COPY(run.answer, line + 7);
        note("%s\n", line);
    } else if (strncmp(line, "wait ", 5) == 0) {
        note("%s\n", line);
        advance(run.f, strtod(line + 5, NULL));
    } else if (sscanf(line, "in %255s %n", subject, &used) == 1) {
        note("%s\n", line);
        if (engine_match(run.f->engine, subject, wanted, 8) == 0)
            note("unmatched\n");
        else
            send_to(run.f, run.example->name, subject, line + used);
    }
    note_news();
}

/* Makes the script itself, written in the same way, the transcript. */
static void note_script(const char *text)
{
    char script[TEXT_SIZE], subject[256];
    strcpy(script, text);
    run.transcript[0] = '\0';
    for (char *line = strtok(script, "\n"); line != NULL; line = strtok(NULL, "\n")) {
        int used = 0;
        if (sscanf(line, "out %255s %n", subject, &used) == 1 && used > 0)
            note_output(subject, line + used);
        else
            note("%s\n", line);
    }
}

static void run_rule(const struct example *example)
{
    char script[TEXT_SIZE], seen[TEXT_SIZE];
    write_rule(run.f, example->name, example->source);
    open_engine(run.f);
    run.example = example;
    run.transcript[0] = '\0';
    run.ends = run.f->end_count;
    run.logged = strlen(run.f->log);
    strcpy(script, example->script);
    for (char *line = strtok(script, "\n"); line != NULL; line = strtok(NULL, "\n"))
        play(line);
    strcpy(seen, run.transcript);
    note_script(example->script);
    if (strcmp(run.transcript, seen) != 0)
        fail_msg("%s:%d: %s does something else than the comment says:\n%s\nThe comment:\n%s",
                 example->page, example->line, example->name, seen, run.transcript);
    engine_close(run.f->engine);
    run.f->engine = NULL;
    run.f->log[0] = '\0';
    run.f->end_count = 0;
    char path[256];
    snprintf(path, sizeof(path), "%s/%s.lua", run.f->dir, example->name);
    assert_int_equal(remove(path), 0);
}

static void check_result(void *context, const struct test_result *result)
{
    size_t *passed = context;
    if (result->outcome == TEST_FAILED)
        fail_msg("%s:%d: %s: %s", run.example->page, run.example->line, result->name,
                 result->message);
    ++*passed;
}

static void run_tests_of(const struct example *example)
{
    char path[256];
    size_t passed = 0;
    const struct testing_options options = {.report = check_result, .context = &passed};
    write_rule(run.f, example->name, example->source);
    snprintf(path, sizeof(path), "%s/%s.lua", run.f->dir, example->name);
    run.example = example;
    testing_run(path, &options);
    assert_true(passed > 0);
}

/* --- the pages -------------------------------------------------------------------------------- */

static void append(char *text, const char *line)
{
    assert_true(strlen(text) + strlen(line) < TEXT_SIZE);
    strcat(text, line);
}

/* The first line of a comment: false when it is none about an example. */
static bool begin_example(struct example *example, const char *line)
{
    char name[NAME_SIZE] = "";
    example->is_rule = sscanf(line, "<!-- run %127s", name) == 1;
    example->is_test = !example->is_rule && sscanf(line, "<!-- test %127s", name) == 1;
    if (!example->is_rule && !example->is_test && sscanf(line, "<!-- file %127s", name) != 1)
        return false;
    char *suffix = strstr(name, ".lua");
    if (suffix != NULL)
        *suffix = '\0';
    strcpy(example->name, name);
    example->script[0] = example->source[0] = '\0';
    return true;
}

/* Reads the next example. False at the end of the page. */
static bool next_example(FILE *file, struct example *example)
{
    char line[1024];
    enum { OUTSIDE, COMMENT, BETWEEN, SOURCE } at = OUTSIDE;
    while (fgets(line, sizeof(line), file) != NULL) {
        example->line++;
        bool fence = strncmp(line, "```", 3) == 0;
        if (at == OUTSIDE && begin_example(example, line))
            at = strstr(line, "-->") != NULL ? BETWEEN : COMMENT;
        else if (at == COMMENT && strncmp(line, "-->", 3) == 0)
            at = BETWEEN;
        else if (at == COMMENT)
            append(example->script, line);
        else if (fence && at == SOURCE)
            return true;
        else if (at == BETWEEN && strcmp(line, "```lua\n") == 0)
            at = SOURCE;
        else if (at == SOURCE)
            append(example->source, line);
        else if (at == BETWEEN || strncmp(line, "```lua", 6) == 0)
            fail_msg("%s:%d: a block of Lua has a comment right before it that says how to run it "
                     "(tests/unit/test_guide.c)",
                     example->page, example->line);
    }
    assert_int_equal(at, OUTSIDE);
    return false;
}

static FILE *open_page(const char *page)
{
    char path[512];
    const char *folder = getenv("TIDEMILL_SOURCE");
    snprintf(path, sizeof(path), "%s/%s", folder != NULL ? folder : ".", page);
    FILE *file = fopen(path, "r");
    if (file == NULL)
        fail_msg("%s: %s (run the test in the source tree)", path, strerror(errno));
    return file;
}

/* Runs all examples of a page; how many. */
static size_t run_page(struct fixture *f, const char *page)
{
    static struct example example;
    FILE *file = open_page(page);
    memset(&run, 0, sizeof(run));
    memset(&example, 0, sizeof(example));
    run.f = f;
    open_sorter();
    f->options.host.request = answer_request;
    f->options.host.kv = ask_bucket;
    f->options.host.wall_ns = wall_clock;
    example.page = page;
    size_t count = 0;
    for (; next_example(file, &example); count++) {
        if (example.is_rule)
            run_rule(&example);
        else if (example.is_test)
            run_tests_of(&example);
        else
            write_rule(f, example.name, example.source);
    }
    fclose(file);
    lua_close(run.L);
    return count;
}

static void test_every_example_of_the_guide_does_what_it_says(void **state)
{
    assert_true(run_page(*state, "docs/rules.md") >= 10);
}

static void test_the_rule_in_the_readme_does_what_it_says(void **state)
{
    assert_true(run_page(*state, "README.md") >= 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        engine_test(test_every_example_of_the_guide_does_what_it_says),
        engine_test(test_the_rule_in_the_readme_does_what_it_says),
    };
    return cmocka_run_group_tests_name("guide", tests, NULL, NULL);
}
