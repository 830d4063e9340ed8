#include "bus/nkey.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

/*
 * A seed is base32(two prefix bytes, 32 key bytes, CRC16), a public key base32(one prefix byte, 32
 * bytes, CRC16). The two prefix bytes of a seed hold "S" in five bits, then the byte that begins
 * the public key.
 */

enum {
    KEY_SIZE = 32,
    PREFIX_SEED = 18 << 3, /* "S" as the first base32 letter */
    PREFIX_USER = 20 << 3, /* "U" */
    SEED_BYTES = 2 + KEY_SIZE + 2,
    SEED_LETTERS = 58,
    PUBLIC_BYTES = 1 + KEY_SIZE + 2,
    WORD_SIZE = 128
};

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/* CRC-16/XMODEM, which NKeys end in, low byte first. */
static uint16_t crc16(const unsigned char *bytes, size_t size)
{
    uint16_t crc = 0;
    for (size_t i = 0; i < size; i++) {
        crc = (uint16_t)(crc ^ (bytes[i] << 8));
        for (int bit = 0; bit < 8; bit++)
            crc = (uint16_t)((crc & 0x8000) != 0 ? (crc << 1) ^ 0x1021 : crc << 1);
    }
    return crc;
}

/* Decodes SEED_LETTERS letters into SEED_BYTES bytes; the two bits left over must be zero. */
static int decode_seed(const char *seed, unsigned char bytes[SEED_BYTES])
{
    unsigned bits = 0, count = 0;
    size_t used = 0;
    for (size_t i = 0; i < SEED_LETTERS; i++) {
        const char *letter = strchr(alphabet, seed[i]);
        if (letter == NULL)
            return -1;
        bits = (bits << 5 | (unsigned)(letter - alphabet)) & 0xFFF;
        count += 5;
        if (count >= 8) {
            count -= 8;
            bytes[used++] = (unsigned char)(bits >> count);
        }
    }
    return (bits & ((1u << count) - 1)) == 0 ? 0 : -1;
}

/* PUBLIC_BYTES bytes are exactly 56 letters. */
static void encode_public(const unsigned char bytes[PUBLIC_BYTES], char text[NKEY_PUBLIC_SIZE])
{
    unsigned bits = 0, count = 0;
    size_t used = 0;
    for (size_t i = 0; i < PUBLIC_BYTES; i++) {
        bits = (bits << 8 | bytes[i]) & 0x1FFF;
        for (count += 8; count >= 5; count -= 5)
            text[used++] = alphabet[bits >> (count - 5) & 31];
    }
    text[used] = '\0';
}

/* Ed25519: the public half of a private key. */
static int derive(const unsigned char private_key[KEY_SIZE], unsigned char public_key[KEY_SIZE])
{
    size_t size = KEY_SIZE;
    EVP_PKEY *key = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, private_key, KEY_SIZE);
    int derived = key != NULL && EVP_PKEY_get_raw_public_key(key, public_key, &size) == 1;
    EVP_PKEY_free(key);
    return derived && size == KEY_SIZE ? 0 : -1;
}

/* The bytes of a user's seed, when it is one. The caller wipes them in any case. */
static int read_seed(const char *seed, unsigned char bytes[SEED_BYTES], struct error *err)
{
    if (strlen(seed) != SEED_LETTERS || decode_seed(seed, bytes) != 0)
        return error_set(err, "not an NKey seed: 58 letters A-Z and digits 2-7 are expected");
    if (crc16(bytes, SEED_BYTES - 2) != (bytes[SEED_BYTES - 2] | bytes[SEED_BYTES - 1] << 8))
        return error_set(err, "not an NKey seed: its checksum is wrong (is a letter mistyped?)");
    unsigned char kind = (unsigned char)((bytes[0] & 7) << 5 | bytes[1] >> 3);
    if ((bytes[0] & 0xF8) != PREFIX_SEED || kind != PREFIX_USER)
        return error_set(err, "not the seed of a user: such a seed starts with SU");
    return 0;
}

int nkey_public_of_seed(const char *seed, char public_key[NKEY_PUBLIC_SIZE], struct error *err)
{
    unsigned char bytes[SEED_BYTES];
    unsigned char public_bytes[PUBLIC_BYTES];
    int result = read_seed(seed, bytes, err);
    public_bytes[0] = PREFIX_USER;
    if (result == 0 && derive(bytes + 2, public_bytes + 1) != 0)
        result = error_set(err, "the crypto library cannot derive an Ed25519 public key");
    OPENSSL_cleanse(bytes, sizeof(bytes));
    if (result != 0)
        return -1;
    uint16_t crc = crc16(public_bytes, PUBLIC_BYTES - 2);
    public_bytes[PUBLIC_BYTES - 2] = (unsigned char)(crc & 0xFF);
    public_bytes[PUBLIC_BYTES - 1] = (unsigned char)(crc >> 8);
    encode_public(public_bytes, public_key);
    return 0;
}

/* The first word that starts with "SU". */
static int find_seed(const char *path, char word[WORD_SIZE], struct error *err)
{
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return error_set(err, "cannot read %s: %s", path, strerror(errno));
    int found = 0;
    while (!found && fscanf(file, "%127s", word) == 1)
        found = strncmp(word, "SU", 2) == 0;
    int failed = ferror(file);
    fclose(file);
    if (failed)
        return error_set(err, "cannot read %s: it is no ordinary file", path);
    if (!found)
        return error_set(err, "%s: holds no NKey seed of a user (a word that starts with SU)",
                         path);
    return 0;
}

int nkey_public_of_file(const char *path, char public_key[NKEY_PUBLIC_SIZE], struct error *err)
{
    char word[WORD_SIZE];
    int result = find_seed(path, word, err);
    if (result == 0 && nkey_public_of_seed(word, public_key, err) != 0)
        result = error_prefix(err, "%s", path);
    OPENSSL_cleanse(word, sizeof(word));
    return result;
}

/* Ed25519. */
static int sign(const unsigned char private_key[KEY_SIZE], const char *text,
                unsigned char signature[NKEY_SIGNATURE_SIZE])
{
    size_t size = NKEY_SIGNATURE_SIZE;
    EVP_PKEY *key = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, private_key, KEY_SIZE);
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    int made =
        key != NULL && context != NULL && EVP_DigestSignInit(context, NULL, NULL, NULL, key) == 1 &&
        EVP_DigestSign(context, signature, &size, (const unsigned char *)text, strlen(text)) == 1;
    EVP_MD_CTX_free(context);
    EVP_PKEY_free(key);
    return made && size == NKEY_SIGNATURE_SIZE ? 0 : -1;
}

int nkey_sign_by_file(const char *path, const char *text,
                      unsigned char signature[NKEY_SIGNATURE_SIZE], struct error *err)
{
    char word[WORD_SIZE];
    unsigned char bytes[SEED_BYTES];
    int result = find_seed(path, word, err);
    if (result == 0 && read_seed(word, bytes, err) != 0)
        result = error_prefix(err, "%s", path);
    if (result == 0 && sign(bytes + 2, text, signature) != 0)
        result = error_set(err, "the crypto library cannot sign with Ed25519");
    OPENSSL_cleanse(word, sizeof(word));
    OPENSSL_cleanse(bytes, sizeof(bytes));
    return result;
}
