#include "bus/creds.h"

#include "base/clock.h"
#include "bus/json_scan.h"
#include "bus/nkey.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { FILE_SIZE_MAX = 64 * 1024 };

/* The whole file, NUL-terminated. NULL: the error names it. */
static char *read_file(const char *path, struct error *err)
{
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        error_set(err, "cannot read %s: %s", path, strerror(errno));
        return NULL;
    }
    setvbuf(file, NULL, _IONBF, 0); /* no copy of a secret is left in a buffer */
    char *text = malloc(FILE_SIZE_MAX + 1);
    size_t size = text != NULL ? fread(text, 1, FILE_SIZE_MAX + 1, file) : 0;
    int failure = text == NULL ? ENOMEM : ferror(file) ? errno : 0;
    fclose(file);
    if (failure == 0 && size > 0 && size <= FILE_SIZE_MAX) {
        text[size] = '\0';
        return text;
    }
    if (failure != 0)
        error_set(err, "cannot read %s: %s", path, strerror(failure));
    else if (size == 0)
        error_set(err, "%s is empty", path);
    else
        error_set(err, "%s has more than %d bytes: this is no creds file", path, FILE_SIZE_MAX);
    free(text);
    return NULL;
}

static void forget(char *text)
{
    if (text != NULL)
        OPENSSL_cleanse(text, strlen(text));
    free(text);
}

/* The token: a word of three parts whose first begins as JSON does in base64. */
static char *find_token(char *text, size_t *size)
{
    for (char *at = text; (at = strstr(at, "eyJ")) != NULL; at += *size) {
        *size = strspn(at, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.");
        const char *first = memchr(at, '.', *size);
        if (first != NULL && memchr(first + 1, '.', *size - (size_t)(first + 1 - at)) != NULL &&
            (at == text || at[-1] == '\n'))
            return at;
    }
    return NULL;
}

static const char *find_seed(const char *text)
{
    const char *at = strstr(text, "\nSU");
    return at != NULL ? at + 1 : NULL;
}

int creds_check(const char *path, struct error *err)
{
    size_t size;
    char seed[128], public_key[NKEY_PUBLIC_SIZE];
    int result = -1;
    char *text = read_file(path, err);
    if (text == NULL)
        return -1;
    const char *found = find_seed(text);
    if (strchr(text, '\r') != NULL) {
        error_set(err,
                  "%s has the line ends of Windows, which libnats cannot read: save it with "
                  "those of Unix",
                  path);
    } else if (find_token(text, &size) == NULL) {
        error_set(err, "%s: holds no JWT of a user: this is no creds file", path);
    } else if (found == NULL) {
        error_set(err, "%s: holds no NKey seed of a user (a line that starts with SU)", path);
    } else {
        snprintf(seed, sizeof(seed), "%.*s", (int)strcspn(found, " \t\n"), found);
        result = nkey_public_of_seed(seed, public_key, err);
        OPENSSL_cleanse(seed, sizeof(seed));
        if (result != 0)
            error_prefix(err, "%s", path);
    }
    forget(text);
    return result;
}

/* Decodes base64 as URLs have it, in place; stops at what is none. Returns the size. */
static size_t decode_base64(char *text, size_t size)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    unsigned bits = 0, count = 0;
    size_t used = 0;
    for (size_t i = 0; i < size; i++) {
        const char *digit = text[i] != '\0' ? strchr(digits, text[i]) : NULL;
        if (digit == NULL)
            break;
        bits = (bits << 6 | (unsigned)(digit - digits)) & 0xFFFF;
        count += 6;
        if (count >= 8) {
            count -= 8;
            text[used++] = (char)(bits >> count & 0xFF);
        }
    }
    return used;
}

int creds_expired(const char *path, char when[UNITS_TIME_TEXT])
{
    size_t token_size;
    int64_t expires = 0;
    int result = 0;
    char *text = read_file(path, NULL);
    char *token = text != NULL ? find_token(text, &token_size) : NULL;
    if (token != NULL) {
        char *claims = memchr(token, '.', token_size);
        claims++; /* find_token has seen the dot */
        size_t claims_size = decode_base64(claims, token_size - (size_t)(claims - token));
        time_t now = time(NULL);
        if (json_scan_integer(claims, claims_size, "exp", &expires) && expires > 0 &&
            expires <= (int64_t)now) {
            units_format_time(expires * NS_PER_S, 0, when);
            result = 1;
        }
    }
    forget(text);
    return result;
}
