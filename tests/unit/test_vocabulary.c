#include "unit/engine_fixture.h"

#include <ctype.h>
#include <errno.h>

#include "rules/vocabulary.h"

/*
 * The words of the rules' language, and that the program, the definitions for editors
 * (types/mill.lua) and the guide (docs/rules.md) have the same: no more, no fewer.
 */

enum { NAMES_MAX = 512, NAME_SIZE = 64, LINE_SIZE = 1024 };

struct names {
    char items[NAMES_MAX][NAME_SIZE];
    size_t count;
};

static void add_name(struct names *names, const char *prefix, const char *name, size_t size)
{
    char text[NAME_SIZE];
    snprintf(text, sizeof(text), "%s%.*s", prefix, (int)size, name);
    for (char *c = text; *c != '\0'; c++)
        if (*c == ':')
            *c = '.';
    for (size_t i = 0; i < names->count; i++)
        if (strcmp(names->items[i], text) == 0)
            return;
    assert_true(names->count < NAMES_MAX);
    strcpy(names->items[names->count++], text);
}

static bool has_name(const struct names *names, const char *name)
{
    for (size_t i = 0; i < names->count; i++)
        if (strcmp(names->items[i], name) == 0)
            return true;
    return false;
}

/* How many leading characters make a name with dots and colons. */
static size_t name_length(const char *text)
{
    size_t size = 0;
    while (isalnum((unsigned char)text[size]) || text[size] == '_' || text[size] == '.' ||
           text[size] == ':')
        size++;
    return size;
}

/* --- the program ------------------------------------------------------------------------------ */

/* Prints the methods of the objects that are made in Lua. */
static const char lua_objects[] =
    "local made = { window = mill.window { tumbling = 1 }, throttle = mill.throttle { per = 1 },\n"
    "  dedupe = mill.dedupe { within = 1 }, changed = mill.changed { by = 1 } }\n"
    "return { subjects = {'>'}, on_message = function()\n"
    "  for name, object in pairs(made) do\n"
    "    for method in pairs(getmetatable(object)) do\n"
    "      if method:sub(1, 2) ~= '__' then print(name .. '.' .. method) end\n"
    "    end\n"
    "  end\n"
    "end }";

static const char *const starts[] = {"mill.",     "msg.",    "rule.",      "opts.", "timer.",
                                     "counter.",  "gauge.",  "histogram.", "kv.",   "window.",
                                     "throttle.", "dedupe.", "changed."};

/* Whether it is a name of the host, and one that can be used by itself. */
static bool is_documented(const struct vocabulary *vocabulary, const char *name)
{
    for (size_t i = 0; i < sizeof(starts) / sizeof(starts[0]); i++)
        if (strncmp(name, starts[i], strlen(starts[i])) == 0)
            return !vocabulary_is_table(vocabulary, name);
    return false;
}

static struct vocabulary *open_vocabulary(struct fixture *f)
{
    struct vocabulary *vocabulary;
    struct error err;
    if (vocabulary_open(&vocabulary, f->engine, &err) != 0)
        fail_msg("%s", err.text);
    return vocabulary;
}

static void read_program(struct fixture *f, struct names *names)
{
    memset(names, 0, sizeof(*names));
    open_with(f, lua_objects);
    struct vocabulary *vocabulary = open_vocabulary(f);
    for (size_t i = 0; i < vocabulary_size(vocabulary); i++) {
        const char *word = vocabulary_word(vocabulary, i);
        if (is_documented(vocabulary, word))
            add_name(names, "", word, strlen(word));
    }
    vocabulary_close(vocabulary);
    send_message(f, "{}");
    assert_done(f);
    for (char *line = strtok(f->log, "\n"); line != NULL; line = strtok(NULL, "\n"))
        add_name(names, "", line + strlen("info x: "), strlen(line) - strlen("info x: "));
}

/* --- the files -------------------------------------------------------------------------------- */

static FILE *open_source(const char *path)
{
    char full[512];
    const char *folder = getenv("TIDEMILL_SOURCE");
    snprintf(full, sizeof(full), "%s/%s", folder != NULL ? folder : ".", path);
    FILE *file = fopen(full, "r");
    if (file == NULL)
        fail_msg("%s: %s (run the test in the source tree)", full, strerror(errno));
    return file;
}

/* `---@field name type` belongs to the table that is declared next; `function a.b:c(..) end`. */
static void read_types(struct names *names)
{
    char line[LINE_SIZE];
    struct names fields = {0};
    FILE *file = open_source("types/mill.lua");
    memset(names, 0, sizeof(*names));
    while (fgets(line, sizeof(line), file) != NULL) {
        static const char field[] = "---@field ", function[] = "function ", local[] = "local ";
        const char *name = strncmp(line, local, strlen(local)) == 0 ? line + strlen(local) : line;
        if (strncmp(line, "---@class ", strlen("---@class ")) == 0)
            fields.count = 0;
        else if (strncmp(line, field, strlen(field)) == 0 && line[strlen(field)] != '[')
            add_name(&fields, "", line + strlen(field), name_length(line + strlen(field)));
        else if (strncmp(line, function, strlen(function)) == 0)
            add_name(names, "", line + strlen(function), name_length(line + strlen(function)));
        else if (strstr(line, " = {}") != NULL) {
            char prefix[NAME_SIZE];
            snprintf(prefix, sizeof(prefix), "%.*s.", (int)name_length(name), name);
            for (size_t i = 0; i < fields.count; i++)
                add_name(names, prefix, fields.items[i], strlen(fields.items[i]));
            fields.count = 0;
        }
    }
    fclose(file);
}

/* The names in the first cell of a table's row: those in backquotes. */
static void read_cell(struct names *names, const char *row, const char *prefix)
{
    const char *end = strstr(row, " | ");
    assert_non_null(end);
    for (const char *c = strchr(row, '`'); c != NULL && c < end; c = strchr(c, '`')) {
        add_name(names, prefix, c + 1, name_length(c + 1));
        c = strchr(c + 1, '`');
        assert_non_null(c);
        c++;
    }
}

/* The tables whose first heading is call, field, key or opts. */
static void read_guide(struct names *names)
{
    static const struct {
        const char *heading, *prefix;
    } kinds[] = {{"| call |", ""}, {"| field |", ""}, {"| key |", "rule."}, {"| opts |", "opts."}};
    char line[LINE_SIZE];
    const char *prefix = NULL;
    FILE *file = open_source("docs/rules.md");
    memset(names, 0, sizeof(*names));
    while (fgets(line, sizeof(line), file) != NULL) {
        bool heading = false;
        for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
            if (strncmp(line, kinds[i].heading, strlen(kinds[i].heading)) == 0) {
                prefix = kinds[i].prefix;
                heading = true;
            }
        }
        if (line[0] != '|')
            prefix = NULL;
        else if (!heading && prefix != NULL)
            read_cell(names, line, prefix);
    }
    fclose(file);
}

static void compare(const struct names *program, const struct names *other, const char *where)
{
    char text[4096] = "";
    size_t used = 0;
    for (size_t i = 0; i < program->count && used < sizeof(text) - 256; i++)
        if (!has_name(other, program->items[i]))
            used += (size_t)snprintf(text + used, sizeof(text) - used, "  %s: not in %s\n",
                                     program->items[i], where);
    for (size_t i = 0; i < other->count && used < sizeof(text) - 256; i++)
        if (!has_name(program, other->items[i]))
            used +=
                (size_t)snprintf(text + used, sizeof(text) - used,
                                 "  %s: in %s, but not in the program\n", other->items[i], where);
    if (used > 0)
        fail_msg("%s does not have the program's names:\n%s", where, text);
}

/* --- the tests -------------------------------------------------------------------------------- */

static void test_a_vocabulary_has_globals_libraries_host_and_messages(void **state)
{
    struct fixture *f = *state;
    static const char *const words[] = {
        "pairs",          "string.format", "mill",       "mill.publish", "mill.log.warn",
        "mill.json.null", "msg.data",      "msg.retry",  "timer.cancel", "counter.inc",
        "gauge.set",      "kv.get",        "rule.every", "opts.ttl",     "_G"};
    open_handler(f, "");
    struct vocabulary *vocabulary = open_vocabulary(f);
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
        if (!vocabulary_has(vocabulary, words[i]))
            fail_msg("%s is missing", words[i]);
    assert_false(vocabulary_has(vocabulary, "io"));
    assert_false(vocabulary_has(vocabulary, "string.dump"));
    assert_false(vocabulary_has(vocabulary, "mill.json.empty_array"));
    assert_true(vocabulary_is_table(vocabulary, "mill.log"));
    assert_false(vocabulary_is_table(vocabulary, "mill.publish"));
    vocabulary_close(vocabulary);
}

static void test_the_nearest_word_is_one_of_the_same_table(void **state)
{
    struct fixture *f = *state;
    open_handler(f, "");
    struct vocabulary *vocabulary = open_vocabulary(f);
    assert_string_equal(vocabulary_nearest(vocabulary, "mill", "publsh"), "publish");
    assert_string_equal(vocabulary_nearest(vocabulary, "mill.log", "wran"), "warn");
    assert_string_equal(vocabulary_nearest(vocabulary, "", "tostirng"), "tostring");
    assert_null(vocabulary_nearest(vocabulary, "", "publish"));
    assert_null(vocabulary_nearest(vocabulary, "mill", "tostring"));
    vocabulary_close(vocabulary);
}

static void test_the_definitions_for_editors_have_the_program_s_names(void **state)
{
    static struct names program, types;
    read_program(*state, &program);
    read_types(&types);
    compare(&program, &types, "types/mill.lua");
}

static void test_the_guide_has_the_program_s_names(void **state)
{
    static struct names program, guide;
    read_program(*state, &program);
    read_guide(&guide);
    compare(&program, &guide, "docs/rules.md");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        engine_test(test_a_vocabulary_has_globals_libraries_host_and_messages),
        engine_test(test_the_nearest_word_is_one_of_the_same_table),
        engine_test(test_the_definitions_for_editors_have_the_program_s_names),
        engine_test(test_the_guide_has_the_program_s_names),
    };
    return cmocka_run_group_tests_name("vocabulary", tests, NULL, NULL);
}
