#include "rules/json_outline.h"

#include "base/utf8.h"
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
    int depth_max; /* of the parts in it */
};

/* The key of the value that comes next. */
struct key {
    const char *text; /* NULL: it has none */
    size_t size;
    bool escaped;
};

static inline bool is_digit(const char *at, const char *end)
{
    return at < end && (unsigned char)(*at - '0') <= 9;
}

/* The first byte that is no digit, or `end`. Eight at a time: a branch for each costs more. */
static inline const char *skip_digits(const char *at, const char *end)
{
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    const uint64_t ones = UINT64_C(0x0101010101010101);
    for (; end - at >= 8; at += 8) {
        uint64_t word;
        memcpy(&word, at, sizeof word);
        /* Digits are 0 to 9 now. A carry only reaches bytes after a real find. */
        word ^= ones * '0';
        uint64_t found = (word | (word + ones * (0x80 - 10))) & ones * 0x80;
        if (found != 0)
            return at + __builtin_ctzll(found) / 8;
    }
#endif
    while (is_digit(at, end))
        at++;
    return at;
}

/*
 * Steps over the rest of a string, from what is not plain in it. Never inlined: nearly all strings
 * are plain.
 */
__attribute__((noinline)) static const char *skip_special(const char *at, const char *end,
                                                          bool *escaped)
{
    const char *fault = NULL;
    while (at < end && *at != '"') {
        size_t size = 0;
        if (*at == '\\') {
            *escaped = true;
            size = json_escape_size(at, end, &fault);
        } else if ((unsigned char)*at >= 0x80) {
            size = utf8_size(at, (size_t)(end - at));
        }
        if (size == 0)
            return NULL;
        at = json_plain_end(at + size, end);
    }
    return at < end ? at + 1 : NULL;
}

/* Steps over the string whose opening quote is before `at`; sets `*escaped` when it has escapes. */
static inline const char *skip_string(const char *at, const char *end, bool *escaped)
{
    at = json_plain_end(at, end);
    return at < end && *at == '"' ? at + 1 : skip_special(at, end, escaped);
}

static const char *skip_number(const char *at, const char *end)
{
    const char *start = at;
    at += *at == '-';
    const char *digits = at;
    if (!is_digit(at, end))
        return NULL;
    at = *at == '0' ? at + 1 : skip_digits(at, end); /* a digit behind a 0 is no end of a value */
    bool sure = at - digits <= DIGITS_SURE;
    if (at < end && *at == '.') {
        const char *fraction = at + 1;
        at = skip_digits(fraction, end);
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

/* Steps over a key and its colon. */
static inline const char *take_key(const char *at, const char *end, struct key *key)
{
    if (at == end || *at != '"')
        at = json_skip_space(at, end);
    if (at == end || *at != '"')
        return NULL;
    key->text = at + 1;
    key->escaped = false;
    at = skip_string(at + 1, end, &key->escaped);
    if (at == NULL)
        return NULL;
    key->size = (size_t)(at - 1 - key->text);
    if (at < end && *at == ':')
        return at + 1;
    at = json_skip_space(at, end);
    return at < end && *at == ':' ? at + 1 : NULL;
}

/* Notes the part whose bracket is at `at`. */
static inline void note_begin(struct outline *o, const char *at, const struct key *key)
{
    if (o->count < o->room)
        o->parts[o->count] =
            (struct json_part){.start = (uint32_t)(at - o->text),
                               .key = key->text == NULL ? 0 : (uint32_t)(key->text - o->text),
                               .key_size = (uint32_t)key->size & 0x3fffffff,
                               .key_escaped = key->escaped};
    o->count++;
}

/* Notes where the part ends whose closing bracket is at `at`. */
static inline void note_end(struct outline *o, const char *at, const struct level *level)
{
    if (level->part >= o->room)
        return;
    struct json_part *part = &o->parts[level->part];
    part->size = (uint32_t)(at + 1 - o->text) - part->start;
    part->after = (uint32_t)o->count;
    part->count = level->count;
    part->parts = level->parts;
}

/* Outlines the object or array at `at`; `level` is the place before the first one. */
static const char *outline_document(struct outline *o, const char *at, struct level *level)
{
    const char *const end = o->end;
    const struct level *const lowest = level;
    do {
        struct key key = {.text = NULL};
        if (level->closing == '}' && (at = take_key(at, end, &key)) == NULL)
            return NULL;
        at = json_skip_space(at, end);
        if (at == end)
            return NULL;
        level->count++;
        if (*at == '{' || *at == '[') {
            if (level - lowest == o->depth_max)
                return NULL;
            level->parts++;
            note_begin(o, at, &key);
            *++level = (struct level){.part = o->count - 1, .closing = *at == '{' ? '}' : ']'};
            at = json_skip_space(at + 1, end);
            if (at == end)
                return NULL;
            if (*at != level->closing)
                continue;
        } else if ((at = skip_scalar(at, end)) == NULL) {
            return NULL;
        }
        /* From the end of a value to the next one of the same part, or to the end of all. */
        for (; level != lowest; at++, level--) {
            at = json_skip_space(at, end);
            if (at == end)
                return NULL;
            if (*at == ',') {
                at++;
                break;
            }
            if (*at != level->closing)
                return NULL;
            note_end(o, at, level);
        }
    } while (level != lowest);
    return at;
}

size_t json_outline(const char *text, size_t size, struct json_part *parts, size_t room)
{
    struct level levels[1 + JSON_DEPTH_MAX]; /* not initialised: most of them are never used */
    struct outline o = {.text = text,
                        .end = text + size,
                        .parts = parts,
                        .room = room,
                        .depth_max = JSON_DEPTH_MAX};
    levels[0] = (struct level){.closing = 0};
    if (size == 0 || size > JSON_OUTLINE_MAX)
        return 0;
    const char *at = json_skip_space(text, o.end);
    if (at == o.end || (*at != '{' && *at != '['))
        return 0;
    at = outline_document(&o, at, levels);
    return at != NULL && json_skip_space(at, o.end) == o.end ? o.count : 0;
}

/* Steps over the value of a field of the outermost object. */
static inline const char *skip_field_value(const char *at, const char *end)
{
    if (*at != '{' && *at != '[')
        return skip_scalar(at, end);
    struct level levels[1 + JSON_DEPTH_MAX];
    struct outline o = {.text = at, .end = end, .depth_max = JSON_DEPTH_MAX - 1};
    levels[0] = (struct level){.closing = 0};
    return outline_document(&o, at, levels);
}

size_t json_outline_fields(const char *text, size_t size, struct json_field *fields, size_t room)
{
    const char *end = text + size, *at = json_skip_space(text, end);
    struct json_marks marks = {.bits = {0}};
    size_t count = 0;
    if (size > JSON_OUTLINE_MAX || at == end || *at != '{')
        return 0;
    do {
        struct key key;
        at = take_key(json_skip_space(at + 1, end), end, &key); /* from behind a brace or comma */
        if (at == NULL || count == room || key.escaped || json_mark(&marks, key.text, key.size))
            return 0;
        at = json_skip_space(at, end);
        if (at == end)
            return 0;
        fields[count++] = (struct json_field){.key = (uint32_t)(key.text - text),
                                              .key_size = (uint32_t)key.size,
                                              .value = (uint32_t)(at - text)};
        at = skip_field_value(at, end);
        if (at == NULL)
            return 0;
        at = json_skip_space(at, end);
    } while (at < end && *at == ',');
    return at < end && *at == '}' && json_skip_space(at + 1, end) == end ? count : 0;
}
