#include "rules/json_outline.h"

#include "rules/json.h"
#include "rules/json_number.h"
#include "rules/json_text.h"

/*
 * One loop over the text, no recursion: the parts that are open are on a stack of its own. Every
 * function that takes `at` returns the first byte behind what it read, or NULL on a fault; what is
 * wrong is for json_decode to say.
 */

enum {
    DIGITS_SURE = 300 /* a number with no more digits before its point is no infinite one */
};

/* An object or array that has begun and not ended. */
struct level {
    size_t part; /* its number */
    uint32_t count, parts;
    char closing;
};

struct outline {
    const char *text, *end;
    struct json_part *parts;
    size_t room, count;
    const char *key; /* of the value that comes next; NULL: it has none */
    size_t key_size;
    bool key_escaped;
    struct level *level;  /* the innermost one */
    struct level *lowest; /* the place before the first one */
};

static inline bool is_digit(const char *at, const char *end)
{
    return at < end && (unsigned char)(*at - '0') <= 9;
}

/* Steps over what is not plain in a string. */
static const char *skip_special(const char *at, const char *end, bool *escaped)
{
    const char *fault = NULL;
    size_t size = 0;
    if (*at == '\\') {
        *escaped = true;
        size = json_escape_size(at, end, &fault);
    } else if ((unsigned char)*at >= 0x80) {
        size = json_utf8_size(at, end);
    }
    return size == 0 ? NULL : at + size;
}

/* Steps over the string whose opening quote is before `at`; sets `*escaped` when it has escapes. */
static inline const char *skip_string(const char *at, const char *end, bool *escaped)
{
    for (;;) {
        at = json_plain_end(at, end);
        if (at == end)
            return NULL;
        if (*at == '"')
            return at + 1;
        at = skip_special(at, end, escaped);
        if (at == NULL)
            return NULL;
    }
}

static const char *skip_number(const char *at, const char *end)
{
    const char *start = at;
    at += *at == '-';
    const char *digits = at;
    if (!is_digit(at, end))
        return NULL;
    if (*at == '0')
        at++; /* a digit that follows is no end of a value */
    else
        while (is_digit(at, end))
            at++;
    bool sure = at - digits <= DIGITS_SURE;
    if (at < end && *at == '.') {
        const char *fraction = ++at;
        while (is_digit(at, end))
            at++;
        if (at == fraction)
            return NULL;
    }
    if (sure && (at == end || (*at != 'e' && *at != 'E')))
        return at;
    struct json_number number;
    return json_number_read(&start, end, &number) == 0 ? start : NULL;
}

static inline const char *skip_word(const char *at, const char *end, const char *word, size_t size)
{
    return (size_t)(end - at) >= size && memcmp(at, word, size) == 0 ? at + size : NULL;
}

/* Steps over a value that is neither object nor array; `at` is before the end. */
static inline const char *skip_scalar(const char *at, const char *end)
{
    bool escaped;
    switch (*at) {
    case '"':
        return skip_string(at + 1, end, &escaped);
    case 't':
        return skip_word(at, end, "true", 4);
    case 'f':
        return skip_word(at, end, "false", 5);
    case 'n':
        return skip_word(at, end, "null", 4);
    default:
        return skip_number(at, end);
    }
}

/* Steps over a key and its colon, and notes the key. */
static inline const char *take_key(struct outline *o, const char *at)
{
    at = json_skip_space(at, o->end);
    if (at == o->end || *at != '"')
        return NULL;
    o->key = at + 1;
    o->key_escaped = false;
    at = skip_string(at + 1, o->end, &o->key_escaped);
    if (at == NULL)
        return NULL;
    o->key_size = (size_t)(at - 1 - o->key);
    at = json_skip_space(at, o->end);
    return at < o->end && *at == ':' ? at + 1 : NULL;
}

/* Begins the part whose bracket is at `at`. */
static const char *begin(struct outline *o, const char *at)
{
    if (o->level - o->lowest == JSON_DEPTH_MAX)
        return NULL;
    o->level++;
    *o->level = (struct level){.part = o->count, .closing = *at == '{' ? '}' : ']'};
    if (o->count < o->room)
        o->parts[o->count] =
            (struct json_part){.start = (uint32_t)(at - o->text),
                               .key = o->key == NULL ? 0 : (uint32_t)(o->key - o->text),
                               .key_size = (uint32_t)o->key_size & 0x3fffffff,
                               .key_escaped = o->key_escaped};
    o->count++;
    return json_skip_space(at + 1, o->end);
}

/* Ends the innermost part, whose closing bracket is at `at`. */
static const char *finish(struct outline *o, const char *at)
{
    const struct level *level = o->level--;
    if (level->part < o->room) {
        struct json_part *part = &o->parts[level->part];
        part->size = (uint32_t)(at + 1 - o->text) - part->start;
        part->after = (uint32_t)o->count;
        part->count = level->count;
        part->parts = level->parts;
    }
    return at + 1;
}

/* From the end of a value to where the next one of the same part has to be, or to the end of all. */
static inline const char *next_value(struct outline *o, const char *at)
{
    while (o->level != o->lowest) {
        at = json_skip_space(at, o->end);
        if (at == o->end)
            return NULL;
        if (*at == ',')
            return at + 1;
        if (*at != o->level->closing)
            return NULL;
        at = finish(o, at);
    }
    return at;
}

/* Outlines the object or array at `at`. */
static const char *outline_document(struct outline *o, const char *at)
{
    do {
        bool keyed = o->level != o->lowest && o->level->closing == '}';
        o->key = NULL;
        o->key_size = 0;
        o->key_escaped = false;
        at = keyed ? take_key(o, at) : at;
        if (at == NULL)
            return NULL;
        at = json_skip_space(at, o->end);
        if (at == o->end)
            return NULL;
        o->level->count++;
        if (*at == '{' || *at == '[') {
            o->level->parts++;
            at = begin(o, at);
            if (at == NULL || at == o->end)
                return NULL;
            if (*at != o->level->closing)
                continue;
        } else {
            at = skip_scalar(at, o->end);
            if (at == NULL)
                return NULL;
        }
        at = next_value(o, at);
        if (at == NULL)
            return NULL;
    } while (o->level != o->lowest);
    return at;
}

size_t json_outline(const char *text, size_t size, struct json_part *parts, size_t room)
{
    struct level levels[1 + JSON_DEPTH_MAX]; /* not initialised: most of them are never used */
    struct outline o = {
        .text = text, .end = text + size, .parts = parts, .room = room, .level = levels};
    levels[0] = (struct level){.part = 0};
    o.lowest = levels;
    if (size == 0 || size > JSON_OUTLINE_MAX)
        return 0;
    const char *at = json_skip_space(text, o.end);
    if (at == o.end || (*at != '{' && *at != '['))
        return 0;
    at = outline_document(&o, at);
    return at != NULL && json_skip_space(at, o.end) == o.end ? o.count : 0;
}
