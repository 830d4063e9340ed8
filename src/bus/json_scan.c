#include "bus/json_scan.h"

#include <string.h>

/*
 * One recursive descent over the text does both jobs: it checks the grammar, and carries along what
 * is left of the path. Where nothing is left, the value found is the one asked for. NULL stands for
 * "not on the path".
 */

struct scan {
    const char *at, *end;
    const char *found; /* the value at the path, as it is written; NULL: not met yet */
    size_t found_size;
};

/* Where a string's bytes go once decoded; `out` NULL: they are only checked. */
struct sink {
    char *out;
    size_t size, used;
    bool overflow;
};

static void skip_blanks(struct scan *scan)
{
    while (scan->at < scan->end &&
           (*scan->at == ' ' || *scan->at == '\t' || *scan->at == '\n' || *scan->at == '\r'))
        scan->at++;
}

/* Takes `byte` if it comes next. */
static bool take(struct scan *scan, char byte)
{
    if (scan->at >= scan->end || *scan->at != byte)
        return false;
    scan->at++;
    return true;
}

static bool is_digit(char byte)
{
    return byte >= '0' && byte <= '9';
}

static bool take_digits(struct scan *scan)
{
    const char *first = scan->at;
    while (scan->at < scan->end && is_digit(*scan->at))
        scan->at++;
    return scan->at > first;
}

static bool take_word(struct scan *scan, const char *word)
{
    size_t size = strlen(word);
    if ((size_t)(scan->end - scan->at) < size || memcmp(scan->at, word, size) != 0)
        return false;
    scan->at += size;
    return true;
}

static bool take_number(struct scan *scan)
{
    take(scan, '-');
    if (!take(scan, '0') && !take_digits(scan))
        return false;
    if (take(scan, '.') && !take_digits(scan))
        return false;
    if (take(scan, 'e') || take(scan, 'E')) {
        if (!take(scan, '+'))
            take(scan, '-');
        return take_digits(scan);
    }
    return true;
}

static void sink_put(struct sink *sink, unsigned byte)
{
    if (sink->out == NULL)
        return;
    if (byte == 0 || sink->used + 1 >= sink->size) {
        sink->overflow = true;
        return;
    }
    sink->out[sink->used++] = (char)byte;
}

static void sink_put_utf8(struct sink *sink, unsigned code)
{
    if (code < 0x80) {
        sink_put(sink, code);
    } else if (code < 0x800) {
        sink_put(sink, 0xC0 | code >> 6);
        sink_put(sink, 0x80 | (code & 0x3F));
    } else if (code < 0x10000) {
        sink_put(sink, 0xE0 | code >> 12);
        sink_put(sink, 0x80 | (code >> 6 & 0x3F));
        sink_put(sink, 0x80 | (code & 0x3F));
    } else {
        sink_put(sink, 0xF0 | code >> 18);
        sink_put(sink, 0x80 | (code >> 12 & 0x3F));
        sink_put(sink, 0x80 | (code >> 6 & 0x3F));
        sink_put(sink, 0x80 | (code & 0x3F));
    }
}

static bool take_hex4(struct scan *scan, unsigned *code)
{
    *code = 0;
    for (int i = 0; i < 4; i++) {
        if (scan->at >= scan->end)
            return false;
        char byte = *scan->at++;
        unsigned digit;
        if (is_digit(byte))
            digit = (unsigned)(byte - '0');
        else if (byte >= 'a' && byte <= 'f')
            digit = (unsigned)(byte - 'a') + 10;
        else if (byte >= 'A' && byte <= 'F')
            digit = (unsigned)(byte - 'A') + 10;
        else
            return false;
        *code = *code << 4 | digit;
    }
    return true;
}

/* After `\u`. A character outside the basic plane is two of them; half a pair is no character. */
static bool take_unicode(struct scan *scan, struct sink *sink)
{
    unsigned code, low;
    if (!take_hex4(scan, &code))
        return false;
    if (code >= 0xDC00 && code <= 0xDFFF)
        return false;
    if (code >= 0xD800 && code <= 0xDBFF) {
        if (!take(scan, '\\') || !take(scan, 'u') || !take_hex4(scan, &low))
            return false;
        if (low < 0xDC00 || low > 0xDFFF)
            return false;
        code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
    }
    sink_put_utf8(sink, code);
    return true;
}

static bool take_escape(struct scan *scan, struct sink *sink)
{
    static const char names[] = "\"\\/bfnrt";
    static const char bytes[] = "\"\\/\b\f\n\r\t";
    if (scan->at >= scan->end)
        return false;
    char name = *scan->at++;
    if (name == 'u')
        return take_unicode(scan, sink);
    const char *known = name != '\0' ? strchr(names, name) : NULL;
    if (known == NULL)
        return false;
    sink_put(sink, (unsigned char)bytes[known - names]);
    return true;
}

static bool take_string(struct scan *scan, struct sink *sink)
{
    if (!take(scan, '"'))
        return false;
    while (scan->at < scan->end) {
        unsigned char byte = (unsigned char)*scan->at++;
        if (byte == '"')
            return true;
        if (byte < 0x20)
            return false;
        if (byte != '\\')
            sink_put(sink, byte);
        else if (!take_escape(scan, sink))
            return false;
    }
    return false;
}

/*
 * What is left of `path` behind its first part, when that is the key; else NULL. The key is
 * compared as the beginning of the path, so that a key with a dot in it can be named too.
 */
static const char *path_after(const char *path, const char *key, size_t size)
{
    if (path == NULL || strncmp(path, key, size) != 0 || memchr(key, '\0', size) != NULL)
        return NULL;
    if (path[size] == '.' && path[size + 1] != '\0')
        return path + size + 1;
    return path[size] == '\0' && size > 0 ? path + size : NULL;
}

/* The same for the position in an array. */
static const char *path_after_index(const char *path, int index)
{
    if (path == NULL || !is_digit(*path))
        return NULL;
    int wanted = 0;
    const char *at = path;
    for (; is_digit(*at) && wanted < 100000000; at++)
        wanted = wanted * 10 + (*at - '0');
    return path_after(wanted == index ? path : NULL, path, (size_t)(at - path));
}

static bool take_value(struct scan *scan, const char *path, int depth);

static bool take_object(struct scan *scan, const char *path, int depth)
{
    scan->at++;
    skip_blanks(scan);
    if (take(scan, '}'))
        return true;
    do {
        /* A longer key is not decoded whole and cannot be named: no path of ours has one. */
        char key[128];
        struct sink sink = {.out = path != NULL ? key : NULL, .size = sizeof(key)};
        skip_blanks(scan);
        if (!take_string(scan, &sink))
            return false;
        const char *rest = sink.overflow ? NULL : path_after(path, key, sink.used);
        skip_blanks(scan);
        if (!take(scan, ':') || !take_value(scan, rest, depth + 1))
            return false;
        skip_blanks(scan);
    } while (take(scan, ','));
    return take(scan, '}');
}

static bool take_array(struct scan *scan, const char *path, int depth)
{
    scan->at++;
    skip_blanks(scan);
    if (take(scan, ']'))
        return true;
    int index = 0;
    do {
        if (!take_value(scan, path_after_index(path, index++), depth + 1))
            return false;
        skip_blanks(scan);
    } while (take(scan, ','));
    return take(scan, ']');
}

static bool take_value(struct scan *scan, const char *path, int depth)
{
    skip_blanks(scan);
    if (scan->at >= scan->end || depth > JSON_SCAN_DEPTH_MAX)
        return false;
    const char *first = scan->at;
    struct sink nowhere = {.out = NULL};
    bool valid;
    switch (*first) {
    case '{':
        valid = take_object(scan, path, depth);
        break;
    case '[':
        valid = take_array(scan, path, depth);
        break;
    case '"':
        valid = take_string(scan, &nowhere);
        break;
    case 't':
        valid = take_word(scan, "true");
        break;
    case 'f':
        valid = take_word(scan, "false");
        break;
    case 'n':
        valid = take_word(scan, "null");
        break;
    default:
        valid = take_number(scan);
    }
    if (valid && path != NULL && *path == '\0' && scan->found == NULL) {
        scan->found = first;
        scan->found_size = (size_t)(scan->at - first);
    }
    return valid;
}

/* The value at `path`, as it is written, with nothing around it. */
static bool find(const char *text, size_t size, const char *path, struct scan *value)
{
    if (text == NULL)
        return false;
    struct scan scan = {.at = text, .end = text + size};
    if (!take_value(&scan, path, 0))
        return false;
    skip_blanks(&scan);
    if (scan.at != scan.end || scan.found == NULL)
        return false;
    *value = (struct scan){.at = scan.found, .end = scan.found + scan.found_size};
    return true;
}

bool json_scan_valid(const char *text, size_t size)
{
    struct scan value;
    return find(text, size, "", &value);
}

bool json_scan_has(const char *text, size_t size, const char *path)
{
    struct scan value;
    return find(text, size, path, &value) && *value.at != 'n';
}

bool json_scan_string(const char *text, size_t size, const char *path, char *out, size_t out_size)
{
    struct scan value;
    struct sink sink = {.out = out, .size = out_size};
    if (out_size == 0)
        return false;
    out[0] = '\0';
    if (!find(text, size, path, &value) || !take_string(&value, &sink))
        return false;
    out[sink.overflow ? 0 : sink.used] = '\0';
    return !sink.overflow;
}

bool json_scan_integer(const char *text, size_t size, const char *path, int64_t *integer)
{
    struct scan value;
    if (!find(text, size, path, &value))
        return false;
    bool negative = take(&value, '-');
    /* Summed up below zero, where int64_t reaches one further. */
    int64_t sum = 0;
    const char *first = value.at;
    for (; value.at < value.end && is_digit(*value.at); value.at++)
        if (__builtin_mul_overflow(sum, 10, &sum) ||
            __builtin_sub_overflow(sum, (int64_t)(*value.at - '0'), &sum))
            return false;
    if (value.at != value.end || value.at == first || (!negative && sum == INT64_MIN))
        return false;
    *integer = negative ? sum : -sum;
    return true;
}

bool json_scan_bool(const char *text, size_t size, const char *path, bool *boolean)
{
    struct scan value;
    if (!find(text, size, path, &value) || (*value.at != 't' && *value.at != 'f'))
        return false;
    *boolean = *value.at == 't';
    return true;
}

bool json_scan_raw(const char *text, size_t size, const char *path, const char **raw,
                   size_t *raw_size)
{
    struct scan value;
    if (!find(text, size, path, &value))
        return false;
    *raw = value.at;
    *raw_size = (size_t)(value.end - value.at);
    return true;
}

int json_scan_count(const char *text, size_t size, const char *path)
{
    struct scan value;
    if (!find(text, size, path, &value) || (*value.at != '[' && *value.at != '{'))
        return -1;
    bool object = *value.at == '{';
    int count = 0;
    struct sink nowhere = {.out = NULL};
    do {
        value.at++; /* the bracket, then each comma */
        skip_blanks(&value);
        if (*value.at == ']' || *value.at == '}')
            break;
        if (object) {
            take_string(&value, &nowhere);
            skip_blanks(&value);
            take(&value, ':');
        }
        take_value(&value, NULL, 0);
        skip_blanks(&value);
        count++;
    } while (*value.at == ',');
    return count;
}

bool json_scan_members(const char *text, size_t size, const char *path, json_scan_member *member,
                       void *context)
{
    struct scan value;
    struct sink nowhere = {.out = NULL};
    if (!find(text, size, path, &value) || *value.at != '{')
        return false;
    do {
        value.at++; /* the bracket, then each comma */
        skip_blanks(&value);
        if (*value.at == '}')
            break;
        const char *key = value.at + 1;
        take_string(&value, &nowhere);
        size_t key_size = (size_t)(value.at - 1 - key);
        skip_blanks(&value);
        take(&value, ':');
        skip_blanks(&value);
        const char *raw = value.at;
        take_value(&value, NULL, 0);
        member(key, key_size, raw, (size_t)(value.at - raw), context);
        skip_blanks(&value);
    } while (*value.at == ',');
    return true;
}
