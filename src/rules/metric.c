#include "rules/metric.h"

#include <ctype.h>
#include <math.h>
#include <string.h>

#include "rules/call.h"
#include "rules/json_lazy.h"

/* One block: the struct, the labels, then all the strings. */
struct metric {
    struct rule_metric shown; /* what the host sees */
    struct header labels[];
};

static const char *const kind_names[] = {
    [METRIC_COUNTER] = "counter", [METRIC_GAUGE] = "gauge", [METRIC_HISTOGRAM] = "histogram"};

/* --- all LJMP --------------------------------------------------------------------------------- */

/* [a-zA-Z_][a-zA-Z0-9_]*, for metrics with ':' too. */
static bool is_name(const char *name, size_t size, bool colon)
{
    if (size == 0 || isdigit((unsigned char)name[0]))
        return false;
    for (size_t i = 0; i < size; i++)
        if (!isalnum((unsigned char)name[i]) && name[i] != '_' && !(colon && name[i] == ':'))
            return false;
    return true;
}

/*
 * The labels at index 2, sorted by name, so that the order in which a rule writes them makes no
 * difference. Leaves the values on the stack. Returns how many.
 */
static size_t check_labels(lua_State *L, const char *kind, struct header *labels)
{
    if (lua_isnoneornil(L, 2))
        return 0;
    luaL_checktype(L, 2, LUA_TTABLE);
    luaL_checkstack(L, METRIC_LABELS_MAX + 8, NULL);
    json_fill(L, 2);
    size_t count = 0;
    lua_pushnil(L);          /* key */
    while (lua_next(L, 2)) { /* kept.. key value */
        size_t size = 0;
        if (lua_type(L, -2) != LUA_TSTRING)
            luaL_error(L, "mill.%s: labels: names must be strings", kind);
        const char *name = lua_tolstring(L, -2, &size);
        if (!is_name(name, size, false) || strncmp(name, "__", 2) == 0)
            luaL_error(L, "mill.%s: labels: '%s' is no label name", kind, name);
        if (!lua_isstring(L, -1) && !lua_isboolean(L, -1))
            luaL_error(L, "mill.%s: labels.%s: a string or a number expected, got %s", kind, name,
                       luaL_typename(L, -1));
        if (count == METRIC_LABELS_MAX)
            luaL_error(L, "mill.%s: labels: more than %d", kind, METRIC_LABELS_MAX);
        const char *value = luaL_tolstring(L, -1, NULL); /* kept.. key value text */
        size_t place = count++;
        for (; place > 0 && strcmp(labels[place - 1].name, name) > 0; place--)
            labels[place] = labels[place - 1];
        labels[place] = (struct header){.name = name, .value = value};
        lua_replace(L, -2); /* kept.. key text */
        lua_insert(L, -2);  /* kept.. text key */
    }
    return count;
}

static const char *copy(char **cursor, const char *text)
{
    size_t size = strlen(text) + 1;
    char *place = memcpy(*cursor, text, size);
    *cursor += size;
    return place;
}

static int push_metric(lua_State *L, enum metric_kind kind)
{
    struct call *call = call_current(L, kind_names[kind]);
    struct header labels[METRIC_LABELS_MAX];
    size_t name_size = 0;
    lua_settop(L, 2); /* name labels */
    const char *name = luaL_checklstring(L, 1, &name_size);
    if (!is_name(name, name_size, true))
        return luaL_error(L, "mill.%s: '%s' is no metric name ([a-zA-Z_:][a-zA-Z0-9_:]*)",
                          kind_names[kind], name);
    size_t count = check_labels(L, kind_names[kind], labels); /* .. values */
    size_t size = sizeof(struct metric) + count * sizeof(labels[0]) + name_size + 1;
    for (size_t i = 0; i < count; i++)
        size += strlen(labels[i].name) + strlen(labels[i].value) + 2;
    struct metric *metric = lua_newuserdatauv(L, size, 0); /* .. metric */
    char *cursor = (char *)&metric->labels[count];
    metric->shown = (struct rule_metric){
        .kind = kind, .name = copy(&cursor, name), .labels = metric->labels, .label_count = count};
    for (size_t i = 0; i < count; i++) {
        metric->labels[i].name = copy(&cursor, labels[i].name);
        metric->labels[i].value = copy(&cursor, labels[i].value);
    }
    push_ref(L, call->engine->metric_mts[kind]); /* .. metric mt */
    lua_setmetatable(L, -2);                     /* .. metric */
    return 1;
}

int rule_metric_counter(lua_State *L)
{
    return push_metric(L, METRIC_COUNTER);
}

int rule_metric_gauge(lua_State *L)
{
    return push_metric(L, METRIC_GAUGE);
}

int rule_metric_histogram(lua_State *L)
{
    return push_metric(L, METRIC_HISTOGRAM);
}

/* Hands a value to the host. Upvalue 1 is the metatable. */
static int tell(lua_State *L, double value)
{
    if (lua_type(L, 1) != LUA_TUSERDATA || !lua_getmetatable(L, 1) ||
        !lua_rawequal(L, -1, lua_upvalueindex(1))) /* metatable */
        return luaL_error(L, "call a metric's functions with a colon, like counter:inc()");
    struct rule_metric *metric = &((struct metric *)lua_touserdata(L, 1))->shown;
    const struct engine_host *host = &call_current(L, "a metric")->engine->options.host;
    if (host->metric == NULL)
        return luaL_error(L, "metrics are not available here");
    if (isnan(value) || (metric->kind == METRIC_COUNTER && !(value >= 0 && value < HUGE_VAL)))
        return luaL_error(L, "%s %s: a number%s expected, got %f", kind_names[metric->kind],
                          metric->name, metric->kind == METRIC_COUNTER ? " from 0 on" : "", value);
    host->metric(host->context, metric, value);
    return 0;
}

static int metric_value(lua_State *L)
{
    return tell(L, luaL_checknumber(L, 2));
}

static int metric_inc(lua_State *L)
{
    return tell(L, luaL_optnumber(L, 2, 1));
}

void metric_open(lua_State *L)
{
    static const luaL_Reg counter[] = {{"add", metric_value}, {"inc", metric_inc}, {NULL, NULL}};
    static const luaL_Reg gauge[] = {{"set", metric_value}, {NULL, NULL}};
    static const luaL_Reg histogram[] = {{"observe", metric_value}, {NULL, NULL}};
    static const luaL_Reg *const methods[] = {
        [METRIC_COUNTER] = counter, [METRIC_GAUGE] = gauge, [METRIC_HISTOGRAM] = histogram};
    for (size_t kind = 0; kind < 3; kind++) {
        lua_createtable(L, 0, 3);                                        /* mt */
        lua_newtable(L);                                                 /* mt methods */
        lua_pushvalue(L, -2);                                            /* mt methods mt */
        luaL_setfuncs(L, methods[kind], 1);                              /* mt methods */
        lua_setfield(L, -2, "__index");                                  /* mt */
        lua_pushboolean(L, 0);                                           /* mt false */
        lua_setfield(L, -2, "__metatable");                              /* mt */
        lua_pushstring(L, kind_names[kind]);                             /* mt name */
        lua_setfield(L, -2, "__name");                                   /* mt */
        engine_of(L)->metric_mts[kind] = luaL_ref(L, LUA_REGISTRYINDEX); /* */
    }
}
