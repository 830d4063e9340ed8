#include "cmd/command.h"
#include "cmd/dead.h"

#include <inttypes.h>
#include <stdlib.h>
#include <strings.h>

/*
 * What is to go is looked up first: only that is removed, whatever arrives while somebody decides.
 */

struct purge {
    struct dead_letters *letters;
    struct dead_failures failures;
    uint64_t *sequences;
    size_t count, room;
    uint64_t purged;
};

static int remember(void *context, const struct dead_letter *letter, struct error *err)
{
    struct purge *purge = context;
    if (purge->count == purge->room) {
        size_t room = purge->room * 2 + 256;
        uint64_t *sequences = realloc(purge->sequences, room * sizeof(*sequences));
        if (sequences == NULL)
            return error_set(err, "out of memory");
        purge->sequences = sequences;
        purge->room = room;
    }
    purge->sequences[purge->count++] = letter->sequence;
    return 0;
}

static int find_named(struct purge *purge, const struct dead_words *words, struct error *err)
{
    for (size_t i = 0; i < words->sequence_count; i++) {
        int found =
            dead_letters_one(purge->letters, words->sequences[i], true, remember, purge, err);
        if (found < 0)
            return -1;
        if (found == 0)
            dead_failed(&purge->failures, words->sequences[i], "stream %s has no such dead letter",
                        purge->letters->stream);
    }
    return 0;
}

/* Asks on the terminal. Anything but a yes is a no. */
static bool agreed(const struct purge *purge)
{
    char answer[16] = "";
    fprintf(stderr, "remove %zu dead letter%s from stream %s for good? [y/N] ", purge->count,
            purge->count == 1 ? "" : "s", purge->letters->stream);
    return fgets(answer, sizeof(answer), stdin) != NULL &&
           (strcasecmp(answer, "y\n") == 0 || strcasecmp(answer, "yes\n") == 0);
}

static void on_removed(void *context, uint64_t sequence, const struct answer *answer)
{
    struct purge *purge = context;
    struct error err;
    int removed = dead_letters_removed(answer, &err);
    if (removed < 0)
        dead_failed(&purge->failures, sequence, "not removed: %s", err.text);
    else
        purge->purged += (uint64_t)removed;
}

static int remove_found(struct purge *purge, struct error *err)
{
    for (size_t i = 0; i < purge->count; i++)
        if (dead_letters_remove(purge->letters, purge->sequences[i], on_removed, purge, err) != 0)
            return -1;
    return 0;
}

int dead_purge(struct dead_letters *letters, const struct dead_words *words, struct error *err)
{
    struct purge purge = {.letters = letters};
    int result =
        words->all
            ? (int)-(dead_letters_each(letters, &words->filter, true, remember, &purge, err) < 0)
            : find_named(&purge, words, err);
    bool go_on = result == 0 && purge.count > 0 && (words->yes || agreed(&purge));
    if (go_on)
        result = remove_found(&purge, err);
    requests_wait(letters->requests);
    free(purge.sequences);
    dead_failures_end(&purge.failures);
    if (purge.count == 0 && words->all && result == 0)
        dead_say_none(letters, words);
    else if (purge.failures.count > 0)
        printf("%" PRIu64 " purged, %" PRIu64 " failed\n", purge.purged, purge.failures.count);
    else
        printf("%" PRIu64 " purged\n", purge.purged);
    if (result != 0 || dead_end_output(err) != 0)
        return -1;
    return purge.failures.count > 0 || (purge.count > 0 && !go_on) ? EXIT_FAILED : EXIT_DONE;
}
