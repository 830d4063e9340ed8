#include "bus/json_write.h"

#include <stdlib.h>

void json_write_string(FILE *out, const char *text)
{
    fputc('"', out);
    for (const unsigned char *at = (const unsigned char *)text; *at != '\0'; at++) {
        if (*at == '"' || *at == '\\')
            fprintf(out, "\\%c", *at);
        else if (*at < 0x20)
            fprintf(out, "\\u%04x", *at);
        else
            fputc(*at, out);
    }
    fputc('"', out);
}

void json_write_strings(FILE *out, const struct string_list *list)
{
    fputc('[', out);
    for (size_t i = 0; i < list->count; i++) {
        if (i > 0)
            fputc(',', out);
        json_write_string(out, list->items[i]);
    }
    fputc(']', out);
}

int json_write_close(FILE *out, char **text)
{
    int failed = out == NULL || ferror(out);
    if (out != NULL && fclose(out) != 0)
        failed = 1;
    if (!failed)
        return 0;
    if (out != NULL)
        free(*text);
    *text = NULL;
    return -1;
}
