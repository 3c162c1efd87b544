/*
 * malloc for a process that lives for one seed: one thread, freed pieces wait by size for the next of that size.
 *
 * A third of a seed's time went into the C library's allocator, which has threads and fragmentation to think of.
 * Left out where a sanitizer needs its own (meson.build).
 */
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum {
    STEP = 16,
    SMALL_MAX = 2048, /* in steps of 16; above that powers of two */
    SMALL_CLASSES = SMALL_MAX / STEP + 1,
    CLASSES = SMALL_CLASSES + 48,
    CHUNK = 4 << 20,
};

/* Before every piece. Pieces stand at multiples of 16. */
struct head {
    uint32_t class_i;
    uint32_t unused[3];
};

_Static_assert(sizeof(struct head) == STEP, "pieces stay aligned");

struct piece {
    struct piece *next;
};

static struct piece *waiting[CLASSES];
static char *chunk_at, *chunk_end;

static uint32_t class_of(size_t size)
{
    if (size <= SMALL_MAX)
        return (uint32_t)((size + STEP - 1) / STEP);
    return (uint32_t)(SMALL_CLASSES + (64 - __builtin_clzl(size - 1)) - 12);
}

static size_t size_of(uint32_t class_i)
{
    return class_i < SMALL_CLASSES ? (size_t)class_i * STEP : (size_t)1 << (class_i - SMALL_CLASSES + 12);
}

static void *fresh(size_t bytes)
{
    if ((size_t)(chunk_end - chunk_at) < bytes) {
        size_t chunk = bytes > CHUNK ? bytes : CHUNK;
        char *at = mmap(NULL, chunk, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (at == MAP_FAILED) {
            errno = ENOMEM;
            return NULL;
        }
        chunk_at = at;
        chunk_end = at + chunk;
    }
    void *found = chunk_at;
    chunk_at += bytes;
    return found;
}

/* Not malloc() itself, or the compiler makes calloc() of calloc(). */
static void *take(size_t size, bool *ret_is_zero)
{
    *ret_is_zero = false;
    if (size > (size_t)1 << 40) {
        errno = ENOMEM;
        return NULL;
    }
    uint32_t class_i = class_of(size ? size : 1);
    struct piece *piece = waiting[class_i];
    if (piece) {
        waiting[class_i] = piece->next;
        return piece;
    }
    struct head *head = fresh(sizeof(*head) + size_of(class_i));
    if (!head)
        return NULL;
    head->class_i = class_i;
    *ret_is_zero = true;
    return head + 1;
}

void *malloc(size_t size)
{
    bool is_zero;

    return take(size, &is_zero);
}

void free(void *p)
{
    struct piece *piece = p;

    if (!piece)
        return;
    uint32_t class_i = ((struct head *)p - 1)->class_i;
    piece->next = waiting[class_i];
    waiting[class_i] = piece;
}

void *calloc(size_t count, size_t size)
{
    size_t bytes = 0;

    if (__builtin_mul_overflow(count, size, &bytes)) {
        errno = ENOMEM;
        return NULL;
    }
    bool is_zero;
    void *p = take(bytes, &is_zero);
    if (p && !is_zero)
        memset(p, 0, bytes);
    return p;
}

void *realloc(void *old, size_t size)
{
    if (!old)
        return malloc(size);
    size_t had = size_of(((struct head *)old - 1)->class_i);
    if (size <= had && size > had / 4)
        return old;
    void *p = malloc(size);
    if (!p)
        return NULL;
    memcpy(p, old, had < size ? had : size);
    free(old);
    return p;
}

void *aligned_alloc(size_t alignment, size_t size)
{
    char *p = malloc(size + alignment + sizeof(struct head));

    if (!p || alignment <= STEP)
        return p;
    char *at = (char *)(((uintptr_t)p + sizeof(struct head) + alignment - 1) / alignment * alignment);
    ((struct head *)at - 1)->class_i = class_of(size); /* never given back to where it was cut from */
    return at;
}

int posix_memalign(void **ret_p, size_t alignment, size_t size)
{
    *ret_p = aligned_alloc(alignment, size);
    return *ret_p ? 0 : ENOMEM;
}
