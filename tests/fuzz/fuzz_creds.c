/*
 * Files with secrets, of any bytes: each reader takes them or says in a line what is wrong, without
 * the secret in it. A seed made of the bytes is taken wherever it stands, what is signed with it
 * verifies with the public key it gives, and with one letter changed it is none.
 */
#include "bus/creds.h"

#include <openssl/evp.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bus/nkey.h"
#include "fuzz.h"

enum { KEY_SIZE = 32, SEED_SIZE = 59 };

static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

static uint16_t checksum(const unsigned char *bytes, size_t size)
{
    unsigned crc = 0;
    for (size_t i = 0; i < size * 8; i++) {
        unsigned bit = bytes[i / 8] >> (7 - i % 8) & 1;
        crc = crc << 1 ^ ((crc >> 15 ^ bit) & 1 ? 0x1021 : 0);
        crc &= 0xffff;
    }
    return (uint16_t)crc;
}

/* base32 of the prefix for a user's seed, the key and the checksum. */
static void write_seed(const unsigned char key[KEY_SIZE], char seed[SEED_SIZE])
{
    unsigned char bytes[37] = {18 << 3 | 20 >> 2, (20 << 6) & 0xff};
    bytes[0] = (unsigned char)(18 << 3 | (20 << 3) >> 5);
    bytes[1] = (unsigned char)((20 << 3) << 3);
    memcpy(bytes + 2, key, KEY_SIZE);
    uint16_t crc = checksum(bytes, 34);
    bytes[34] = (unsigned char)crc;
    bytes[35] = (unsigned char)(crc >> 8);
    for (size_t i = 0; i < SEED_SIZE - 1; i++) {
        unsigned pair = (unsigned)bytes[i * 5 / 8] << 8 | bytes[i * 5 / 8 + 1];
        seed[i] = letters[pair >> (11 - i * 5 % 8) & 31];
    }
    seed[SEED_SIZE - 1] = '\0';
}

/* The key in a public key's 56 letters, whose last two bytes must be the checksum. */
static void read_public(const char *text, unsigned char key[KEY_SIZE])
{
    unsigned char bytes[35] = {0};
    must(strlen(text) == 56 && strspn(text, letters) == 56 && *text == 'U');
    for (size_t i = 0; i < 56; i++)
        for (size_t bit = 0; bit < 5; bit++)
            if ((strchr(letters, text[i]) - letters) >> (4 - bit) & 1)
                bytes[(i * 5 + bit) / 8] |= (unsigned char)(1 << (7 - (i * 5 + bit) % 8));
    uint16_t crc = checksum(bytes, 33);
    must(bytes[33] == (crc & 0xff) && bytes[34] == crc >> 8);
    memcpy(key, bytes + 1, KEY_SIZE);
}

static bool verifies(const char *public_key, const char *text, const unsigned char *signature)
{
    unsigned char raw[KEY_SIZE];
    read_public(public_key, raw);
    EVP_PKEY *key = EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, raw, KEY_SIZE);
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    must(key != NULL && context != NULL);
    must(EVP_DigestVerifyInit(context, NULL, NULL, NULL, key) == 1);
    int good = EVP_DigestVerify(context, signature, NKEY_SIGNATURE_SIZE,
                                (const unsigned char *)text, strlen(text));
    EVP_MD_CTX_free(context);
    EVP_PKEY_free(key);
    return good == 1;
}

/* A file that is there for as long as its descriptor. */
static int make_file(char path[32], const void *content, size_t size)
{
    int fd = memfd_create("creds", MFD_CLOEXEC);
    must(fd >= 0 && write(fd, content, size) == (ssize_t)size);
    snprintf(path, 32, "/proc/self/fd/%d", fd);
    return fd;
}

/* Any bytes, as any of the files. */
static void check_file(const uint8_t *data, size_t size)
{
    char path[32], public_key[NKEY_PUBLIC_SIZE], when[UNITS_TIME_TEXT];
    unsigned char signature[NKEY_SIGNATURE_SIZE];
    struct error err = {""};
    int fd = make_file(path, data, size);
    if (creds_check(path, &err) != 0) {
        must_be_a_message(err.text);
        must(strstr(err.text, path) != NULL);
    }
    int expired = creds_expired(path, when);
    must(expired == 0 || (expired == 1 && strlen(when) == 20 && when[19] == 'Z'));
    bool is_seed = nkey_public_of_file(path, public_key, &err) == 0;
    must(is_seed == (nkey_sign_by_file(path, "nonce", signature, &err) == 0));
    if (is_seed) {
        must(verifies(public_key, "nonce", signature));
    } else {
        must_be_a_message(err.text);
        must(strstr(err.text, path) != NULL);
    }
    close(fd);
}

static void check_seed(struct choices *choices)
{
    unsigned char key[KEY_SIZE], signature[NKEY_SIGNATURE_SIZE];
    char seed[SEED_SIZE], path[32], text[256];
    char of_seed[NKEY_PUBLIC_SIZE], of_file[NKEY_PUBLIC_SIZE];
    struct error err = {""};
    unsigned place = choose(choices, SEED_SIZE - 1), change = choose(choices, 31) + 1;
    choose_bytes(choices, key, KEY_SIZE);
    write_seed(key, seed);
    must(nkey_public_of_seed(seed, of_seed, &err) == 0);
    int size = snprintf(text, sizeof(text),
                        "-----BEGIN NATS USER JWT-----\neyJ0.eyJ9.c2ln\n------END NATS USER "
                        "JWT------\n\n-----BEGIN USER NKEY SEED-----\n%s\n---\n",
                        seed);
    int fd = make_file(path, text, (size_t)size);
    must(creds_check(path, &err) == 0);
    must(nkey_public_of_file(path, of_file, &err) == 0 && strcmp(of_seed, of_file) == 0);
    must(nkey_sign_by_file(path, text, signature, &err) == 0);
    must(verifies(of_seed, text, signature));
    close(fd);

    seed[place] = letters[((size_t)(strchr(letters, seed[place]) - letters) + change) % 32];
    must(nkey_public_of_seed(seed, of_seed, &err) != 0);
    must_be_a_message(err.text);
    must(strstr(err.text, seed + 2) == NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct choices choices = {.at = data, .end = data + size};
    check_file(data, size);
    if (size % 8 == 0) /* keys cost time */
        check_seed(&choices);
    return 0;
}
