#include "rules/router.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/subject.h"

/*
 * The nodes of the trie lie in one array and are numbered; the root is 0. A node's child for `*` is
 * in the node; its children for plain tokens are in one hash table for the whole trie, keyed by
 * parent and token. A look-up walks every node that fits the subject, at most once each because the
 * trie is a tree: no combination of wildcards costs more than the number of nodes. It allocates
 * nothing: tokens, walk and result have their room in the router.
 */

enum {
    TOKENS_MAX = SUBJECT_SIZE_MAX / 2 + 1, /* in a pattern; a longer subject has more */
    TARGETS_MAX = 1 << 20,
    ROOT = 0
};

struct target_list {
    uint32_t *items;
    size_t count;
    size_t room;
};

struct node {
    uint32_t parent;
    uint32_t star;            /* the child for `*`; ROOT: none */
    uint32_t children;        /* how many plain tokens follow */
    uint32_t size;            /* of the plain token that leads here */
    uint64_t hash;            /* likewise */
    char *token;              /* likewise; NULL for the root and for `*` */
    struct target_list here;  /* patterns that end here */
    struct target_list below; /* patterns that end in `>` after this node */
};

struct token {
    const char *text;
    size_t size;
    uint64_t hash;
};

/* A node that fits the first `depth` tokens. */
struct step {
    uint32_t node;
    uint32_t depth;
};

struct router {
    struct node *nodes;
    size_t node_count, node_room;
    uint32_t *slots; /* numbers of nodes; ROOT: free. A power of two, at most half full */
    size_t slot_count, slots_used;
    uint64_t *found; /* one bit per target; all zero between look-ups */
    size_t found_room;
    size_t depth; /* tokens of the longest pattern */
    struct token tokens[TOKENS_MAX];
    /* Taking a step adds at most two that are one deeper, so one per level waits and one is new. */
    struct step walk[TOKENS_MAX + 2];
};

/* Cuts off the token that `text` starts with. Returns what follows its dot; NULL after the last. */
static const char *cut_token(const char *text, struct token *token)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325); /* FNV-1a */
    const char *c = text;
    for (; *c != '.' && *c != '\0'; c++)
        hash = (hash ^ (unsigned char)*c) * UINT64_C(0x100000001b3);
    token->text = text;
    token->size = (size_t)(c - text);
    token->hash = hash;
    return *c == '.' ? c + 1 : NULL;
}

static size_t first_slot(const struct router *router, uint32_t parent, uint64_t hash)
{
    uint64_t mixed =
        (hash ^ (parent * UINT64_C(0x9e3779b97f4a7c15))) * UINT64_C(0xff51afd7ed558ccd);
    return (size_t)(mixed >> 32) & (router->slot_count - 1);
}

/* The child of `parent` for this token; ROOT when there is none. */
static uint32_t find_child(const struct router *router, uint32_t parent, const struct token *token)
{
    if (router->nodes[parent].children == 0)
        return ROOT;
    size_t slot = first_slot(router, parent, token->hash);
    for (; router->slots[slot] != ROOT; slot = (slot + 1) & (router->slot_count - 1)) {
        const struct node *node = &router->nodes[router->slots[slot]];
        if (node->hash == token->hash && node->parent == parent && node->size == token->size &&
            memcmp(node->token, token->text, token->size) == 0)
            return router->slots[slot];
    }
    return ROOT;
}

static void put_in_slot(struct router *router, uint32_t number)
{
    const struct node *node = &router->nodes[number];
    size_t slot = first_slot(router, node->parent, node->hash);
    while (router->slots[slot] != ROOT)
        slot = (slot + 1) & (router->slot_count - 1);
    router->slots[slot] = number;
}

/* Makes room for one more node in the table. */
static int grow_slots(struct router *router)
{
    if (router->slots_used * 2 < router->slot_count)
        return 0;
    size_t count = router->slot_count == 0 ? 64 : router->slot_count * 2;
    uint32_t *slots = calloc(count, sizeof(*slots));
    if (slots == NULL)
        return -1;
    free(router->slots);
    router->slots = slots;
    router->slot_count = count;
    for (size_t i = 1; i < router->node_count; i++) {
        if (router->nodes[i].token != NULL)
            put_in_slot(router, (uint32_t)i);
    }
    return 0;
}

/* Adds an empty node and returns its number; ROOT when memory runs out. */
static uint32_t new_node(struct router *router, uint32_t parent)
{
    if (router->node_count == router->node_room) {
        size_t room = router->node_room * 2;
        struct node *nodes =
            room < UINT32_MAX ? realloc(router->nodes, room * sizeof(*nodes)) : NULL;
        if (nodes == NULL)
            return ROOT;
        router->nodes = nodes;
        router->node_room = room;
    }
    router->nodes[router->node_count] = (struct node){.parent = parent};
    return (uint32_t)router->node_count++;
}

/* The child of `parent` for a token of a pattern, made when missing; ROOT when memory runs out. */
static uint32_t reach_child(struct router *router, uint32_t parent, const struct token *token)
{
    bool star = token->size == 1 && *token->text == '*';
    uint32_t child = star ? router->nodes[parent].star : find_child(router, parent, token);
    if (child != ROOT)
        return child;
    char *copy = NULL;
    if (!star && (grow_slots(router) != 0 || (copy = strndup(token->text, token->size)) == NULL))
        return ROOT;
    child = new_node(router, parent);
    if (child == ROOT) {
        free(copy);
        return ROOT;
    }
    if (star) {
        router->nodes[parent].star = child;
        return child;
    }
    struct node *node = &router->nodes[child];
    node->token = copy;
    node->size = (uint32_t)token->size;
    node->hash = token->hash;
    router->nodes[parent].children++;
    router->slots_used++;
    put_in_slot(router, child);
    return child;
}

static int append_target(struct target_list *list, size_t target)
{
    if (list->count == list->room) {
        size_t room = list->room == 0 ? 2 : list->room * 2;
        uint32_t *items = realloc(list->items, room * sizeof(*items));
        if (items == NULL)
            return -1;
        list->items = items;
        list->room = room;
    }
    list->items[list->count++] = (uint32_t)target;
    return 0;
}

/* Makes room for the bit of `target`. */
static int grow_found(struct router *router, size_t target)
{
    size_t room = target / 64 + 1;
    if (room <= router->found_room)
        return 0;
    uint64_t *found = realloc(router->found, room * sizeof(*found));
    if (found == NULL)
        return -1;
    memset(found + router->found_room, 0, (room - router->found_room) * sizeof(*found));
    router->found = found;
    router->found_room = room;
    return 0;
}

struct router *router_new(void)
{
    struct router *router = calloc(1, sizeof(*router));
    if (router == NULL)
        return NULL;
    router->nodes = calloc(8, sizeof(*router->nodes));
    if (router->nodes == NULL) {
        free(router);
        return NULL;
    }
    router->node_room = 8;
    router->node_count = 1; /* the root */
    return router;
}

void router_free(struct router *router)
{
    if (router == NULL)
        return;
    for (size_t i = 0; i < router->node_count; i++) {
        free(router->nodes[i].token);
        free(router->nodes[i].here.items);
        free(router->nodes[i].below.items);
    }
    free(router->nodes);
    free(router->slots);
    free(router->found);
    free(router);
}

int router_add(struct router *router, const char *pattern, size_t target, struct error *err)
{
    if (subject_check_pattern(pattern, err) != 0)
        return -1;
    if (target >= TARGETS_MAX)
        return error_set(err, "more than %d rules", TARGETS_MAX);
    if (grow_found(router, target) != 0)
        return error_set(err, "out of memory");
    uint32_t node = ROOT;
    size_t depth = 0;
    for (const char *rest = pattern; rest != NULL; depth++) {
        struct token token;
        rest = cut_token(rest, &token);
        if (token.size == 1 && *token.text == '>') {
            if (append_target(&router->nodes[node].below, target) != 0)
                return error_set(err, "out of memory");
            return 0;
        }
        node = reach_child(router, node, &token);
        if (node == ROOT)
            return error_set(err, "out of memory");
        if (router->depth < depth + 1)
            router->depth = depth + 1;
    }
    if (append_target(&router->nodes[node].here, target) != 0)
        return error_set(err, "out of memory");
    return 0;
}

/*
 * Splits as much of the subject as a pattern can look at. Returns how many tokens it has; one more
 * than the longest pattern stands for any number.
 */
static size_t split(struct router *router, const char *subject)
{
    size_t count = 0;
    const char *rest = subject;
    while (rest != NULL && count < router->depth)
        rest = cut_token(rest, &router->tokens[count++]);
    return count + (rest != NULL);
}

static void mark(struct router *router, const struct target_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        router->found[list->items[i] / 64] |= UINT64_C(1) << (list->items[i] % 64);
}

/* Marks the targets of every pattern that fits the `count` tokens. */
static void mark_all(struct router *router, size_t count)
{
    size_t waiting = 0;
    router->walk[waiting++] = (struct step){ROOT, 0};
    while (waiting > 0) {
        struct step step = router->walk[--waiting];
        const struct node *node = &router->nodes[step.node];
        if (step.depth == count) {
            mark(router, &node->here);
            continue;
        }
        mark(router, &node->below);
        if (step.depth == router->depth)
            continue; /* no pattern goes on, and the token was not split off */
        if (node->star != ROOT)
            router->walk[waiting++] = (struct step){node->star, step.depth + 1};
        uint32_t child = find_child(router, step.node, &router->tokens[step.depth]);
        if (child != ROOT)
            router->walk[waiting++] = (struct step){child, step.depth + 1};
    }
}

/* Takes the marks as numbers in ascending order and clears them. */
static size_t take_marks(struct router *router, size_t *targets, size_t max)
{
    size_t count = 0;
    for (size_t i = 0; i < router->found_room; i++) {
        uint64_t word = router->found[i];
        router->found[i] = 0;
        for (; word != 0 && count < max; word &= word - 1)
            targets[count++] = i * 64 + (size_t)__builtin_ctzll(word);
    }
    return count;
}

size_t router_match(struct router *router, const char *subject, size_t *targets, size_t max)
{
    mark_all(router, split(router, subject));
    return take_marks(router, targets, max);
}
