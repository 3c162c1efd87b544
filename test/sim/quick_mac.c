/*
 * A keyed sum in the place of libcrypto's HMAC: agents sign what they tell each other ten times a second, and here
 * nobody forges. It depends on every byte and on the key, which is all that the code around it needs to find a wrong
 * one.
 */
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/str.h"

enum { SUM = 32 };

/* Four sums side by side: a processor multiplies them at the same time. */
static uint64_t stir(uint64_t sum, const unsigned char *bytes, size_t len)
{
    uint64_t lanes[4] = {sum, sum + 1, sum + 2, sum + 3};
    uint64_t words[4] = {0};

    for (; len >= sizeof(words); bytes += sizeof(words), len -= sizeof(words)) {
        memcpy(words, bytes, sizeof(words));
        for (int i = 0; i < 4; i++) {
            lanes[i] = (lanes[i] ^ words[i]) * 0x9e3779b97f4a7c15U;
            lanes[i] ^= lanes[i] >> 29;
        }
    }
    memset(words, 0, sizeof(words));
    memcpy(words, bytes, len);
    for (int i = 0; i < 4; i++) {
        sum = (sum ^ lanes[i] ^ words[i]) * 0xbf58476d1ce4e5b9U + len;
        sum ^= sum >> 31;
    }
    return sum;
}

static void write_sum(uint64_t sum, unsigned char *to)
{
    for (size_t i = 0; i < SUM; i += sizeof(sum)) {
        memcpy(to + i, &sum, sizeof(sum));
        sum = (sum + 1) * 0x94d049bb133111ebU;
        sum ^= sum >> 30;
    }
}

unsigned char *HMAC(const EVP_MD *evp_md, const void *key, int key_len, const unsigned char *d, size_t n,
                    unsigned char *md, unsigned int *md_len)
{
    write_sum(stir(stir(1, key, (size_t)key_len), d, n), md);
    *md_len = SUM;
    return md;
}

/* ---- the same with a key that is made ready once ---- */

struct evp_mac_ctx_st {
    uint64_t keyed, sum;
};

EVP_MAC *EVP_MAC_fetch(OSSL_LIB_CTX *libctx, const char *algorithm, const char *properties)
{
    return (EVP_MAC *)(uintptr_t)algorithm; /* any address that is one */
}

void EVP_MAC_free(EVP_MAC *mac)
{
}

EVP_MAC_CTX *EVP_MAC_CTX_new(EVP_MAC *mac)
{
    return mem_zero(1, sizeof(EVP_MAC_CTX));
}

void EVP_MAC_CTX_free(EVP_MAC_CTX *ctx)
{
    free(ctx);
}

int EVP_MAC_init(EVP_MAC_CTX *ctx, const unsigned char *key, size_t keylen, const OSSL_PARAM params[])
{
    if (key)
        ctx->keyed = stir(1, key, keylen);
    ctx->sum = ctx->keyed;
    return 1;
}

int EVP_MAC_update(EVP_MAC_CTX *ctx, const unsigned char *data, size_t datalen)
{
    ctx->sum = stir(ctx->sum, data, datalen);
    return 1;
}

int EVP_MAC_final(EVP_MAC_CTX *ctx, unsigned char *out, size_t *outl, size_t outsize)
{
    CHECK(outsize >= SUM);
    write_sum(ctx->sum, out);
    if (outl)
        *outl = SUM;
    return 1;
}
