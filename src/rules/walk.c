#include <stdio.h>
#include <string.h>

#include "rules/lexer.h"
#include "rules/scope.h"
#include "rules/uses.h"

/*
 * One pass of recursive descent. Operators have no precedence here: it makes no difference to
 * names. A function's first parameter is a message when the function turns out to be the on_message
 * of a table, which may be said after it; so its fields are noted with the function's number and
 * sorted out at the end.
 */

enum { DEPTH_MAX = 400 }; /* Lua itself takes 200 levels */

struct walk {
    struct lexer lexer;
    struct token token, next;
    struct uses *uses;
    bool failed;
    int depth;
    int otherwise; /* how many `or` are to the left */
    bool saw_durable;
    struct scope scope;
    size_t functions;              /* how many so far */
    struct function_list handlers; /* those that are on_message */
    struct function_list spoilt;   /* those whose first parameter is given another value */
};

/* What an expression like a.b.c stands for as far as it has been read. */
struct reference {
    enum { REFERS_TO_NOTHING, REFERS_TO_GLOBAL, REFERS_TO_LOCAL } to;
    int line;
    size_t parameter_of; /* of a local */
    char path[USE_PATH_MAX];
};

static void block(struct walk *walk);
static void expression(struct walk *walk);
static size_t function_body(struct walk *walk, bool is_method);

/* --- tokens ----------------------------------------------------------------------------------- */

static void advance(struct walk *walk)
{
    walk->token = walk->next;
    walk->next = lexer_next(&walk->lexer);
}

static bool at(const struct walk *walk, const char *text)
{
    return token_is(&walk->token, text);
}

static bool accept(struct walk *walk, const char *text)
{
    if (!at(walk, text))
        return false;
    advance(walk);
    return true;
}

static void fail(struct walk *walk)
{
    walk->failed = true;
    walk->token.kind = walk->next.kind = TOKEN_END;
    walk->lexer.at = walk->lexer.end; /* so that everything ends */
}

static void expect(struct walk *walk, const char *text)
{
    if (!accept(walk, text))
        fail(walk);
}

static struct token name(struct walk *walk)
{
    struct token token = walk->token;
    if (token.kind != TOKEN_NAME)
        fail(walk);
    else
        advance(walk);
    return token;
}

/* --- notes ------------------------------------------------------------------------------------ */

static void note(struct walk *walk, enum use_kind kind, const char *path, int line, size_t function)
{
    struct use one = {
        .kind = kind, .line = line, .otherwise = walk->otherwise > 0, .function = function};
    snprintf(one.path, sizeof(one.path), "%s", path);
    if (uses_add(walk->uses, &one) != 0)
        fail(walk);
}

/* Declares a local. The place is in `scope`, as items move. */
static size_t declare(struct walk *walk, const struct token *token)
{
    size_t place = walk->scope.count;
    if (scope_declare(&walk->scope, token) == NULL)
        fail(walk);
    if (token_spells(token, "_ENV"))
        walk->uses->any_global = true;
    return place;
}

/* --- references ------------------------------------------------------------------------------- */

static struct reference refer(struct walk *walk, const struct token *token)
{
    struct reference reference = {.to = REFERS_TO_GLOBAL, .line = token->line};
    const struct local *local = scope_find(&walk->scope, token);
    if (local != NULL) {
        reference.to = REFERS_TO_LOCAL;
        reference.parameter_of = local->parameter_of;
    } else if (token_spells(token, "_ENV")) {
        walk->uses->any_global = true;
        reference.to = REFERS_TO_NOTHING;
    } else {
        snprintf(reference.path, sizeof(reference.path), "%.*s", (int)token->size, token->text);
    }
    return reference;
}

/* It is used as a value (`kind` USE_READ, USE_CALL), or gets one (USE_ASSIGN). */
static void use(struct walk *walk, struct reference *reference, enum use_kind kind)
{
    if (reference->to == REFERS_TO_GLOBAL && strcmp(reference->path, "_G") == 0)
        walk->uses->any_global = true;
    else if (reference->to == REFERS_TO_GLOBAL)
        note(walk, kind, reference->path, reference->line, 0);
    else if (reference->to == REFERS_TO_LOCAL && kind == USE_ASSIGN)
        function_list_add(&walk->spoilt, reference->parameter_of);
    reference->to = REFERS_TO_NOTHING;
}

/* `.field` or `:field` behind it. */
static void refer_to_field(struct walk *walk, struct reference *reference,
                           const struct token *field)
{
    char text[USE_PATH_MAX];
    snprintf(text, sizeof(text), "%.*s", (int)field->size, field->text);
    if (reference->to == REFERS_TO_LOCAL) {
        if (reference->parameter_of != 0)
            note(walk, USE_MESSAGE, text, field->line, reference->parameter_of);
        reference->to = REFERS_TO_NOTHING;
    } else if (reference->to == REFERS_TO_GLOBAL) {
        size_t used = strlen(reference->path);
        if (strcmp(reference->path, "_G") == 0)
            snprintf(reference->path, sizeof(reference->path), "%s", text);
        else if (used + field->size + 2 > sizeof(reference->path))
            use(walk, reference, USE_READ);
        else
            snprintf(reference->path + used, sizeof(reference->path) - used, ".%s", text);
        reference->line = field->line;
    }
}

/* --- expressions ------------------------------------------------------------------------------ */

static void expression_list(struct walk *walk)
{
    do
        expression(walk);
    while (accept(walk, ","));
}

/* NAME = value: on_message makes a function a handler. */
static void named_field(struct walk *walk)
{
    struct token key = name(walk);
    size_t function = 0;
    expect(walk, "=");
    walk->saw_durable |= token_spells(&key, "durable");
    if (at(walk, "function")) {
        advance(walk);
        function = function_body(walk, false);
    } else {
        const struct local *local =
            walk->token.kind == TOKEN_NAME ? scope_find(&walk->scope, &walk->token) : NULL;
        bool alone =
            token_is(&walk->next, ",") || token_is(&walk->next, "}") || token_is(&walk->next, ";");
        if (local != NULL && alone)
            function = local->function;
        expression(walk);
    }
    if (token_spells(&key, "on_message") && function != 0)
        function_list_add(&walk->handlers, function);
}

static void table(struct walk *walk)
{
    expect(walk, "{");
    while (!walk->failed && !at(walk, "}")) {
        if (at(walk, "[")) {
            advance(walk);
            expression(walk);
            expect(walk, "]");
            expect(walk, "=");
            expression(walk);
        } else if (walk->token.kind == TOKEN_NAME && token_is(&walk->next, "=")) {
            named_field(walk);
        } else {
            expression(walk);
        }
        if (!accept(walk, ",") && !accept(walk, ";"))
            break;
    }
    expect(walk, "}");
}

/* Whether arguments of a call begin here. */
static bool at_arguments(const struct walk *walk)
{
    return at(walk, "(") || at(walk, "{") || walk->token.kind == TOKEN_STRING;
}

static void arguments(struct walk *walk)
{
    if (walk->token.kind == TOKEN_STRING) {
        advance(walk);
    } else if (at(walk, "{")) {
        table(walk);
    } else {
        expect(walk, "(");
        if (!at(walk, ")"))
            expression_list(walk);
        expect(walk, ")");
    }
}

/* A call of it. */
static void call(struct walk *walk, struct reference *reference)
{
    bool publishes =
        reference->to == REFERS_TO_GLOBAL && strcmp(reference->path, "mill.publish") == 0;
    use(walk, reference, USE_CALL);
    struct token subject = walk->next;
    bool outer = walk->saw_durable;
    walk->saw_durable = false;
    struct lexer ahead = walk->lexer; /* stands behind `next` */
    struct token behind = lexer_next(&ahead);
    bool literal = publishes && at(walk, "(") && subject.kind == TOKEN_STRING && !subject.escapes &&
                   token_is(&behind, ",");
    arguments(walk);
    if (literal && !walk->saw_durable && subject.size < USE_PATH_MAX) {
        char text[USE_PATH_MAX];
        snprintf(text, sizeof(text), "%.*s", (int)subject.size, subject.text);
        note(walk, USE_PUBLISH, text, subject.line, 0);
    }
    walk->saw_durable = outer;
}

/* a.b[c]:d(e) and so on; what it comes to is not used yet. */
static struct reference suffixed(struct walk *walk)
{
    struct reference reference = {.to = REFERS_TO_NOTHING};
    if (accept(walk, "(")) {
        expression(walk);
        expect(walk, ")");
    } else {
        struct token token = name(walk);
        reference = refer(walk, &token);
    }
    while (!walk->failed) {
        if (at(walk, ".") || at(walk, ":")) {
            bool method = at(walk, ":");
            advance(walk);
            struct token field = name(walk);
            refer_to_field(walk, &reference, &field);
            if (method)
                call(walk, &reference);
        } else if (accept(walk, "[")) {
            use(walk, &reference, USE_READ);
            expression(walk);
            expect(walk, "]");
        } else if (at_arguments(walk)) {
            call(walk, &reference);
        } else {
            break;
        }
    }
    return reference;
}

static void operand(struct walk *walk)
{
    while (at(walk, "not") || at(walk, "-") || at(walk, "#") || at(walk, "~"))
        advance(walk);
    if (accept(walk, "function")) {
        function_body(walk, false);
    } else if (at(walk, "{")) {
        table(walk);
    } else if (at(walk, "(") || walk->token.kind == TOKEN_NAME) {
        struct reference reference = suffixed(walk);
        use(walk, &reference, USE_READ);
    } else if (walk->token.kind == TOKEN_STRING || walk->token.kind == TOKEN_NUMBER ||
               at(walk, "nil") || at(walk, "true") || at(walk, "false") || at(walk, "...")) {
        advance(walk);
    } else {
        fail(walk);
    }
}

static bool at_operator(const struct walk *walk)
{
    static const char *const operators[] = {
        "+",  "-",  "*",  "/",   "//", "%", "^", "..", "<",  "<=", ">",
        ">=", "==", "~=", "and", "or", "&", "|", "~",  "<<", ">>"};
    for (size_t i = 0; i < sizeof(operators) / sizeof(operators[0]); i++)
        if (at(walk, operators[i]))
            return true;
    return false;
}

static void expression(struct walk *walk)
{
    int ors = 0;
    if (++walk->depth > DEPTH_MAX)
        fail(walk);
    operand(walk);
    while (!walk->failed && at_operator(walk)) {
        if (at(walk, "or")) {
            walk->otherwise++;
            ors++;
        }
        advance(walk);
        operand(walk);
    }
    walk->otherwise -= ors;
    walk->depth--;
}

/* "(a, b) ... end": returns the function's number. */
static size_t function_body(struct walk *walk, bool is_method)
{
    size_t function = ++walk->functions;
    size_t outside = walk->scope.count;
    int otherwise = walk->otherwise;
    bool first = true;
    walk->otherwise = 0;
    if (is_method) {
        static const struct token self = {.kind = TOKEN_NAME, .text = "self", .size = 4};
        declare(walk, &self);
        first = false;
    }
    expect(walk, "(");
    while (!walk->failed && !at(walk, ")")) {
        if (!accept(walk, "...")) {
            struct token token = name(walk);
            size_t place = declare(walk, &token);
            if (first && !walk->failed)
                walk->scope.items[place].parameter_of = function;
        }
        first = false;
        if (!accept(walk, ","))
            break;
    }
    expect(walk, ")");
    block(walk);
    expect(walk, "end");
    walk->scope.count = outside;
    walk->otherwise = otherwise;
    return function;
}

/* A block with locals of its own, and what ends it. */
static void block_until(struct walk *walk, const char *end)
{
    size_t outside = walk->scope.count;
    block(walk);
    expect(walk, end);
    walk->scope.count = outside;
}

static void if_statement(struct walk *walk)
{
    expression(walk);
    expect(walk, "then");
    for (;;) {
        size_t outside = walk->scope.count;
        block(walk);
        walk->scope.count = outside;
        if (accept(walk, "elseif")) {
            expression(walk);
            expect(walk, "then");
        } else if (!accept(walk, "else")) {
            break;
        }
    }
    expect(walk, "end");
}

/* Declares names, separated by commas, that are not visible yet. */
static void name_list(struct walk *walk)
{
    do {
        struct token token = name(walk);
        size_t place = declare(walk, &token);
        if (walk->failed)
            return;
        walk->scope.items[place].hidden = true;
        if (accept(walk, "<")) { /* <const>, <close> */
            name(walk);
            expect(walk, ">");
        }
    } while (accept(walk, ","));
}

static void show(struct walk *walk, size_t first)
{
    for (size_t i = first; i < walk->scope.count; i++)
        walk->scope.items[i].hidden = false;
}

static void for_statement(struct walk *walk)
{
    size_t outside = walk->scope.count;
    name_list(walk);
    if (!accept(walk, "="))
        expect(walk, "in");
    expression_list(walk);
    expect(walk, "do");
    show(walk, outside);
    block_until(walk, "end");
    walk->scope.count = outside;
}

static void repeat_statement(struct walk *walk)
{
    size_t outside = walk->scope.count;
    block(walk);
    expect(walk, "until");
    expression(walk); /* sees the block's locals */
    walk->scope.count = outside;
}

static void function_statement(struct walk *walk)
{
    struct token token = name(walk);
    struct reference reference = refer(walk, &token);
    bool method = false;
    while (!method && (at(walk, ".") || at(walk, ":"))) {
        method = at(walk, ":");
        advance(walk);
        struct token field = name(walk);
        refer_to_field(walk, &reference, &field);
    }
    use(walk, &reference, USE_ASSIGN);
    function_body(walk, method);
}

static void local_statement(struct walk *walk)
{
    size_t first = walk->scope.count, function = 0;
    if (accept(walk, "function")) {
        struct token token = name(walk);
        declare(walk, &token);
        function = function_body(walk, false);
    } else {
        name_list(walk);
        if (accept(walk, "=")) {
            if (at(walk, "function") && walk->scope.count == first + 1) {
                advance(walk);
                function = function_body(walk, false);
                if (accept(walk, ","))
                    expression_list(walk);
            } else {
                expression_list(walk);
            }
        }
    }
    show(walk, first);
    if (!walk->failed)
        walk->scope.items[first].function = function;
}

/* A call, or an assignment. */
static void expression_statement(struct walk *walk)
{
    struct reference reference = suffixed(walk);
    bool assigns = at(walk, "=") || at(walk, ",");
    use(walk, &reference, assigns ? USE_ASSIGN : USE_READ);
    while (accept(walk, ",")) {
        reference = suffixed(walk);
        use(walk, &reference, USE_ASSIGN);
    }
    if (assigns) {
        expect(walk, "=");
        expression_list(walk);
    }
}

static bool at_block_end(const struct walk *walk)
{
    return walk->token.kind == TOKEN_END || at(walk, "end") || at(walk, "else") ||
           at(walk, "elseif") || at(walk, "until");
}

static void return_statement(struct walk *walk)
{
    if (!at_block_end(walk) && !at(walk, ";"))
        expression_list(walk);
    accept(walk, ";");
}

static void statement(struct walk *walk)
{
    if (accept(walk, ";") || accept(walk, "break"))
        return;
    if (accept(walk, "if")) {
        if_statement(walk);
    } else if (accept(walk, "while")) {
        expression(walk);
        expect(walk, "do");
        block_until(walk, "end");
    } else if (accept(walk, "do")) {
        block_until(walk, "end");
    } else if (accept(walk, "for")) {
        for_statement(walk);
    } else if (accept(walk, "repeat")) {
        repeat_statement(walk);
    } else if (accept(walk, "function")) {
        function_statement(walk);
    } else if (accept(walk, "local")) {
        local_statement(walk);
    } else if (accept(walk, "return")) {
        return_statement(walk);
    } else if (accept(walk, "goto")) {
        name(walk);
    } else if (accept(walk, "::")) {
        name(walk);
        expect(walk, "::");
    } else {
        expression_statement(walk);
    }
}

static void block(struct walk *walk)
{
    if (++walk->depth > DEPTH_MAX)
        fail(walk);
    while (!at_block_end(walk))
        statement(walk);
    walk->depth--;
}

/* --- the whole -------------------------------------------------------------------------------- */

int uses_read(struct uses *uses, const char *source, size_t size)
{
    struct walk walk = {.uses = uses};
    size_t first = uses->count;
    lexer_start(&walk.lexer, source, size);
    advance(&walk);
    advance(&walk);
    block(&walk);
    if (walk.lexer.at < walk.lexer.end || walk.token.kind != TOKEN_END)
        walk.failed = true;
    uses_keep_messages(uses, first, &walk.handlers, &walk.spoilt);
    if (walk.failed)
        uses->count = first;
    scope_free(&walk.scope);
    return walk.failed ? -1 : 0;
}
