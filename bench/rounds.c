#include "rounds.h"

int rounds_run(int rounds, size_t count, rounds_turn *turn, void *context, struct error *err)
{
    for (int round = 0; round < rounds; round++)
        for (size_t i = 0; i < count; i++)
            if (turn(context, (i + (size_t)round) % count, round, err) != 0)
                return -1;
    return 0;
}
