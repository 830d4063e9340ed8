#include "bus/consumer_facts.h"

#include "base/units.h"
#include "bus/json_scan.h"

static bool count_at(const char *text, size_t size, const char *path, uint64_t *count)
{
    int64_t value;
    bool found = json_scan_integer(text, size, path, &value) && value >= 0;
    *count = found ? (uint64_t)value : 0;
    return found;
}

bool consumer_facts_read(const char *text, size_t size, struct consumer_facts *facts)
{
    char created[64];
    facts->replicated = json_scan_has(text, size, "cluster.replicas.0");
    return json_scan_string(text, size, "created", created, sizeof(created)) &&
           units_parse_time(created, &facts->created_ns, NULL) == 0 &&
           count_at(text, size, "ack_floor.stream_seq", &facts->acked_sequence) &&
           count_at(text, size, "ack_floor.consumer_seq", &facts->acked_number) &&
           count_at(text, size, "delivered.stream_seq", &facts->delivered_sequence) &&
           count_at(text, size, "delivered.consumer_seq", &facts->delivered_number) &&
           count_at(text, size, "num_ack_pending", &facts->ack_pending);
}

bool stream_first_sequence_read(const char *text, size_t size, uint64_t *sequence)
{
    return count_at(text, size, "state.first_seq", sequence);
}
