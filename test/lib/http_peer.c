#include "test/lib/http_peer.h"

#include <arpa/inet.h>
#include <curl/curl.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/check.h"
#include "base/str.h"

enum { TALK_MS = 15 * 1000, NARROW_BYTES = 4096, MS_PER_S = 1000, NS_PER_MS = 1000 * 1000, PIECE_MAX = 4096 };

static msec clock_ms(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (msec)now.tv_sec * MS_PER_S + now.tv_nsec / NS_PER_MS;
}

static int connect_to(int port, int receive_max)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    CHECK(fd >= 0);
    if (receive_max)
        CHECK(setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &receive_max, sizeof(receive_max)) == 0);
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int failed = connect(fd, (const struct sockaddr *)&at, sizeof(at));
    CHECK(!failed);
    return fd;
}

int peer_connect(int port)
{
    return connect_to(port, 0);
}

int peer_connect_narrow(int port)
{
    return connect_to(port, NARROW_BYTES);
}

void peer_send(int fd, const char *text)
{
    size_t len = strlen(text);

    /* The server may have closed: that shows when we read. */
    while (len > 0) {
        ssize_t sent = send(fd, text, len, MSG_NOSIGNAL);
        if (sent <= 0)
            return;
        text += sent;
        len -= (size_t)sent;
    }
}

char *peer_read(int fd, msec wait_ms, bool *ret_closed)
{
    msec end_ms = clock_ms() + wait_ms;
    struct buf got = BUF_EMPTY;
    char piece[PIECE_MAX];
    bool closed = false;

    while (!closed) {
        struct pollfd wait = {.fd = fd, .events = POLLIN};
        msec left_ms = end_ms - clock_ms();

        if (left_ms <= 0 || poll(&wait, 1, (int)left_ms) <= 0)
            break;
        ssize_t len = recv(fd, piece, sizeof(piece), 0);
        closed = len <= 0;
        if (len > 0)
            buf_add(&got, piece, (size_t)len);
    }
    if (ret_closed)
        *ret_closed = closed;
    return buf_take(&got);
}

char *peer_talk(int port, const char *text)
{
    int fd = peer_connect(port);

    peer_send(fd, text);
    char *got = peer_read(fd, TALK_MS, NULL);
    (void)close(fd);
    return got;
}

struct peer {
    CURL *curl;
};

struct peer *peer_new(void)
{
    struct peer *p = mem_zero(1, sizeof(*p));

    p->curl = curl_easy_init();
    CHECK(p->curl);
    return p;
}

void peer_free(struct peer *p)
{
    if (!p)
        return;

    curl_easy_cleanup(p->curl);
    free(p);
}

static size_t collect(char *bytes, size_t size, size_t count, void *arg)
{
    buf_add(arg, bytes, size * count);
    return size * count;
}

static char *subject(CURL *curl)
{
    struct curl_certinfo *chain = NULL;

    (void)curl_easy_getinfo(curl, CURLINFO_CERTINFO, &chain);
    if (!chain || chain->num_of_certs == 0)
        return NULL;
    for (const struct curl_slist *line = chain->certinfo[0]; line; line = line->next) {
        if (str_starts(line->data, "Subject:"))
            return str_dup(line->data + strlen("Subject:"));
    }
    return NULL;
}

struct peer_answer peer_ask(struct peer *p, const struct peer_request *request)
{
    struct peer_answer answer = {0};
    struct buf headers = BUF_EMPTY;
    struct buf body = BUF_EMPTY;
    struct curl_slist *extra = NULL;
    long status = 0;
    long connects = 0;
    CURL *curl = p->curl;

    char *url = str_fmt("%s://127.0.0.1:%d%s", request->ca ? "https" : "http", request->port, request->path);
    curl_easy_reset(curl); /* keeps the connection */
    (void)curl_easy_setopt(curl, CURLOPT_URL, url);
    (void)curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    (void)curl_easy_setopt(curl, CURLOPT_NOPROXY, "*");
    (void)curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)TALK_MS);
    (void)curl_easy_setopt(curl, CURLOPT_HTTP_VERSION,
                           request->http_version ? request->http_version : CURL_HTTP_VERSION_1_1);
    (void)curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, collect);
    (void)curl_easy_setopt(curl, CURLOPT_WRITEDATA, &body);
    (void)curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, collect);
    (void)curl_easy_setopt(curl, CURLOPT_HEADERDATA, &headers);
    (void)curl_easy_setopt(curl, CURLOPT_USERPWD, request->user);
    (void)curl_easy_setopt(curl, CURLOPT_CAINFO, request->ca);
    (void)curl_easy_setopt(curl, CURLOPT_CERTINFO, 1L);
    (void)curl_easy_setopt(curl, CURLOPT_SSLCERT, request->cert);
    (void)curl_easy_setopt(curl, CURLOPT_SSLKEY, request->key);
    if (request->body)
        (void)curl_easy_setopt(curl, CURLOPT_POSTFIELDS, request->body);
    (void)curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, request->method);
    if (str_eq(request->method, "HEAD"))
        (void)curl_easy_setopt(curl, CURLOPT_NOBODY, 1L);
    for (const char *const *line = request->headers; line && *line; line++)
        extra = curl_slist_append(extra, *line);
    (void)curl_easy_setopt(curl, CURLOPT_HTTPHEADER, extra);

    CURLcode done = curl_easy_perform(curl);
    if (done == CURLE_OK)
        (void)curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    (void)curl_easy_getinfo(curl, CURLINFO_NUM_CONNECTS, &connects);
    (void)curl_easy_getinfo(curl, CURLINFO_TOTAL_TIME, &answer.took_s);
    answer.status = (int)status;
    answer.connects = (int)connects;
    answer.headers = buf_take(&headers);
    answer.body = buf_take(&body);
    answer.cert = subject(curl);
    curl_slist_free_all(extra);
    free(url);
    return answer;
}

struct peer_answer peer_ask_once(const struct peer_request *request)
{
    struct peer *p = peer_new();
    struct peer_answer answer = peer_ask(p, request);

    peer_free(p);
    return answer;
}

void peer_answer_deinit(struct peer_answer *a)
{
    free(a->headers);
    free(a->body);
    free(a->cert);
    *a = (struct peer_answer){0};
}
