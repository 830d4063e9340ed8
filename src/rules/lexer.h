#ifndef TIDEMILL_RULES_LEXER_H
#define TIDEMILL_RULES_LEXER_H

#include <stdbool.h>
#include <stddef.h>

/*
 * The tokens of a Lua 5.4 source, for looking at rules without running them. Knows what a token is
 * and nothing about grammar; meant for sources that Lua itself has accepted. Points into the
 * source, allocates nothing.
 */

enum token_kind {
    TOKEN_END, /* of the source, or of what can be understood */
    TOKEN_NAME,
    TOKEN_KEYWORD, /* "end", "local", ... */
    TOKEN_STRING,  /* `text` is what stands between the quotes or brackets */
    TOKEN_NUMBER,
    TOKEN_SIGN /* "+", "==", "...", "::", ... */
};

struct token {
    enum token_kind kind;
    const char *text;
    size_t size;
    int line;
    bool escapes; /* a string with backslashes in it */
};

struct lexer {
    const char *at, *end;
    int line;
};

void lexer_start(struct lexer *lexer, const char *source, size_t size);
struct token lexer_next(struct lexer *lexer);

/* Whether its text is this, whatever its kind. */
bool token_spells(const struct token *token, const char *text);

/* Whether it is this keyword or sign. */
bool token_is(const struct token *token, const char *text);

#endif
