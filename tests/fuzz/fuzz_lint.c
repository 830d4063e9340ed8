/*
 * The look at a rule's source that does not run it: whatever Lua compiles is understood, every
 * token is a part of the source and in order, and a finding names a line that there is.
 */
#include "rules/lint.h"

#include <lauxlib.h>
#include <unistd.h>

#include "fuzz.h"
#include "rules/engine.h"
#include "rules/lexer.h"
#include "rules/ruleset.h"
#include "rules/uses.h"
#include "rules/vocabulary.h"

static int lines; /* of the source */

/* The words of rules, from an engine without one. */
static struct vocabulary *read_vocabulary(void)
{
    char dir[] = "/tmp/tidemill-fuzz-XXXXXX";
    struct ruleset *ruleset = NULL;
    struct engine *engine = NULL;
    struct vocabulary *vocabulary = NULL;
    const struct engine_options options = {.worker_count = 1};
    must(mkdtemp(dir) != NULL && ruleset_read(&ruleset, dir, NULL) == 0 && rmdir(dir) == 0);
    must(engine_open(&engine, ruleset, &options, NULL) == 0);
    must(vocabulary_open(&vocabulary, engine, NULL) == 0);
    engine_close(engine);
    ruleset_release(ruleset);
    return vocabulary;
}

static void check_tokens(const char *source, size_t size)
{
    struct lexer lexer;
    const char *at = source;
    int line = 1;
    lexer_start(&lexer, source, size);
    for (struct token token; (token = lexer_next(&lexer)).kind != TOKEN_END;) {
        must(token.text >= at && token.size <= (size_t)(source + size - token.text));
        must(token.size > 0 || token.kind == TOKEN_STRING);
        must(token.line >= line && token.line <= lines);
        at = token.text + token.size;
        line = token.line;
    }
}

static void check_uses(const char *source, size_t size, bool compiles)
{
    struct uses uses = {.count = 0};
    int status = uses_read(&uses, source, size);
    must(status == 0 || (!compiles && uses.count == 0));
    for (size_t i = 0; i < uses.count; i++) {
        const struct use *use = &uses.items[i];
        must(use->kind <= USE_PUBLISH && use->line >= 1 && use->line <= lines);
        must(memchr(use->path, '\0', sizeof(use->path)) != NULL);
        must(*use->path != '\0' || use->kind == USE_PUBLISH);
    }
    uses_free(&uses);
}

static void check_place(void *context, const char *path, int line, const char *subject)
{
    (void)context;
    must(strcmp(path, "rules/x.lua") == 0 && line >= 1 && line <= lines && subject != NULL);
}

static void check_finding(void *context, const char *path, int line, const char *text)
{
    check_place(context, path, line, text);
    must(*text != '\0' && strpbrk(text, "\r\n") == NULL);
}

static bool compiles(const char *source, size_t size)
{
    lua_State *L = luaL_newstate();
    bool good = luaL_loadbufferx(L, source, size, "@x", "t") == LUA_OK;
    lua_close(L);
    return good;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct vocabulary *vocabulary;
    if (vocabulary == NULL)
        vocabulary = read_vocabulary();
    char *source = copy_text(data, size);
    lines = 1;
    for (size_t i = 0; i < size; i++)
        lines += source[i] == '\n' || source[i] == '\r';
    check_tokens(source, size);
    check_uses(source, size, compiles(source, size));
    const struct rule_file file = {
        .name = "x", .path = "rules/x.lua", .source = source, .size = size};
    struct lint *lint = lint_new();
    must(lint != NULL && lint_read(lint, &file) == 0);
    lint_judge(lint, vocabulary, check_finding, NULL);
    lint_each_publish(lint, check_place, NULL);
    lint_free(lint);
    free(source);
    return 0;
}
