#include "rules/pattern_library.h"

#include <lauxlib.h>
#include <string.h>

#include "rules/limits.h"
#include "rules/pattern.h"

/*
 * A search is one call of find, match or gsub, or all of a gmatch: a subject, a pattern, and the
 * matcher. Its strings are held by the stack, or by the upvalues of gmatch's iterator.
 */
struct search {
    struct pattern matcher;
    const char *text; /* the pattern, without the anchor */
    size_t text_size;
    bool anchored;
    int64_t budget;         /* steps that are left behind what is in the fuel */
    const char *at;         /* gmatch and gsub: where to go on */
    const char *last_match; /* its end: an empty match there does not count */
    lua_State *L;
};

enum {
    FUEL = 8192,              /* steps between two charges */
    PATTERN_IN_ERROR_MAX = 60 /* bytes of the pattern that an error shows */
};

/* --- the budget: all LJMP --------------------------------------------------------------------- */

/* The matcher is out of fuel: charges what it has used, and gives it more. */
static bool refuel(struct pattern *matcher, void *context)
{
    struct search *search = context;
    lua_State *L = search->L;
    search->budget += matcher->fuel; /* below 0: it has spent more than it had */
    if (search->budget <= 0) {
        const char *start = search->anchored ? search->text - 1 : search->text;
        size_t size = (size_t)(matcher->end - start);
        luaL_checkstack(L, 4, NULL);
        lua_pushlstring(L, start, size < PATTERN_IN_ERROR_MAX ? size : PATTERN_IN_ERROR_MAX);
        luaL_error(L, "pattern too expensive: %s%s on %I bytes", lua_tostring(L, -1),
                   size > PATTERN_IN_ERROR_MAX ? "..." : "",
                   (lua_Integer)(matcher->subject_end - matcher->subject));
    }
    limits_charge(L, (size_t)(FUEL - matcher->fuel));
    matcher->fuel = FUEL;
    search->budget -= FUEL;
    return true;
}

/* Puts in fuel for one call. */
static void start(lua_State *L, struct search *search)
{
    struct pattern *matcher = &search->matcher;
    search->L = L;
    search->budget = PATTERN_STEPS_BASE - FUEL +
                     (int64_t)PATTERN_STEPS_PER_BYTE * (matcher->subject_end - matcher->subject);
    matcher->fuel = FUEL;
    matcher->look = refuel;
    matcher->context = search;
}

/* The call is over, or about to call the rule's code: charges the rest. */
static void settle(lua_State *L, struct search *search)
{
    limits_charge(L, (size_t)(FUEL - search->matcher.fuel));
    search->budget += search->matcher.fuel - FUEL;
    search->matcher.fuel = FUEL;
}

/* Sets a search up with the subject, index 1, and the pattern, index 2. */
static void prepare(lua_State *L, struct search *search, bool may_be_anchored)
{
    size_t size = 0;
    const char *subject = luaL_checklstring(L, 1, &size);
    search->text = luaL_checklstring(L, 2, &search->text_size);
    search->anchored = may_be_anchored && *search->text == '^';
    if (search->anchored) {
        search->text++;
        search->text_size--;
    }
    search->at = subject;
    search->last_match = NULL;
    pattern_init(&search->matcher, subject, size, search->text, search->text_size);
    start(L, search);
}

/*
 * The next match from search->at on, an empty one right behind the last match excepted, or the one
 * at search->at when the search is anchored. Moves search->at to its beginning and returns its end;
 * NULL: there is none. A fault of the pattern becomes a Lua error.
 */
static const char *next_match(lua_State *L, struct search *search)
{
    struct pattern *matcher = &search->matcher;
    const char *end = search->anchored
                          ? pattern_match(matcher, search->at, search->text)
                          : pattern_search(matcher, &search->at, search->text, search->last_match);
    if (matcher->stopped)
        luaL_error(L, "%s", matcher->error);
    return end;
}

/* --- captures: all LJMP ----------------------------------------------------------------------- */

/*
 * Pushes capture `index`, from 0; without any captures, 0 is the whole match from `start` to `end`.
 */
static void push_capture(lua_State *L, const struct search *search, int index, const char *start_at,
                         const char *end)
{
    const struct pattern *matcher = &search->matcher;
    if (index >= matcher->level) {
        if (index != 0)
            luaL_error(L, "invalid capture index %%%d", index + 1);
        lua_pushlstring(L, start_at, (size_t)(end - start_at)); /* whole */
        return;
    }
    const struct pattern_capture *capture = &matcher->captures[index];
    if (capture->size == PATTERN_OPEN)
        luaL_error(L, "unfinished capture");
    else if (capture->size == PATTERN_POSITION)
        lua_pushinteger(L, capture->start - matcher->subject + 1); /* position */
    else
        lua_pushlstring(L, capture->start, (size_t)capture->size); /* capture */
}

/* Pushes all captures, or the whole match when there are none. Returns how many. */
static int push_captures(lua_State *L, const struct search *search, const char *start_at,
                         const char *end)
{
    int count = search->matcher.level == 0 ? 1 : search->matcher.level;
    luaL_checkstack(L, count, "too many captures");
    for (int i = 0; i < count; i++)
        push_capture(L, search, i, start_at, end); /* captures */
    return count;
}

/* --- find, match: all LJMP -------------------------------------------------------------------- */

/* The argument `init` at `index`, as an offset; beyond the end of the subject: size + 1. */
static size_t check_init(lua_State *L, int index, size_t size)
{
    lua_Integer init = luaL_optinteger(L, index, 1);
    if (init > 0)
        return (lua_Unsigned)init - 1 > size ? size + 1 : (size_t)init - 1;
    if (init == 0 || init < -(lua_Integer)size)
        return 0;
    return size - (size_t)-init;
}

enum { CANDIDATES = 8 }; /* what one looks at one by one */

/*
 * memmem is linear at its worst but slow to begin: the first places that have the first byte are
 * looked at without it.
 */
static const char *find_bytes(const char *text, size_t size, const char *wanted, size_t wanted_size)
{
    for (int i = 0; i < CANDIDATES && wanted_size > 0 && wanted_size <= size; i++) {
        const char *at = memchr(text, *wanted, size - wanted_size + 1);
        if (at == NULL || memcmp(at, wanted, wanted_size) == 0)
            return at;
        size -= (size_t)(at + 1 - text);
        text = at + 1;
    }
    return memmem(text, size, wanted, wanted_size);
}

/* find without magic. */
static int find_plain(lua_State *L, const char *subject, size_t size, size_t init,
                      const char *wanted, size_t wanted_size)
{
    const char *found = find_bytes(subject + init, size - init, wanted, wanted_size);
    size_t searched = found == NULL ? size - init : (size_t)(found - subject) - init;
    limits_charge(L, searched / 4); /* 0.1 to 1 ns for a byte */
    if (found == NULL) {
        lua_pushnil(L); /* nil */
        return 1;
    }
    lua_Integer first = found - subject + 1;
    lua_pushinteger(L, first);                                // first
    lua_pushinteger(L, first + (lua_Integer)wanted_size - 1); // first last
    return 2;
}

/* Looks for the first match from `init` on. */
static int find_match(lua_State *L, size_t init, bool is_find)
{
    struct search search;
    prepare(L, &search, true);
    const char *subject = search.matcher.subject;
    search.at = subject + init;
    const char *end = next_match(L, &search);
    const char *at = search.at;
    settle(L, &search);
    if (end == NULL) {
        lua_pushnil(L); /* nil */
        return 1;
    }
    if (!is_find)
        return push_captures(L, &search, at, end);
    lua_pushinteger(L, at - subject + 1); /* first */
    lua_pushinteger(L, end - subject);    /* first last */
    if (search.matcher.level == 0)
        return 2;
    return push_captures(L, &search, at, end) + 2;
}

static int find_or_match(lua_State *L, bool is_find)
{
    size_t size = 0, text_size = 0;
    const char *subject = luaL_checklstring(L, 1, &size);
    const char *text = luaL_checklstring(L, 2, &text_size);
    size_t init = check_init(L, 3, size);
    if (init > size) {
        lua_pushnil(L); /* nil */
        return 1;
    }
    if (is_find && (lua_toboolean(L, 4) || pattern_is_plain(text, text_size)))
        return find_plain(L, subject, size, init, text, text_size);
    return find_match(L, init, is_find);
}

static int string_find(lua_State *L)
{
    return find_or_match(L, true);
}

static int string_match(lua_State *L)
{
    return find_or_match(L, false);
}

/* --- gmatch: all LJMP ------------------------------------------------------------------------- */

/* The iterator. Upvalues: the subject, the pattern, the search. */
static int gmatch_next(lua_State *L)
{
    struct search *search = lua_touserdata(L, lua_upvalueindex(3));
    if (search->at > search->matcher.subject_end)
        return 0;
    start(L, search);
    const char *end = next_match(L, search);
    settle(L, search);
    if (end == NULL) {
        search->at = search->matcher.subject_end + 1; /* whoever asks again gets nothing again */
        return 0;
    }
    const char *at = search->at;
    search->at = search->last_match = end;
    return push_captures(L, search, at, end);
}

static int string_gmatch(lua_State *L)
{
    size_t size = 0;
    luaL_checklstring(L, 1, &size);
    luaL_checkstring(L, 2);
    size_t init = check_init(L, 3, size);
    lua_settop(L, 2);                                                       /* subject pattern */
    struct search *search = lua_newuserdatauv(L, sizeof(struct search), 0); /* .. search */
    prepare(L, search, false); /* a ^ is no anchor here */
    search->at = search->matcher.subject + init;
    lua_pushcclosure(L, gmatch_next, 3); /* next */
    return 1;
}

/* --- gsub: all LJMP --------------------------------------------------------------------------- */

/* Adds the replacement string, index 3, with its %0 to %9 filled in. */
static void add_string(lua_State *L, const struct search *search, luaL_Buffer *result,
                       const char *start_at, const char *end)
{
    size_t size = 0;
    const char *text = lua_tolstring(L, 3, &size);
    const char *text_end = text + size;
    for (const char *escape; (escape = memchr(text, '%', (size_t)(text_end - text))) != NULL;
         text = escape + 2) {
        luaL_addlstring(result, text, (size_t)(escape - text));
        char what = escape[1];
        if (what == '%') {
            luaL_addchar(result, what);
        } else if (what == '0') {
            luaL_addlstring(result, start_at, (size_t)(end - start_at));
        } else if (what >= '1' && what <= '9') {
            push_capture(L, search, what - '1', start_at, end); /* .. capture */
            luaL_tolstring(L, -1, NULL);                        /* .. capture text */
            lua_remove(L, -2);                                  /* .. text */
            luaL_addvalue(result);                              /* .. */
        } else {
            luaL_error(L, "invalid use of '%%' in replacement string");
        }
    }
    luaL_addlstring(result, text, (size_t)(text_end - text));
}

/* Pushes what the function or table, index 3, has for this match. */
static void push_replacement(lua_State *L, struct search *search, const char *start_at,
                             const char *end)
{
    settle(L, search);
    if (lua_type(L, 3) == LUA_TFUNCTION) {
        lua_pushvalue(L, 3);                                    /* .. function */
        int captures = push_captures(L, search, start_at, end); /* .. function captures */
        lua_call(L, captures, 1);                               /* .. value */
    } else {
        push_capture(L, search, 0, start_at, end); /* .. capture */
        lua_gettable(L, 3);                        /* .. value */
    }
}

/* Adds what replaces the match. */
static void add_replacement(lua_State *L, struct search *search, luaL_Buffer *result,
                            const char *start_at, const char *end)
{
    int type = lua_type(L, 3);
    if (type == LUA_TSTRING || type == LUA_TNUMBER) {
        add_string(L, search, result, start_at, end);
        return;
    }
    push_replacement(L, search, start_at, end); /* .. value */
    if (!lua_toboolean(L, -1)) {
        lua_pop(L, 1); /* .. */
        luaL_addlstring(result, start_at, (size_t)(end - start_at));
        return;
    }
    if (!lua_isstring(L, -1))
        luaL_error(L, "invalid replacement value (a %s)", luaL_typename(L, -1));
    luaL_addvalue(result); /* .. */
}

static int string_gsub(lua_State *L)
{
    struct search search;
    luaL_Buffer result;
    prepare(L, &search, true);
    const char *end_of_subject = search.matcher.subject_end;
    int type = lua_type(L, 3);
    lua_Integer max = luaL_optinteger(L, 4, end_of_subject - search.matcher.subject + 1), count = 0;
    luaL_argexpected(L,
                     type == LUA_TNUMBER || type == LUA_TSTRING || type == LUA_TFUNCTION ||
                         type == LUA_TTABLE,
                     3, "string/function/table");
    luaL_buffinit(L, &result); /* subject pattern replacement max? .. */
    const char *copied = search.at;
    while (count < max) {
        const char *end = next_match(L, &search);
        if (end == NULL)
            break;
        luaL_addlstring(&result, copied, (size_t)(search.at - copied));
        count++;
        add_replacement(L, &search, &result, search.at, end);
        copied = search.at = search.last_match = end;
        if (search.anchored)
            break;
    }
    settle(L, &search);
    if (count == 0) {
        lua_pushvalue(L, 1); /* subject */
    } else {
        luaL_addlstring(&result, copied, (size_t)(end_of_subject - copied));
        luaL_pushresult(&result); /* text */
    }
    lua_pushinteger(L, count); /* text count */
    return 2;
}

void pattern_library_open(lua_State *L)
{
    static const luaL_Reg functions[] = {{"find", string_find},
                                         {"match", string_match},
                                         {"gmatch", string_gmatch},
                                         {"gsub", string_gsub},
                                         {NULL, NULL}};
    luaL_setfuncs(L, functions, 0);
}
