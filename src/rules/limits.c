#include "rules/limits.h"

#include "base/clock.h"
#include "rules/call.h"
#include "rules/engine_internal.h"

void limits_init(struct limits *limits, size_t memory_max, struct blocks *blocks)
{
    *limits = (struct limits){.memory_max = memory_max, .deadline_ns = INT64_MAX, .blocks = blocks};
}

/*
 * Lua answers a refusal with a full collection and the same request again: only the second refusal
 * in a row is final. (`old_size` is a type tag when `block` is NULL.)
 */
static void *refuse(struct limits *limits, size_t size)
{
    if (limits->refused_size == size)
        limits->out_of_memory = true;
    limits->refused_size = size;
    return NULL;
}

/* Looks at the clock, unless it is known. */
static bool is_past_deadline(struct limits *limits)
{
    if (!limits->expired && clock_monotonic_ns() > limits->deadline_ns)
        limits->expired = true;
    return limits->expired;
}

/*
 * What may be held when this block has its new size. Since 5.4.5 Lua asks once for a stack that is
 * to grow, and collects nothing before. So what grows may pass the limit by a little: the next new
 * block is refused then, and the garbage goes.
 */
static size_t ceiling_for(const struct limits *limits, const void *block)
{
    size_t ceiling = limits->memory_max + limits->reserve;
    if (LUA_VERSION_RELEASE_NUM >= 50405 && block != NULL)
        ceiling += limits->memory_max / 16;
    return ceiling;
}

void *limits_alloc(void *context, void *block, size_t old_size, size_t new_size)
{
    struct limits *limits = context;
    size_t held = block == NULL ? 0 : old_size;
    if (new_size == 0) {
        blocks_free(limits->blocks, block, held);
        limits->memory_used -= held;
        return NULL;
    }
    if (new_size > held) {
        size_t ceiling = ceiling_for(limits, block);
        size_t others = limits->memory_used - held;
        if (new_size > ceiling || others > ceiling - new_size)
            return refuse(limits, new_size);
        if (new_size >= LIMITS_LARGE_BLOCK && is_past_deadline(limits))
            return NULL;
    }
    void *moved = blocks_resize(limits->blocks, block, held, new_size);
    if (moved == NULL) /* also when a block is to shrink: since 5.4 Lua takes that for an error */
        return refuse(limits, new_size);
    limits->memory_used += new_size - held;
    if (new_size > held)
        limits->refused_size = 0;
    return moved;
}

void limits_arm(struct limits *limits, int64_t deadline_ns)
{
    limits->deadline_ns = deadline_ns;
    limits->expired = false;
    limits->out_of_memory = false;
    limits->refused_size = 0;
}

bool limits_over(struct limits *limits)
{
    return limits->out_of_memory || is_past_deadline(limits);
}

/*
 * Runs every LIMITS_HOOK_COUNT instructions. After a limit was passed it runs at every instruction
 * of the coroutine it raised in; a later, innocent run of that coroutine finds the count too low
 * and puts it back. LJMP.
 */
static void look(lua_State *L, lua_Debug *activation)
{
    (void)activation;
    struct limits *limits = &engine_of(L)->limits;
    if (!limits_over(limits)) {
        if (lua_gethookcount(L) != LIMITS_HOOK_COUNT)
            lua_sethook(L, look, LUA_MASKCOUNT, LIMITS_HOOK_COUNT);
        return;
    }
    lua_sethook(L, look, LUA_MASKCOUNT, 1);
    call_over_limit(L, limits->out_of_memory ? CAUSE_MEMORY : CAUSE_TIMEOUT);
}

void limits_watch(lua_State *L)
{
    lua_sethook(L, look, LUA_MASKCOUNT, LIMITS_HOOK_COUNT);
}

void limits_charge(lua_State *L, size_t steps)
{
    struct limits *limits = &engine_of(L)->limits;
    limits->charged += steps;
    if (limits->charged < LIMITS_CHARGE_COUNT)
        return;
    limits->charged = 0;
    look(L, NULL);
}

bool limits_died_in_hook(lua_State *thread)
{
    return lua_gethookcount(thread) != LIMITS_HOOK_COUNT;
}
