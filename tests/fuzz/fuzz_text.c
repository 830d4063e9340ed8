/*
 * Any text on its way to those who read: a log line in both formats, a JSON string, base64, a label
 * of a metric. One event stays one line; what claims to be JSON decodes, to the same text where
 * that was UTF-8 and held no URL; no format lets a control character or a password through.
 */
#include <lauxlib.h>
#include <openssl/evp.h>

#include "base/log.h"
#include "base/redact.h"
#include "base/utf8.h"
#include "fuzz.h"
#include "ops/escape.h"
#include "rules/json.h"

static lua_State *L;

/* Pushes what a JSON text stands for. */
static void push_json(const char *text, size_t size)
{
    char *exact = copy_bytes(text, size);
    must(json_decode(L, exact, size) == 0);
    free(exact);
}

/*
 * Whether the value on the top is this text, or may be after what was not UTF-8 has been replaced.
 */
static void must_stand_for(const char *text)
{
    must(lua_type(L, -1) == LUA_TSTRING);
    if (utf8_is_valid(text, strlen(text)))
        must(strcmp(lua_tostring(L, -1), text) == 0);
}

/* Logs the text in a format and returns the line, without its end; the caller frees it. */
static char *log_line(enum log_format format, const char *text)
{
    char *line = NULL;
    size_t size = 0;
    FILE *stream = open_memstream(&line, &size);
    must(stream != NULL);
    log_open(LOG_LEVEL_INFO, format, stream);
    log_warn(text, "%s", text);
    log_flush();
    log_open(LOG_LEVEL_ERROR, format, NULL);
    must(fclose(stream) == 0 && size > 0 && strlen(line) == size && line[size - 1] == '\n');
    line[size - 1] = '\0';
    must(utf8_is_valid(line, strlen(line)));
    for (const char *c = line; *c != '\0'; c++)
        must((unsigned char)*c >= ' ' && *c != 0x7f);
    return line;
}

static void check_log(const char *text)
{
    char *line = log_line(LOG_FORMAT_JSON, text);
    push_json(line, strlen(line));
    must(lua_getfield(L, -1, "time") == LUA_TSTRING && lua_rawlen(L, -1) == 24);
    must(lua_getfield(L, -2, "level") == LUA_TSTRING && lua_rawlen(L, -1) == 4);
    must(lua_getfield(L, -3, "component") == LUA_TSTRING);
    must(lua_getfield(L, -4, "message") == LUA_TSTRING);
    if (strlen(text) < 4000 && strstr(text, "://") == NULL)
        must_stand_for(text);
    free(line);
    free(log_line(LOG_FORMAT_TEXT, text));
}

static void check_json(const char *text)
{
    char *out = NULL;
    size_t size = 0;
    FILE *stream = open_memstream(&out, &size);
    must(stream != NULL);
    escape_json(stream, text);
    must(fclose(stream) == 0);
    push_json(out, size);
    must_stand_for(text);
    free(out);
}

static void check_base64(const uint8_t *data, size_t size)
{
    char *out = NULL;
    size_t out_size = 0;
    FILE *stream = open_memstream(&out, &out_size);
    must(stream != NULL);
    escape_base64(stream, (const char *)data, size);
    must(fclose(stream) == 0 && out_size == (size + 2) / 3 * 4);
    unsigned char *again = malloc(out_size + 1);
    int decoded = EVP_DecodeBlock(again, (const unsigned char *)out, (int)out_size);
    must(decoded >= (int)size && (size == 0 || memcmp(again, data, size) == 0));
    free(again);
    free(out);
}

static void check_label(const char *text)
{
    char *out = NULL;
    size_t size = 0;
    FILE *stream = open_memstream(&out, &size);
    must(stream != NULL);
    escape_label(stream, text);
    must(fclose(stream) == 0 && strlen(out) == size && utf8_is_valid(out, size));
    const char *at = text;
    for (size_t i = 0; i < size; i++) { /* a quote or a line end only behind a backslash */
        bool escaped = out[i] == '\\';
        must(out[i] != '"' && out[i] != '\n');
        i += escaped;
        char stands_for = escaped && out[i] == 'n' ? '\n' : out[i];
        must(!utf8_is_valid(text, strlen(text)) || *at++ == stands_for);
    }
    must(!utf8_is_valid(text, strlen(text)) || *at == '\0');
    free(out);
}

/* What stands before the @ of a URL is stars, three at most; the rest is as it was. */
static void check_secrets(const char *text, size_t size)
{
    char *redacted = copy_text(text, size);
    redact_urls(redacted, size + 1 + 100);
    must(strlen(redacted) <= size);
    for (const char *url = redacted; (url = strstr(url, "://")) != NULL; url += 3) {
        size_t length = strcspn(url + 3, " \t\r\n\"'`,<>");
        const char *end = memrchr(url + 3, '@', length);
        size_t secret = end != NULL ? (size_t)(end - url) - 3 : 0;
        must(secret <= 3 && strspn(url + 3, "*") >= secret);
    }
    if (strstr(text, "://") == NULL)
        must(strcmp(text, redacted) == 0);
    char *twice = copy_text(redacted, strlen(redacted));
    redact_urls(twice, size + 1 + 100);
    must(strcmp(twice, redacted) == 0);
    free(twice);
    free(redacted);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (L == NULL) {
        L = luaL_newstate();
        json_open(L);
    }
    lua_settop(L, 0);
    char *text = copy_text(data, size);
    size_t text_size = strlen(text);
    check_log(text);
    check_json(text);
    check_base64(data, size);
    check_label(text);
    check_secrets(text, text_size);
    free(text);
    return 0;
}
