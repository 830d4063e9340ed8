#include "mill/generation.h"

#include <stdlib.h>

struct generation *generation_new(struct engine *engine, uint32_t number)
{
    struct generation *generation = calloc(1, sizeof(*generation));
    if (generation == NULL)
        return NULL;
    generation->engine = engine;
    generation->number = number;
    return generation;
}

void generation_free(struct generation *generation)
{
    if (generation == NULL)
        return;
    engine_close(generation->engine);
    free(generation);
}

bool generation_is_over(const struct generation *generation)
{
    return generation->retired_at_ns != 0 && generation->uses == 0 &&
           engine_active(generation->engine) == 0;
}
