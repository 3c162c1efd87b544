#include "test/lib/etcd_fixture.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/check.h"
#include "base/str.h"
#include "test/lib/http_peer.h"
#include "test/lib/tls_files.h"

enum { ARGS_MAX = 40 };

#define ETCD "/usr/bin/etcd"

/* Free now; whoever else looks for one takes another, as the kernel hands them out in turn. */
static int free_port(void)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(at);
    AUTO(fd) int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    CHECK(fd >= 0);
    int failed = bind(fd, (struct sockaddr *)&at, sizeof(at));
    CHECK(!failed);
    failed = getsockname(fd, (struct sockaddr *)&at, &len);
    CHECK(!failed);
    return ntohs(at.sin_port);
}

static const char *protocol(const struct etcd_fixture *f)
{
    return f->tls ? "https" : "http";
}

static char *cluster_of(const struct etcd_fixture *f)
{
    struct buf text = BUF_EMPTY;

    for (size_t i = 0; i < f->count; i++)
        buf_printf(&text, "%sm%zu=http://127.0.0.1:%d", i ? "," : "", i, f->members[i].peer_port);
    return buf_take(&text);
}

static _Noreturn void exec_member(char *const argv[], const char *log, pid_t parent)
{
    int fd = open(log, O_WRONLY | O_CREAT | O_APPEND, 0600);
    int null_fd = open("/dev/null", O_RDONLY);
    sigset_t none;

    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent || fd < 0 || null_fd < 0)
        _exit(1);
    (void)dup2(null_fd, STDIN_FILENO);
    (void)dup2(fd, STDOUT_FILENO);
    (void)dup2(fd, STDERR_FILENO);
    for (int other = 3; other < 256; other++)
        (void)close(other);
    (void)sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
    (void)execv(ETCD, argv);
    _exit(1);
}

static void start_member(struct etcd_fixture *f, size_t i)
{
    AUTO(cstr) char *name = str_fmt("m%zu", i);
    AUTO(cstr) char *data = str_fmt("%s/m%zu", f->dir, i);
    AUTO(cstr) char *log = str_fmt("%s/m%zu.log", f->dir, i);
    AUTO(cstr) char *client = str_fmt("%s://127.0.0.1:%d", protocol(f), f->members[i].client_port);
    AUTO(cstr) char *peer = str_fmt("http://127.0.0.1:%d", f->members[i].peer_port);
    AUTO(cstr) char *cluster = cluster_of(f);
    const char *argv[ARGS_MAX] = {
        ETCD,     "--name",
        name,     "--data-dir",
        data,     "--listen-client-urls",
        client,   "--advertise-client-urls",
        client,   "--listen-peer-urls",
        peer,     "--initial-advertise-peer-urls",
        peer,     "--initial-cluster",
        cluster,  "--heartbeat-interval",
        "50",     "--election-timeout",
        "500",    "--snapshot-count",
        "100000", "--logger",
        "zap",
    };
    size_t count = 0;

    while (argv[count])
        count++;
    if (f->auth_token) {
        argv[count++] = "--auth-token";
        argv[count++] = f->auth_token;
    }
    if (f->tls) {
        argv[count++] = "--cert-file";
        argv[count++] = f->tls->cert;
        argv[count++] = "--key-file";
        argv[count++] = f->tls->key;
        argv[count++] = "--trusted-ca-file";
        argv[count++] = f->tls->ca;
        argv[count++] = "--client-cert-auth";
    }
    CHECK(count < ARGS_MAX);
    pid_t parent = getpid();
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0)
        exec_member((char *const *)(uintptr_t)argv, log, parent);
    f->members[i].pid = pid;
}

bool etcd_fixture_start(struct etcd_fixture *f, size_t count, const struct tls_files *tls)
{
    CHECK(count <= ETCD_FIXTURE_MEMBERS_MAX);
    if (access(ETCD, X_OK) != 0)
        return false;

    f->count = count;
    f->tls = tls;
    str_copy(f->dir, sizeof(f->dir), "/tmp/pgkeep-etcd-XXXXXX");
    const char *made = mkdtemp(f->dir);
    CHECK(made);
    for (size_t i = 0; i < count; i++) {
        f->members[i].client_port = free_port();
        f->members[i].peer_port = free_port();
        (void)snprintf(f->members[i].host, sizeof(f->members[i].host), "127.0.0.1:%d", f->members[i].client_port);
    }
    for (size_t i = 0; i < count; i++)
        start_member(f, i);
    return true;
}

void etcd_fixture_signal(struct etcd_fixture *f, size_t i, int signo)
{
    CHECK(f->members[i].pid > 0);
    (void)kill(f->members[i].pid, signo); /* ours, and not reaped: it is there */
    if (signo != SIGSTOP)
        return;

    /* Its threads stop one after the other: one of them could answer yet. */
    siginfo_t stopped;
    (void)waitid(P_PID, (id_t)f->members[i].pid, &stopped, WSTOPPED | WEXITED | WNOWAIT);
}

void etcd_fixture_kill(struct etcd_fixture *f, size_t i)
{
    if (!f->members[i].pid)
        return;

    etcd_fixture_signal(f, i, SIGKILL);
    (void)waitpid(f->members[i].pid, NULL, 0);
    f->members[i].pid = 0;
}

void etcd_fixture_restart(struct etcd_fixture *f, size_t i)
{
    CHECK(!f->members[i].pid);
    start_member(f, i);
}

void etcd_fixture_stop(struct etcd_fixture *f)
{
    for (size_t i = 0; i < f->count; i++)
        etcd_fixture_kill(f, i);
    AUTO(cstr) char *command = str_fmt("rm -rf %s", f->dir);
    int status = system(command); /* NOLINT(cert-env33-c): a folder of our own making */
    (void)status;                 /* what is left is in /tmp */
    *f = (struct etcd_fixture){0};
}

void etcd_fixture_settings(const struct etcd_fixture *f, struct settings *ret)
{
    *ret = (struct settings){0};
    ret->store.kind = STORE_ETCD3;
    ret->store.protocol = str_dup(protocol(f));
    ret->store.hosts.at = mem_zero(f->count, sizeof(char *));
    ret->store.hosts.count = f->count;
    for (size_t i = 0; i < f->count; i++)
        ret->store.hosts.at[i] = str_dup(f->members[i].host);
    if (f->tls)
        ret->store.cacert = str_dup(f->tls->ca);
}

void etcd_fixture_settings_deinit(struct settings *s)
{
    for (size_t i = 0; i < s->store.hosts.count; i++)
        free(s->store.hosts.at[i]);
    free(s->store.hosts.at);
    free(s->store.protocol);
    free(s->store.username);
    free(s->store.password);
    free(s->store.cacert);
    free(s->store.cert);
    free(s->store.key);
    *s = (struct settings){0};
}

static struct peer_answer post(const struct etcd_fixture *f, size_t i, const char *path, const char *body)
{
    return peer_ask_once(&(struct peer_request){
        .method = "POST",
        .port = f->members[i].client_port,
        .path = path,
        .body = body,
        .ca = f->tls ? f->tls->ca : NULL,
        .cert = f->tls ? f->tls->client_cert : NULL,
        .key = f->tls ? f->tls->client_key : NULL,
    });
}

bool etcd_fixture_post(const struct etcd_fixture *f, const char *path, const char *body)
{
    struct peer_answer a = post(f, 0, path, body);
    bool done = a.status == 200;

    if (!done)
        (void)fprintf(stderr, "etcd answered %d to %s: %s\n", a.status, path, a.body ? a.body : "");
    peer_answer_deinit(&a);
    return done;
}

static bool is_leader(const struct etcd_fixture *f, size_t i)
{
    struct peer_answer a = post(f, i, "/v3/maintenance/status", "{}");
    json_t *status = a.body ? json_loads(a.body, 0, NULL) : NULL;
    const char *leader = json_string_value(json_object_get(status, "leader"));
    const char *self = json_string_value(json_object_get(json_object_get(status, "header"), "member_id"));
    bool is = leader && str_eq(leader, self);

    json_decref(status);
    peer_answer_deinit(&a);
    return is;
}

size_t etcd_fixture_leader(const struct etcd_fixture *f)
{
    enum { TRIES = 200, PAUSE_US = 100 * 1000 };

    for (int try = 0; try < TRIES; try++) {
        for (size_t i = 0; i < f->count; i++) {
            if (f->members[i].pid && is_leader(f, i))
                return i;
        }
        (void)usleep(PAUSE_US);
    }
    CHECK(!"a leader within 20 s");
    return 0;
}
