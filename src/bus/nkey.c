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
    PUBLIC_BYTES = 1 + KEY_SIZE + 2
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

int nkey_public_of_seed(const char *seed, char public_key[NKEY_PUBLIC_SIZE], struct error *err)
{
    unsigned char bytes[SEED_BYTES];
    unsigned char public_bytes[PUBLIC_BYTES];
    int result = -1;
    if (strlen(seed) != SEED_LETTERS || decode_seed(seed, bytes) != 0) {
        error_set(err, "not an NKey seed: 58 letters A-Z and digits 2-7 are expected");
        goto cleanup;
    }
    if (crc16(bytes, SEED_BYTES - 2) != (bytes[SEED_BYTES - 2] | bytes[SEED_BYTES - 1] << 8)) {
        error_set(err, "not an NKey seed: its checksum is wrong (is a letter mistyped?)");
        goto cleanup;
    }
    unsigned char kind = (unsigned char)((bytes[0] & 7) << 5 | bytes[1] >> 3);
    if ((bytes[0] & 0xF8) != PREFIX_SEED || kind != PREFIX_USER) {
        error_set(err, "not the seed of a user: such a seed starts with SU");
        goto cleanup;
    }
    public_bytes[0] = PREFIX_USER;
    if (derive(bytes + 2, public_bytes + 1) != 0) {
        error_set(err, "the crypto library cannot derive an Ed25519 public key");
        goto cleanup;
    }
    uint16_t crc = crc16(public_bytes, PUBLIC_BYTES - 2);
    public_bytes[PUBLIC_BYTES - 2] = (unsigned char)(crc & 0xFF);
    public_bytes[PUBLIC_BYTES - 1] = (unsigned char)(crc >> 8);
    encode_public(public_bytes, public_key);
    result = 0;
cleanup:
    OPENSSL_cleanse(bytes, sizeof(bytes));
    return result;
}

int nkey_public_of_file(const char *path, char public_key[NKEY_PUBLIC_SIZE], struct error *err)
{
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return error_set(err, "cannot read %s: %s", path, strerror(errno));
    char word[128];
    int result = 1;
    while (result == 1 && fscanf(file, "%127s", word) == 1)
        if (strncmp(word, "SU", 2) == 0)
            result = nkey_public_of_seed(word, public_key, err);
    int failed = ferror(file);
    fclose(file);
    OPENSSL_cleanse(word, sizeof(word));
    if (failed)
        return error_set(err, "cannot read %s: it is no ordinary file", path);
    if (result == 1)
        return error_set(err, "%s: holds no NKey seed of a user (a word that starts with SU)",
                         path);
    return result == 0 ? 0 : error_prefix(err, "%s", path);
}
