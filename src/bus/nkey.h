#ifndef TIDEMILL_BUS_NKEY_H
#define TIDEMILL_BUS_NKEY_H

#include <stddef.h>

#include "base/error.h"

/*
 * NKeys: Ed25519 keys as NATS writes them, base32 of a prefix, the key and a CRC. libnats wants the
 * public key beside the file of the seed; it is derived here, so that the configuration names one
 * file only. Private key bytes are wiped before return. Any thread.
 */

enum {
    NKEY_PUBLIC_SIZE = 57, /* "U", 55 more, NUL */
    NKEY_SIGNATURE_SIZE = 64
};

/* The public key of a user seed ("SU..."). Returns 0, or -1 with what is wrong with the seed. */
int nkey_public_of_seed(const char *seed, char public_key[NKEY_PUBLIC_SIZE], struct error *err);

/* Signs `text` with the seed in a seed file. Errors name the file. */
int nkey_sign_by_file(const char *path, const char *text,
                      unsigned char signature[NKEY_SIGNATURE_SIZE], struct error *err);

/* The same for a seed file: the first word in it that starts with "SU". Errors name the file. */
int nkey_public_of_file(const char *path, char public_key[NKEY_PUBLIC_SIZE], struct error *err);

#endif
