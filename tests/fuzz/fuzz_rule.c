/*
 * The text of a rule file, and behind a NUL that of lib/m.lua: rule_host.h says what must hold.
 */
#include "rule_host.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *end = size > 0 ? memchr(data, '\0', size) : NULL;
    size_t rule_size = end != NULL ? (size_t)(end - data) : size;
    size_t behind = rule_size + (end != NULL);
    run_rule((const char *)data, rule_size, (const char *)data + behind, size - behind,
             size % 4 == 0);
    return 0;
}
