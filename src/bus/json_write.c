#include "bus/json_write.h"

#include "base/utf8.h"

#include <stdlib.h>

static void write_byte(FILE *out, unsigned char byte)
{
    if (byte == '"' || byte == '\\')
        fprintf(out, "\\%c", byte);
    else if (byte < 0x20)
        fprintf(out, "\\u%04x", byte);
    else
        fputc(byte, out);
}

void json_write_string(FILE *out, const char *text)
{
    fputc('"', out);
    for (; *text != '\0'; text++)
        write_byte(out, (unsigned char)*text);
    fputc('"', out);
}

void json_write_text(FILE *out, const char *text)
{
    fputc('"', out);
    while (*text != '\0') {
        size_t size = utf8_size(text, UTF8_SIZE_MAX);
        if (size == 1)
            write_byte(out, (unsigned char)*text);
        else if (size > 1)
            fwrite(text, 1, size, out);
        else
            fputs("\\ufffd", out);
        text += size > 0 ? size : 1;
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
