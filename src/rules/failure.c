#include "rules/failure.h"

#include <lauxlib.h>
#include <stdio.h>
#include <string.h>

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

void failure_take_error(struct failure *failure, lua_State *L, lua_State *thread)
{
    char *text = failure->text;
    size_t size = sizeof(failure->text);
    luaL_checkstack(L, 4, NULL);
    lua_xmove(thread, L, 1); /* value */
    int type = lua_type(L, -1);
    if (type != LUA_TSTRING) {
        size_t used = write_place(thread, text, size);
        text += used;
        size -= used;
    }
    if (type != LUA_TSTRING && type != LUA_TNUMBER &&
        luaL_getmetafield(L, -1, "__tostring") == LUA_TNIL) { /* value */
        snprintf(text, size, "the error value is a %s, not a message", luaL_typename(L, -1));
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
}

void failure_take_traceback(struct failure *failure, lua_State *L, lua_State *thread)
{
    luaL_traceback(L, thread, NULL, 0); /* traceback */
    size_t length = 0;
    const char *text = lua_tolstring(L, -1, &length);
    copy_cut(failure->traceback, sizeof(failure->traceback), text, length);
    lua_pop(L, 1); /* */
}
