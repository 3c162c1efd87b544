/*
 * Runs a fuzz target over the files it is given, for compilers without libFuzzer and as a test.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/str.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* False with a message if the file cannot be read. */
static bool run_file(const char *path)
{
    FILE *file = fopen(path, "re");
    uint8_t *data = NULL;
    size_t size = 0;
    size_t got;

    if (!file) {
        perror(path);
        return false;
    }
    do {
        data = mem_grow(data, size + 65536, 1);
        got = fread(data + size, 1, 65536, file);
        size += got;
    } while (got > 0);
    (void)fclose(file); /* only read */

    uint8_t *exact = mem_zero(size, 1); /* so that ASan sees a read past the end */
    for (size_t i = 0; i < size; i++)
        exact[i] = data[i];
    (void)LLVMFuzzerTestOneInput(exact, size); /* 0 by its contract */
    free(exact);
    free(data);
    return true;
}

int main(int argc, char **argv)
{
    bool ok = argc > 1;

    for (int i = 1; i < argc; i++)
        ok = run_file(argv[i]) && ok;
    return ok ? 0 : 1;
}
