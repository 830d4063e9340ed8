#ifndef TIDEMILL_RULES_JSON_LAZY_H
#define TIDEMILL_RULES_JSON_LAZY_H

#include <lua.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Decoding a document as it is touched. All of the text is checked at once, so that a fault is
 * found when and as json_decode finds it; but of its values only the scalars of the outermost
 * object are made. What is inside objects and arrays waits in a copy of the text, and is made, one
 * level at a time, when it is asked for.
 *
 * A rule cannot tell. A table that still has values to be made has a metatable of ours, through
 * which Lua itself comes to us when the rule reads or writes what is not there, takes the length
 * or traverses. Everything that would look past the metatable must first make the table a plain
 * one: json_fill. That is every use of lua_next, of raw access, of lua_rawlen and of metatables on
 * a table that comes from a rule; in the libraries that rules have, `next`, `pairs`, `rawget` and
 * their kind (rules/guards). What lua_gettable and its kind do is right as it is.
 *
 * A filled table is what json_decode would have made, except that its own tables may have values to
 * be made in turn. What is kept of a document keeps the text of at most twice its own size alive;
 * all of it belongs to the Lua state and is counted there.
 */

/*
 * Documents of one sort (those of one rule), to learn what is worth it: when most of the text is
 * asked for, decoding it at once is cheaper. All zero: nothing known yet. Must outlive the state.
 */
struct json_use {
    uint32_t documents;   /* outlined since the last judgement, */
    uint64_t size, asked; /* their bytes, and of these the ones whose values were made */
    uint32_t at_once;     /* documents to decode at once before the next one is tried */
};

/* Prepares a state: makes the metatables. LJMP. json_open calls it. */
void json_lazy_open(lua_State *L);

/* As json_decode. `use` may be NULL: then nothing is learnt. */
int json_decode_lazy(lua_State *L, const char *text, size_t size, struct json_use *use);

/*
 * Makes the value at `index` a plain table, if it is one that has values to be made. LJMP when
 * memory runs out; the table is then as good as before.
 */
void json_fill(lua_State *L, int index);

#endif
