#include "holdings.h"

#include <dirent.h>
#include <stdio.h>

/* Returns the entries of a folder, or -1. */
static long count_entries(const char *path)
{
    long count = -2; /* . and .. */
    DIR *folder = opendir(path);
    if (folder == NULL)
        return -1;
    while (readdir(folder) != NULL)
        count++;
    closedir(folder);
    return count;
}

int holdings_read(struct process *process, struct holdings *holdings)
{
    char path[64], line[256];
    *holdings = (struct holdings){-1, -1, -1};
    snprintf(path, sizeof(path), "/proc/%d/status", (int)process_id(process));
    FILE *status = fopen(path, "re");
    if (status == NULL)
        return -1;
    while (fgets(line, sizeof(line), status) != NULL) {
        (void)(sscanf(line, "VmRSS: %ld kB", &holdings->memory_kb) == 1 ||
               sscanf(line, "Threads: %ld", &holdings->threads) == 1);
    }
    fclose(status);
    snprintf(path, sizeof(path), "/proc/%d/fd", (int)process_id(process));
    holdings->descriptors = count_entries(path);
    return holdings->memory_kb < 0 || holdings->threads < 0 || holdings->descriptors < 0 ? -1 : 0;
}
