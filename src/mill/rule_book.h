#ifndef TIDEMILL_MILL_RULE_BOOK_H
#define TIDEMILL_MILL_RULE_BOOK_H

#include <stddef.h>

#include "mill/counters.h"

/*
 * The rule book: the counters of every rule there has been, by name, a row of one for each worker.
 * A rule that is gone after a reload keeps its row, and finds it again when it comes back, because
 * what Prometheus has once seen must not go backwards. So that a directory full of ever new names
 * does not fill the memory, and the one who scrapes, the number of rows is bounded: all rules
 * beyond share the row RULE_BOOK_OVERFLOW.
 *
 * A row is looked up when rules are put to work, never while a message is handled.
 *
 * Threads: any.
 */

enum { RULE_BOOK_ROWS = 1000 };

#define RULE_BOOK_OVERFLOW "overflow" /* as in ops/metrics.h; a rule of this name counts here too */

struct rule_book;

struct rule_book *rule_book_new(size_t worker_count); /* NULL: out of memory */
void rule_book_free(struct rule_book *book);          /* NULL is fine */

/*
 * The counters of this rule in this worker (from 0), which the worker may keep and write as long as
 * the book lives. Never NULL: when memory is short, those of the overflow.
 */
struct rule_counters *rule_book_counters(struct rule_book *book, const char *rule, size_t worker);

/*
 * Reading: rows 0 .. rule_book_count() - 1, which never change their place. Row 0 is the
 * overflow's: its name is NULL while no rule counts there.
 */
size_t rule_book_count(const struct rule_book *book);
const char *rule_book_name(const struct rule_book *book, size_t row);
const struct rule_counters *rule_book_row(const struct rule_book *book, size_t row, size_t worker);

#endif
