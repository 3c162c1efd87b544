#include "web/reply.h"

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/str.h"

void reply_send(const struct web_conf *conf, struct http_request *take_request, int status, const char *type,
                const struct http_header *extra, const char *body)
{
    struct http_header *headers = mem_zero(conf->header_count + 2, sizeof(*headers));
    size_t count = 0;

    if (!extra || !str_eq_nocase(extra->name, "Content-Type"))
        headers[count++] = (struct http_header){"Content-Type", type};
    if (extra)
        headers[count++] = *extra;
    for (size_t i = 0; i < conf->header_count; i++)
        headers[count++] = conf->headers[i];
    http_reply(take_request, status, headers, count, body, strlen(body));
    free(headers);
}

static void add_escaped(struct buf *page, const char *text)
{
    for (const char *at = text; *at; at++) {
        if (*at == '<')
            buf_add_str(page, "&lt;");
        else if (*at == '&')
            buf_add_str(page, "&amp;");
        else
            buf_add_char(page, *at);
    }
}

void reply_page(const struct web_conf *conf, struct http_request *take_request, int status, const char *detail)
{
    struct buf page = BUF_EMPTY;

    buf_printf(&page, "<!DOCTYPE html>\n<html><head><title>%d %s</title></head>\n<body><h1>%d %s</h1>", status,
               http_reason(status), status, http_reason(status));
    if (!str_empty(detail)) {
        buf_add_str(&page, "\n<p>");
        add_escaped(&page, detail);
        buf_add_str(&page, "</p>");
    }
    buf_add_str(&page, "</body></html>\n");
    reply_send(conf, take_request, status, TYPE_HTML ";charset=utf-8", NULL, buf_cstr(&page));
    buf_deinit(&page);
}
