#include "cmd/replay.h"

#include "base/units.h"
#include "ops/escape.h"

#include <inttypes.h>
#include <stdio.h>

/* Where an item comes from: its message, or the moment of its timer. */
static void print_origin(const struct replay_message *message, const struct replay_item *item)
{
    char time[UNITS_TIME_TEXT];
    if (item->timer)
        printf("{\"timer\":\"%s\",", units_format_time(item->time_ns, 3, time));
    else
        printf("{\"sequence\":%" PRIu64 ",", message->input.sequence);
}

void replay_print_items(const struct replay_message *message)
{
    for (const struct replay_item *item = message->items[0].first; item != NULL;
         item = item->next) {
        print_origin(message, item);
        fputs("\"rule\":", stdout);
        escape_json(stdout, item->rule);
        printf(",%s", item->members);
        if (item->number > 0 && !item->own_id && !item->timer) /* as tidemill run makes it */
            printf(",\"id\":\"%s:%" PRIu64 ":%s:%zu\"", message->input.stream,
                   message->input.sequence, item->rule, item->number);
        fputs("}\n", stdout);
    }
}

static void print_side_json(const char *name, const struct replay_items *items)
{
    char time[UNITS_TIME_TEXT];
    printf(",\"%s\":[", name);
    for (const struct replay_item *item = items->first; item != NULL; item = item->next) {
        fputs(item == items->first ? "{" : ",{", stdout);
        if (item->timer)
            printf("\"timer\":\"%s\",", units_format_time(item->time_ns, 3, time));
        fputs("\"rule\":", stdout);
        escape_json(stdout, item->rule);
        printf(",%s}", item->members);
    }
    putchar(']');
}

static void print_side_text(char sign, const struct replay_items *items)
{
    char time[UNITS_TIME_TEXT];
    for (const struct replay_item *item = items->first; item != NULL; item = item->next) {
        printf("%c %s: ", sign, item->rule);
        if (item->timer)
            printf("timer at %s: ", units_format_time(item->time_ns, 3, time));
        printf("%s\n", item->text);
    }
}

void replay_print_difference(const struct replay_message *message, bool json)
{
    char time[UNITS_TIME_TEXT];
    const struct input *input = &message->input;
    units_format_time(input->time_ns, 3, time);
    if (!json) {
        printf("%" PRIu64 " %s %s\n", input->sequence, input->subject, time);
        print_side_text('-', &message->items[0]);
        print_side_text('+', &message->items[1]);
        return;
    }
    printf("{\"sequence\":%" PRIu64 ",\"subject\":", input->sequence);
    escape_json(stdout, input->subject);
    printf(",\"time\":\"%s\"", time);
    print_side_json("old", &message->items[0]);
    print_side_json("new", &message->items[1]);
    fputs("}\n", stdout);
}
