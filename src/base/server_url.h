#ifndef TIDEMILL_BASE_SERVER_URL_H
#define TIDEMILL_BASE_SERVER_URL_H

#include "base/error.h"

/*
 * The URL of a server, "nats://user:password@host:port" or "nats://token@host:port", taken apart.
 * In user, password and token %40 stands for @ and so on, as in any URL. Not left to libnats, which
 * takes them as they are before version 3.9, and puts a password into its complaint from then on.
 * Pure; any thread.
 */

struct server_url {
    char *address;  /* the URL without them: "nats://host:port"; the one to free */
    char *user;     /* or a token, when there is no password; NULL: none */
    char *password; /* NULL: none */
};

/* Returns 0, or -1 with what is wrong with the URL, without showing any of it. */
int server_url_read(struct server_url *parts, const char *url, struct error *err);

/* Wipes what is secret and frees. All zero is fine. */
void server_url_free(struct server_url *parts);

#endif
