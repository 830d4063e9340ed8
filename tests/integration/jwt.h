#ifndef TIDEMILL_TESTS_JWT_H
#define TIDEMILL_TESTS_JWT_H

#include <stddef.h>
#include <stdint.h>

/*
 * What NATS' operator mode is made of, for tests that want a server that knows its users by signed
 * tokens (JWT) and not by a list: the keys, the tokens and the creds files that `nsc` would make.
 * Texts are malloc'ed; NULL when memory or the crypto library fails.
 */

enum { JWT_PUBLIC_SIZE = 57, JWT_SEED_SIZE = 59 };

enum jwt_kind { JWT_OPERATOR = 'O', JWT_ACCOUNT = 'A', JWT_USER = 'U' };

/* A key pair as NATS writes it: "O...", "A..." or "U...", and "SO...", "SA..." or "SU...". */
struct jwt_key {
    unsigned char secret[32];
    char public_key[JWT_PUBLIC_SIZE];
    char seed[JWT_SEED_SIZE];
};

/* A new one. Returns 0 or -1. */
int jwt_key_make(struct jwt_key *key, enum jwt_kind kind);

/*
 * The token in which `issuer` says of `subject` what `nats`, a JSON object, says; valid from now
 * until `expires` (seconds since 1970), 0: for ever.
 */
char *jwt_sign(const struct jwt_key *issuer, const char *subject, int64_t expires,
               const char *nats);

/* An operator with two accounts: one for the server itself, and one that may use JetStream. */
struct jwt_realm {
    struct jwt_key operator_key, system, account;
};

int jwt_realm_make(struct jwt_realm *realm);

/* The text of a server's configuration; `revoked`, unless NULL, is a user who is not let in. */
char *jwt_realm_config(const struct jwt_realm *realm, const char *revoked);

/* A creds file of `user`, whom the account admits until `expires`, 0: for ever. */
char *jwt_creds(const struct jwt_key *account, const struct jwt_key *user, int64_t expires);

#endif
