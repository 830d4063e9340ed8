#include "rules/lexer.h"

#include <ctype.h>
#include <string.h>

static const char *const keywords[] = {"and",   "break", "do",       "else", "elseif", "end",
                                       "false", "for",   "function", "goto", "if",     "in",
                                       "local", "nil",   "not",      "or",   "repeat", "return",
                                       "then",  "true",  "until",    "while"};

/* Signs of more than one character, the longer ones first. */
static const char *const long_signs[] = {
    "...", "..", "==", "~=", "<=", ">=", "//", "::", "<<", ">>"};

void lexer_start(struct lexer *lexer, const char *source, size_t size)
{
    *lexer = (struct lexer){.at = source, .end = source + size, .line = 1};
    if (size > 0 && source[0] == '#') /* "#!/usr/bin/lua" */
        while (lexer->at < lexer->end && *lexer->at != '\n')
            lexer->at++;
}

static char peek(const struct lexer *lexer, size_t offset)
{
    return (size_t)(lexer->end - lexer->at) > offset ? lexer->at[offset] : '\0';
}

static void step(struct lexer *lexer)
{
    if (*lexer->at++ == '\n')
        lexer->line++;
}

/* The number of = in "[==[", -1 when there is no long bracket here. */
static int bracket_level(const struct lexer *lexer)
{
    size_t level = 0;
    if (peek(lexer, 0) != '[')
        return -1;
    while (peek(lexer, 1 + level) == '=')
        level++;
    return peek(lexer, 1 + level) == '[' ? (int)level : -1;
}

/* Steps over "[==[ ... ]==]"; `token` (may be NULL) gets what is inside. False: it does not end. */
static bool skip_long(struct lexer *lexer, int level, struct token *token)
{
    size_t edge = (size_t)level + 2;
    lexer->at += edge;
    const char *inside = lexer->at;
    for (; lexer->at < lexer->end; step(lexer)) {
        size_t signs = 0;
        if (*lexer->at != ']')
            continue;
        while (peek(lexer, 1 + signs) == '=')
            signs++;
        if (signs != (size_t)level || peek(lexer, 1 + signs) != ']')
            continue;
        if (token != NULL) {
            token->text = inside;
            token->size = (size_t)(lexer->at - inside);
        }
        lexer->at += edge;
        return true;
    }
    return false;
}

static void skip_blank(struct lexer *lexer)
{
    while (lexer->at < lexer->end) {
        if (isspace((unsigned char)*lexer->at)) {
            step(lexer);
        } else if (peek(lexer, 0) == '-' && peek(lexer, 1) == '-') {
            lexer->at += 2;
            int level = bracket_level(lexer);
            if (level >= 0)
                skip_long(lexer, level, NULL);
            else
                while (lexer->at < lexer->end && *lexer->at != '\n')
                    lexer->at++;
        } else {
            return;
        }
    }
}

/* "..." or '...': an escape never ends a string. False: it does not end. */
static bool read_quoted(struct lexer *lexer, struct token *token)
{
    char quote = *lexer->at++;
    token->text = lexer->at;
    while (lexer->at < lexer->end && *lexer->at != quote) {
        if (*lexer->at == '\\') {
            token->escapes = true;
            step(lexer);
            if (lexer->at == lexer->end)
                return false;
        }
        step(lexer);
    }
    if (lexer->at == lexer->end)
        return false;
    token->size = (size_t)(lexer->at++ - token->text);
    return true;
}

static void read_number(struct lexer *lexer)
{
    while (lexer->at < lexer->end) {
        char c = *lexer->at;
        bool exponent = strchr("eEpP", c) != NULL;
        if (!isalnum((unsigned char)c) && c != '.' && c != '_')
            return;
        lexer->at++;
        if (exponent && (peek(lexer, 0) == '+' || peek(lexer, 0) == '-'))
            lexer->at++;
    }
}

static void read_name(struct lexer *lexer, struct token *token)
{
    while (isalnum((unsigned char)peek(lexer, 0)) || peek(lexer, 0) == '_')
        lexer->at++;
    token->size = (size_t)(lexer->at - token->text);
    token->kind = TOKEN_KEYWORD;
    for (size_t i = 0; i < sizeof(keywords) / sizeof(keywords[0]); i++)
        if (token_is(token, keywords[i]))
            return;
    token->kind = TOKEN_NAME;
}

static void read_sign(struct lexer *lexer)
{
    for (size_t i = 0; i < sizeof(long_signs) / sizeof(long_signs[0]); i++) {
        size_t size = strlen(long_signs[i]);
        if ((size_t)(lexer->end - lexer->at) >= size &&
            memcmp(lexer->at, long_signs[i], size) == 0) {
            lexer->at += size;
            return;
        }
    }
    lexer->at++;
}

struct token lexer_next(struct lexer *lexer)
{
    skip_blank(lexer);
    struct token token = {.kind = TOKEN_END, .text = lexer->at, .line = lexer->line};
    if (lexer->at >= lexer->end)
        return token;
    unsigned char c = (unsigned char)*lexer->at;
    int level = bracket_level(lexer);
    if (isalpha(c) || c == '_') {
        read_name(lexer, &token);
        return token;
    }
    if (c == '"' || c == '\'' || level >= 0) {
        bool ends = level >= 0 ? skip_long(lexer, level, &token) : read_quoted(lexer, &token);
        token.kind = ends ? TOKEN_STRING : TOKEN_END;
        return token;
    }
    token.kind = TOKEN_SIGN;
    if (isdigit(c) || (c == '.' && isdigit((unsigned char)peek(lexer, 1)))) {
        token.kind = TOKEN_NUMBER;
        read_number(lexer);
    } else {
        read_sign(lexer);
    }
    token.size = (size_t)(lexer->at - token.text);
    return token;
}

bool token_spells(const struct token *token, const char *text)
{
    return strlen(text) == token->size && memcmp(token->text, text, token->size) == 0;
}

bool token_is(const struct token *token, const char *text)
{
    bool may_be = token->kind == TOKEN_KEYWORD || token->kind == TOKEN_SIGN;
    return may_be && token_spells(token, text);
}
