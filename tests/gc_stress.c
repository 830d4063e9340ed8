/*
 * A full collection at every new object, for `make gcstress`: what the C code holds on to without a
 * place on the stack or in the registry is freed at the first opportunity, and AddressSanitizer
 * sees the next use of it.
 *
 * Linked into unit tests, whose states come from here (the linker's --wrap). The allocator refuses
 * each new object once (it is told its type as the old size); Lua answers with an emergency
 * collection, and asks again. Other blocks are left alone: for a stack, since 5.4.5, and for the
 * box of a luaL_Buffer nobody asks again. No finalizer runs in these collections.
 */
#include <lua.h>
#include <stdbool.h>
#include <stdlib.h>

struct stress {
    lua_Alloc alloc; /* what the state was given */
    void *context;
    bool ready;   /* the state is complete: before that Lua does not ask again */
    bool refused; /* the last new object */
};

lua_State *__real_lua_newstate(lua_Alloc alloc, void *context);
lua_State *__wrap_lua_newstate(lua_Alloc alloc, void *context);
void __real_lua_close(lua_State *L);
void __wrap_lua_close(lua_State *L);
lua_Alloc __real_lua_getallocf(lua_State *L, void **context);
lua_Alloc __wrap_lua_getallocf(lua_State *L, void **context);
void __real_lua_setallocf(lua_State *L, lua_Alloc alloc, void *context);
void __wrap_lua_setallocf(lua_State *L, lua_Alloc alloc, void *context);

static void *stress_alloc(void *context, void *block, size_t old_size, size_t new_size)
{
    struct stress *stress = context;
    if (stress->ready && block == NULL && old_size != 0) {
        stress->refused = !stress->refused;
        if (stress->refused)
            return NULL;
    }
    return stress->alloc(stress->context, block, old_size, new_size);
}

static struct stress *stress_of(lua_State *L)
{
    void *context = NULL;
    return __real_lua_getallocf(L, &context) == stress_alloc ? context : NULL;
}

lua_State *__wrap_lua_newstate(lua_Alloc alloc, void *context)
{
    struct stress *stress = calloc(1, sizeof(*stress));
    if (stress == NULL)
        return NULL;
    stress->alloc = alloc;
    stress->context = context;
    lua_State *L = __real_lua_newstate(stress_alloc, stress);
    if (L == NULL)
        free(stress);
    else
        stress->ready = true;
    return L;
}

void __wrap_lua_close(lua_State *L)
{
    struct stress *stress = stress_of(L);
    if (stress != NULL)
        stress->ready = false; /* nothing is collected any more: all of it goes */
    __real_lua_close(L);
    free(stress);
}

lua_Alloc __wrap_lua_getallocf(lua_State *L, void **context)
{
    struct stress *stress = stress_of(L);
    if (stress == NULL)
        return __real_lua_getallocf(L, context);
    if (context != NULL)
        *context = stress->context;
    return stress->alloc;
}

/* A test's own allocator takes the place of the one behind. */
void __wrap_lua_setallocf(lua_State *L, lua_Alloc alloc, void *context)
{
    struct stress *stress = stress_of(L);
    if (stress == NULL) {
        __real_lua_setallocf(L, alloc, context);
        return;
    }
    stress->alloc = alloc;
    stress->context = context;
}
