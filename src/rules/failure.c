#include "rules/failure.h"

#include <lauxlib.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "rules/json.h"

/* The place in Lua code nearest to the top of the stack: "rules/x.lua:7: ". Returns its length. */
static size_t write_place(lua_State *L, char *text, size_t size)
{
    lua_Debug activation;
    for (int level = 0; lua_getstack(L, level, &activation); level++) {
        lua_getinfo(L, "Sl", &activation);
        if (activation.currentline > 0) {
            int used =
                snprintf(text, size, "%s:%d: ", activation.short_src, activation.currentline);
            return used < 0 ? 0 : (size_t)used;
        }
    }
    text[0] = '\0';
    return 0;
}

/* An error is one line whatever a rule puts into it. */
static void make_one_line(char *text)
{
    size_t length = strlen(text);
    while (length > 0 && (text[length - 1] == '\n' || text[length - 1] == '\r'))
        text[--length] = '\0';
    for (; *text != '\0'; text++)
        if (*text == '\n' || *text == '\r')
            *text = ' ';
}

/* Copies bytes that may hold zeros (shown as '?') and be too long. */
static void copy_cut(char *to, size_t size, const char *from, size_t length)
{
    if (length >= size)
        length = size - 1;
    memcpy(to, from, length);
    to[length] = '\0';
    for (size_t i = 0; i < length; i++)
        if (to[i] == '\0')
            to[i] = '?';
}

void failure_set(struct failure *failure, lua_State *L, const char *format, va_list args)
{
    size_t used = write_place(L, failure->text, sizeof(failure->text));
    vsnprintf(failure->text + used, sizeof(failure->text) - used, format, args);
    make_one_line(failure->text);
    failure->traceback[0] = '\0';
}

/* Replaces `from`, where it stands first, by `to`. */
static void replace(char *text, size_t size, const char *from, const char *to)
{
    char *at = strstr(text, from);
    if (at == NULL)
        return;
    char rest[sizeof(((struct failure *)0)->text)];
    snprintf(rest, sizeof(rest), "%s", at + strlen(from));
    snprintf(at, size - (size_t)(at - text), "%s%s", to, rest);
}

/*
 * Lua's own errors call the JSON null what it is made of: it is the only userdata without a name.
 */
static void name_null(char *text, size_t size)
{
    static const struct {
        const char *lua, *ours;
    } words[] = {
        {"a userdata value", "a JSON null"},         {"two userdata values", "two JSON nulls"},
        {"compare userdata", "compare a JSON null"}, {"with userdata", "with a JSON null"},
        {"got light userdata", "got a JSON null"},   {"value (userdata)", "value (a JSON null)"},
    };
    static const char *const starts[] = {"attempt to ", "bad argument #", "invalid value ("};
    for (size_t i = 0; i < sizeof(starts) / sizeof(starts[0]); i++) {
        char *words_of_lua = strstr(text, starts[i]);
        if (words_of_lua == NULL)
            continue;
        size_t room = size - (size_t)(words_of_lua - text);
        for (size_t j = 0; j < sizeof(words) / sizeof(words[0]); j++)
            replace(words_of_lua, room, words[j].lua, words[j].ours);
        return;
    }
}

/* An error value that says nothing by itself, on the top of the stack. LJMP. */
static void describe(char *text, size_t size, lua_State *L)
{
    const char *type = luaL_typename(L, -1);
    if (!lua_istable(L, -1)) {
        snprintf(text, size, "the error value is a %s, not a message", type);
        return;
    }
    bool encoded = json_encode(L, -1) == 0; /* value text */
    snprintf(text, size, "the error value is a table%s%s", encoded ? ": " : ", not a message",
             encoded ? lua_tostring(L, -1) : "");
    lua_pop(L, 1); /* value */
}

/* Whether an error comes from a C function that Lua code did not call: without a place. */
static bool lacks_place(lua_State *L)
{
    static const char start[] = "attempt to ";
    return strncmp(lua_tostring(L, -1), start, sizeof(start) - 1) == 0;
}

void failure_take_error(struct failure *failure, lua_State *L, lua_State *thread)
{
    char *text = failure->text;
    size_t size = sizeof(failure->text);
    luaL_checkstack(L, 4, NULL);
    lua_xmove(thread, L, 1); /* value */
    int type = lua_type(L, -1);
    if (type != LUA_TSTRING || lacks_place(L)) {
        size_t used = write_place(thread, text, size);
        text += used;
        size -= used;
    }
    if (type != LUA_TSTRING && type != LUA_TNUMBER &&
        luaL_getmetafield(L, -1, "__tostring") == LUA_TNIL) { /* value */
        describe(text, size, L);
        lua_pop(L, 1); /* */
    } else {
        if (type != LUA_TSTRING && type != LUA_TNUMBER)
            lua_pop(L, 1); /* value */
        snprintf(text, size, "the error value's __tostring failed");
        size_t length = 0;
        const char *message = luaL_tolstring(L, -1, &length); /* value message */
        copy_cut(text, size, message, length);
        lua_pop(L, 2); /* */
    }
    make_one_line(failure->text);
    name_null(failure->text, sizeof(failure->text));
}

void failure_take_traceback(struct failure *failure, lua_State *L, lua_State *thread)
{
    luaL_traceback(L, thread, NULL, 0); /* traceback */
    size_t length = 0;
    const char *text = lua_tolstring(L, -1, &length);
    copy_cut(failure->traceback, sizeof(failure->traceback), text, length);
    lua_pop(L, 1); /* */
}
