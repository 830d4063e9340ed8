#include "jwt.h"

#include <openssl/evp.h>
#include <openssl/rand.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    SEED_PREFIX = 18 << 3, /* "S" as the first letter of base32 */
    SIGNATURE_SIZE = 64,
    REVOKED_SIZE = 160
};

/* ---- keys ---- */

/* CRC-16/XMODEM over `size` bytes, appended low byte first. */
static void append_crc(unsigned char *bytes, size_t size)
{
    unsigned crc = 0;
    for (size_t i = 0; i < size; i++) {
        crc ^= (unsigned)bytes[i] << 8;
        for (int bit = 0; bit < 8; bit++)
            crc = (crc & 0x8000) != 0 ? (crc << 1 ^ 0x1021) & 0xFFFF : crc << 1;
    }
    bytes[size] = (unsigned char)(crc & 0xFF);
    bytes[size + 1] = (unsigned char)(crc >> 8);
}

/* Base32 without padding; `text` has room for it. */
static void encode_base32(const unsigned char *bytes, size_t size, char *text)
{
    static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    unsigned bits = 0, count = 0;
    for (size_t i = 0; i < size; i++) {
        bits = (bits << 8 | bytes[i]) & 0xFFF;
        for (count += 8; count >= 5; count -= 5)
            *text++ = alphabet[bits >> (count - 5) & 31];
    }
    if (count > 0)
        *text++ = alphabet[bits << (5 - count) & 31];
    *text = '\0';
}

int jwt_key_make(struct jwt_key *key, enum jwt_kind kind)
{
    unsigned char bytes[2 + 32 + 2];
    unsigned char prefix = (unsigned char)((kind - 'A') << 3);
    size_t size = 32;
    if (RAND_bytes(key->secret, sizeof(key->secret)) != 1)
        return -1;
    bytes[0] = (unsigned char)(SEED_PREFIX | prefix >> 5);
    bytes[1] = (unsigned char)((prefix & 31) << 3);
    memcpy(bytes + 2, key->secret, 32);
    append_crc(bytes, 2 + 32);
    encode_base32(bytes, 2 + 32 + 2, key->seed);

    EVP_PKEY *pair = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, key->secret, 32);
    int made = pair != NULL && EVP_PKEY_get_raw_public_key(pair, bytes + 1, &size) == 1;
    EVP_PKEY_free(pair);
    bytes[0] = prefix;
    append_crc(bytes, 1 + 32);
    encode_base32(bytes, 1 + 32 + 2, key->public_key);
    return made ? 0 : -1;
}

/* ---- tokens ---- */

/* Base64 for URLs, without padding. */
static char *encode_base64(const void *bytes, size_t size)
{
    char *text = malloc(size / 3 * 4 + 5);
    if (text == NULL)
        return NULL;
    EVP_EncodeBlock((unsigned char *)text, bytes, (int)size);
    text[strcspn(text, "=")] = '\0';
    for (char *at = text; *at != '\0'; at++)
        *at = (char)(*at == '+' ? '-' : *at == '/' ? '_' : *at);
    return text;
}

static int sign(const struct jwt_key *key, const char *text, unsigned char *signature)
{
    size_t size = SIGNATURE_SIZE;
    EVP_PKEY *pair = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, key->secret, 32);
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    int made =
        pair != NULL && context != NULL &&
        EVP_DigestSignInit(context, NULL, NULL, NULL, pair) == 1 &&
        EVP_DigestSign(context, signature, &size, (const unsigned char *)text, strlen(text)) == 1;
    EVP_MD_CTX_free(context);
    EVP_PKEY_free(pair);
    return made ? 0 : -1;
}

/* printf into a text of its own; NULL when memory runs out. */
static char *__attribute__((format(printf, 1, 2))) format(const char *template, ...)
{
    char *text = NULL;
    va_list args;
    va_start(args, template);
    int size = vasprintf(&text, template, args);
    va_end(args);
    return size >= 0 ? text : NULL;
}

char *jwt_sign(const struct jwt_key *issuer, const char *subject, int64_t expires, const char *nats)
{
    static const char header[] = "{\"typ\":\"JWT\",\"alg\":\"ed25519-nkey\"}";
    unsigned char signature[SIGNATURE_SIZE];
    char *claims = NULL, *head = NULL, *body = NULL, *text = NULL, *tail = NULL, *token = NULL;
    char until[48] = "";
    if (expires != 0)
        snprintf(until, sizeof(until), "\"exp\":%lld,", (long long)expires);
    claims = format("{\"jti\":\"%.20s\",\"iat\":%lld,%s\"iss\":\"%s\",\"sub\":\"%s\","
                    "\"name\":\"test\",\"nats\":%s}",
                    subject, (long long)time(NULL), until, issuer->public_key, subject, nats);
    head = encode_base64(header, strlen(header));
    body = claims != NULL ? encode_base64(claims, strlen(claims)) : NULL;
    text = head != NULL && body != NULL ? format("%s.%s", head, body) : NULL;
    if (text != NULL && sign(issuer, text, signature) == 0)
        tail = encode_base64(signature, sizeof(signature));
    if (tail != NULL)
        token = format("%s.%s", text, tail);
    free(claims);
    free(head);
    free(body);
    free(text);
    free(tail);
    return token;
}

/* ---- a realm ---- */

int jwt_realm_make(struct jwt_realm *realm)
{
    return jwt_key_make(&realm->operator_key, JWT_OPERATOR) == 0 &&
                   jwt_key_make(&realm->system, JWT_ACCOUNT) == 0 &&
                   jwt_key_make(&realm->account, JWT_ACCOUNT) == 0
               ? 0
               : -1;
}

static char *account_token(const struct jwt_realm *realm, const struct jwt_key *account,
                           const char *jetstream, const char *revocations)
{
    char *claims = format("{\"limits\":{\"subs\":-1,\"data\":-1,\"payload\":-1,\"imports\":-1,"
                          "\"exports\":-1,\"wildcards\":true,\"conn\":-1,\"leaf\":-1%s},"
                          "\"revocations\":{%s},\"default_permissions\":{\"pub\":{},\"sub\":{}},"
                          "\"type\":\"account\",\"version\":2}",
                          jetstream, revocations);
    char *token =
        claims != NULL ? jwt_sign(&realm->operator_key, account->public_key, 0, claims) : NULL;
    free(claims);
    return token;
}

char *jwt_realm_config(const struct jwt_realm *realm, const char *revoked)
{
    char revocation[REVOKED_SIZE] = "";
    char *config = NULL;
    if (revoked != NULL) /* with all tokens that were made for it up to now */
        snprintf(revocation, sizeof(revocation), "\"%s\":%lld", revoked, (long long)time(NULL));
    char *chief = jwt_sign(&realm->operator_key, realm->operator_key.public_key, 0,
                           "{\"type\":\"operator\",\"version\":2}");
    char *system = account_token(realm, &realm->system, "", "");
    char *account = account_token(realm, &realm->account,
                                  ",\"mem_storage\":-1,\"disk_storage\":-1,\"streams\":-1,"
                                  "\"consumer\":-1",
                                  revocation);
    if (chief != NULL && system != NULL && account != NULL)
        config = format("operator: %s\nsystem_account: %s\nresolver: MEMORY\n"
                        "resolver_preload: {\n  %s: %s\n  %s: %s\n}\n",
                        chief, realm->system.public_key, realm->system.public_key, system,
                        realm->account.public_key, account);
    free(chief);
    free(system);
    free(account);
    return config;
}

char *jwt_creds(const struct jwt_key *account, const struct jwt_key *user, int64_t expires)
{
    char *token = jwt_sign(account, user->public_key, expires,
                           "{\"pub\":{},\"sub\":{},\"subs\":-1,\"data\":-1,\"payload\":-1,"
                           "\"type\":\"user\",\"version\":2}");
    char *creds = token != NULL ? format("-----BEGIN NATS USER JWT-----\n%s\n"
                                         "------END NATS USER JWT------\n\n"
                                         "-----BEGIN USER NKEY SEED-----\n%s\n"
                                         "------END USER NKEY SEED------\n",
                                         token, user->seed)
                                : NULL;
    free(token);
    return creds;
}
