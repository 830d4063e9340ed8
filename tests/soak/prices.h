#ifndef TIDEMILL_TESTS_SOAK_PRICES_H
#define TIDEMILL_TESTS_SOAK_PRICES_H

/*
 * A service that answers rules' requests on "prices.get", on a connection of its own that comes
 * back by itself. A few get no answer (traffic_ignored).
 */

struct prices;

/* NULL: no connection. */
struct prices *prices_open(const char *url);
void prices_close(struct prices *prices); /* NULL is fine */

#endif
