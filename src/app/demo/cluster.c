#include "app/demo/cluster.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/check.h"
#include "base/str.h"
#include "io/child.h"
#include "io/loop.h"

enum {
    PORT_FIRST = 21000, /* below the kernel's range for outgoing connections (32768 on), */
    PORT_LAST = 31000,  /* so that none is taken between our look and the server's bind */
    START_AGAIN_MS = 5000,
    STOP_NODE_MS = 60 * 1000, /* a clean stop has a checkpoint in it; longer means that it hangs */
    STOP_ETCD_MS = 5 * 1000,
    LIST_MS = 15 * 1000, /* the store's own budget is 10 s */
    TURN_MS = 100,
};

static bool port_is_free(int port)
{
    struct sockaddr_in at = {
        .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int one = 1;
    AUTO(fd) int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)); /* as the servers do */
    return fd >= 0 && bind(fd, (const struct sockaddr *)&at, sizeof(at)) == 0;
}

/* The next port at or after *next that is free together with the one behind it (agents use REST + 1). */
static bool take_ports(int *next, int *ret_port, struct err *err)
{
    for (; *next < PORT_LAST; *next += 2)
        if (port_is_free(*next) && port_is_free(*next + 1)) {
            *ret_port = *next;
            *next += 2;
            return true;
        }
    return err_set(err, ERR_NOT_FOUND, "no free ports on 127.0.0.1 between %d and %d", PORT_FIRST, PORT_LAST);
}

/* Hexadecimal digits need no quoting anywhere. free() it. */
static char *random_password(void)
{
    unsigned char bytes[16];
    AUTO(buf) struct buf out = BUF_EMPTY;
    ssize_t got = getrandom(bytes, sizeof(bytes), 0);

    CHECK(got == (ssize_t)sizeof(bytes)); /* never short for so few (getrandom(2)) */
    for (size_t i = 0; i < sizeof(bytes); i++)
        buf_printf(&out, "%02x", bytes[i]);
    return buf_take(&out);
}

static bool find_etcd(char **ret_path, struct err *err)
{
    const char *path = getenv("PATH");
    AUTO(cstr) char *places = str_fmt("%s:/usr/bin:/usr/local/bin", path ? path : "");
    char *state = NULL;

    for (char *at = strtok_r(places, ":", &state); at; at = strtok_r(NULL, ":", &state)) {
        AUTO(cstr) char *file = str_fmt("%s/etcd", at);
        if (access(file, X_OK) == 0) {
            *ret_path = TAKE(file);
            return true;
        }
    }
    return err_set(err, ERR_NOT_FOUND, "etcd is not installed (Debian: apt install etcd-server)");
}

static bool write_secret_file(const char *path, const char *text, struct err *err)
{
    size_t len = strlen(text);
    AUTO(fd) int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

    if (fd < 0)
        return err_sys(err, errno, "making %s", path);
    if (write(fd, text, len) != (ssize_t)len)
        return err_sys(err, errno ? errno : ENOSPC, "writing %s", path);
    return true;
}

/* Fast timings; what is not said here are the defaults. */
static char *node_yaml(const struct demo *d, const struct demo_node *n)
{
    return str_fmt("scope: demo\n"
                   "name: %s\n"
                   "restapi:\n"
                   "  listen: 127.0.0.1:%d\n"
                   "  connect_address: 127.0.0.1:%d\n"
                   "etcd3:\n"
                   "  hosts: 127.0.0.1:%d\n"
                   "bootstrap:\n"
                   "  dcs:\n"
                   "    ttl: 20\n"
                   "    loop_wait: 1\n"
                   "    retry_timeout: 3\n"
                   "    primary_start_timeout: 0   # a crashed primary: do not start it again, fail over\n"
                   "    synchronous_mode: quorum   # what was acknowledged is never lost\n"
                   "    failover_profile: fast\n"
                   "    maximum_lag_on_failover: 1048576\n"
                   "    postgresql:\n"
                   "      use_pg_rewind: true\n"
                   "      use_slots: true\n"
                   "      parameters:\n"
                   "        max_connections: 50\n"
                   "  initdb:\n"
                   "  - encoding: UTF8\n"
                   "  - locale: C\n"
                   "  - data-checksums\n"
                   "postgresql:\n"
                   "  listen: 127.0.0.1:%d\n"
                   "  connect_address: 127.0.0.1:%d\n"
                   "  data_dir: %s\n"
                   "  pg_hba:\n"
                   "  - host replication replicator 127.0.0.1/32 scram-sha-256\n"
                   "  - host all all 127.0.0.1/32 scram-sha-256\n"
                   "  parameters:\n"
                   "    unix_socket_directories: ''\n"
                   "    password_encryption: scram-sha-256\n"
                   "    shared_buffers: 32MB\n"
                   "    max_wal_size: 256MB\n"
                   "  authentication:\n"
                   "    superuser:\n"
                   "      username: postgres\n"
                   "      password: %s\n"
                   "    replication:\n"
                   "      username: replicator\n"
                   "      password: %s\n",
                   n->name, n->rest_port, n->rest_port, d->etcd_port, n->pg_port, n->pg_port, n->data_dir,
                   d->superuser_password, d->replication_password);
}

static bool prepare_node(struct demo *d, struct demo_node *n, int number, int *next_port, struct err *err)
{
    (void)snprintf(n->name, sizeof(n->name), "n%d", number);
    n->start_again_ms = MSEC_NEVER;
    n->yaml = str_fmt("%s/%s.yml", d->place.dir, n->name);
    n->log = str_fmt("%s/%s.log", d->place.dir, n->name);
    n->data_dir = str_fmt("%s/%s", d->place.dir, n->name);
    if (!take_ports(next_port, &n->pg_port, err) || !take_ports(next_port, &n->rest_port, err))
        return false;
    AUTO(cstr) char *yaml = node_yaml(d, n);
    return write_secret_file(n->yaml, yaml, err);
}

bool demo_prepare(struct demo *d, int node_count, struct err *err)
{
    int next_port = PORT_FIRST + (int)(getpid() % 1000) * 8; /* two demos at once look in different places */
    AUTO(buf) struct buf pgpass = BUF_EMPTY;

    CHECK(node_count <= DEMO_NODES_MAX);
    d->superuser_password = random_password();
    d->replication_password = random_password();
    d->etcd_log = str_fmt("%s/etcd.log", d->place.dir);
    d->pgpass = str_fmt("%s/pgpass", d->place.dir);
    if (!find_etcd(&d->etcd_program, err) || !take_ports(&next_port, &d->etcd_port, err))
        return false;
    d->etcd_peer_port = d->etcd_port + 1;

    for (d->node_count = 0; d->node_count < node_count; d->node_count++) {
        struct demo_node *n = &d->nodes[d->node_count];
        if (!prepare_node(d, n, d->node_count + 1, &next_port, err))
            return false;
        buf_printf(&pgpass, "127.0.0.1:%d:*:postgres:%s\n", n->pg_port, d->superuser_password);
    }
    return write_secret_file(d->pgpass, buf_cstr(&pgpass), err);
}

bool demo_start_etcd(struct demo *d, struct err *err)
{
    AUTO(cstr) char *data = str_fmt("%s/etcd", d->place.dir);
    AUTO(cstr) char *client = str_fmt("http://127.0.0.1:%d", d->etcd_port);
    AUTO(cstr) char *peer = str_fmt("http://127.0.0.1:%d", d->etcd_peer_port);
    AUTO(cstr) char *cluster = str_fmt("demo=%s", peer);
    const char *const argv[] = {d->etcd_program,
                                "--name",
                                "demo",
                                "--data-dir",
                                data,
                                "--listen-client-urls",
                                client,
                                "--advertise-client-urls",
                                client,
                                "--listen-peer-urls",
                                peer,
                                "--initial-advertise-peer-urls",
                                peer,
                                "--initial-cluster",
                                cluster,
                                NULL};

    return proc_start(&d->etcd, argv, d->etcd_log, err);
}

bool demo_start_node(struct demo *d, struct demo_node *n, struct err *err)
{
    const char *const argv[] = {d->place.program, "run", n->yaml, NULL};

    n->start_again_ms = MSEC_NEVER;
    return proc_start(&n->proc, argv, n->log, err);
}

void demo_tend(struct demo *d, bool say)
{
    msec now_ms = loop_clock_ms();
    struct err err;

    for (int i = 0; i < d->node_count; i++) {
        struct demo_node *n = &d->nodes[i];
        bool was_running = n->proc.pid != 0;
        if (proc_running(&n->proc))
            continue;
        if (was_running) {
            n->start_again_ms = now_ms + START_AGAIN_MS;
            if (say)
                (void)printf("%s ended; it is started again in %d s, as a service manager would\n", n->name,
                             START_AGAIN_MS / 1000);
        } else if (now_ms >= n->start_again_ms && !demo_start_node(d, n, &err)) {
            (void)printf("%s\n", err.text);
        }
    }
}

bool demo_pause(struct demo *d, msec duration_ms)
{
    msec until_ms = loop_clock_ms() + duration_ms;

    for (msec left; !d->asked_to_stop && (left = until_ms - loop_clock_ms()) > 0;)
        loop_turn(d->loop, msec_min(left, TURN_MS));
    return !d->asked_to_stop;
}

/* A run of our own program and what it said. */
struct answer {
    bool done;
    char *out;
    struct err err;
};

static void on_end(const struct child_result *result, void *arg)
{
    struct answer *a = arg;

    a->done = true;
    if (child_succeeded(result, "pgkeep list", &a->err))
        a->out = str_dup(result->out);
}

static char *run_list(struct demo *d, const char *format, bool colour, struct err *err)
{
    const char *const argv[] = {d->place.program, "-c", d->nodes[0].yaml, "list", "-f", format, NULL};
    const char *const env[] = {colour ? "CLICOLOR_FORCE=1" : "NO_COLOR=1", NULL};
    const struct child_spec spec = {.argv = argv, .env = env, .budget_ms = LIST_MS};
    struct answer a = {0};
    struct child *child;

    if (!child_start(d->loop, &spec, on_end, &a, &child, err))
        return NULL;
    msec deadline_ms = loop_clock_ms() + LIST_MS + 5000; /* its own budget ends it before */
    while (!a.done && loop_clock_ms() < deadline_ms)
        loop_turn(d->loop, TURN_MS);
    if (!a.done) {
        child_abandon(child);
        (void)err_set(err, ERR_TIMEOUT, "pgkeep list does not end");
        return NULL;
    }
    if (!a.out && err)
        *err = a.err;
    return a.out;
}

char *demo_list_text(struct demo *d, bool colour, struct err *err)
{
    return run_list(d, "pretty", colour, err);
}

json_t *demo_list(struct demo *d, struct err *err)
{
    AUTO(cstr) char *text = run_list(d, "json", false, err);
    json_t *list = text ? json_loads(text, 0, NULL) : NULL;

    if (text && !list)
        (void)err_set(err, ERR_INPUT, "pgkeep list -f json printed no JSON");
    return list;
}

static const char *field(const json_t *row, const char *name)
{
    const char *text = json_string_value(json_object_get(row, name));

    return text ? text : "";
}

struct demo_node *demo_leader(struct demo *d, const json_t *list)
{
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *row = json_array_get(list, i);
        for (int k = 0; k < d->node_count; k++)
            if (str_eq(field(row, "Role"), "Leader") && str_eq(field(row, "Member"), d->nodes[k].name))
                return &d->nodes[k];
    }
    return NULL;
}

const char *demo_state_of(const json_t *list, const char *member)
{
    for (size_t i = 0; i < json_array_size(list); i++)
        if (str_eq(field(json_array_get(list, i), "Member"), member))
            return field(json_array_get(list, i), "State");
    return "absent";
}

int demo_healthy_count(const json_t *list)
{
    json_int_t timeline = 0;
    int count = 0;

    for (size_t i = 0; i < json_array_size(list); i++)
        if (str_eq(field(json_array_get(list, i), "Role"), "Leader"))
            timeline = json_integer_value(json_object_get(json_array_get(list, i), "TL"));
    for (size_t i = 0; timeline && i < json_array_size(list); i++) {
        const json_t *row = json_array_get(list, i);
        const char *wanted = str_eq(field(row, "Role"), "Leader") ? "running" : "streaming";
        count += str_eq(field(row, "State"), wanted) && json_integer_value(json_object_get(row, "TL")) == timeline;
    }
    return count;
}

char *demo_conninfo(const struct demo *d, const char *target)
{
    AUTO(buf) struct buf hosts = BUF_EMPTY;
    AUTO(buf) struct buf ports = BUF_EMPTY;

    for (int i = 0; i < d->node_count; i++) {
        buf_printf(&hosts, "%s127.0.0.1", i ? "," : "");
        buf_printf(&ports, "%s%d", i ? "," : "", d->nodes[i].pg_port);
    }
    return str_fmt("host=%s port=%s user=postgres dbname=postgres target_session_attrs=%s", buf_cstr(&hosts),
                   buf_cstr(&ports), target);
}

/* Waits for a server to end; kills it when its time is up. Signals are looked at but do not cut this short. */
static void await_end(struct demo *d, struct proc *p, const char *name, const char *data_dir, msec deadline_ms)
{
    while (proc_running(p) && loop_clock_ms() < deadline_ms)
        loop_turn(d->loop, TURN_MS);
    if (proc_running(p)) {
        (void)printf("%s does not end; it is killed\n", name);
        (void)proc_kill_tree(p, data_dir);
    }
}

static void stop_nodes(struct demo *d, const struct demo_node *except)
{
    msec deadline_ms = loop_clock_ms() + STOP_NODE_MS;

    for (int i = 0; i < d->node_count; i++)
        if (&d->nodes[i] != except)
            proc_signal(&d->nodes[i].proc, SIGTERM);
    for (int i = 0; i < d->node_count; i++)
        if (&d->nodes[i] != except)
            await_end(d, &d->nodes[i].proc, d->nodes[i].name, d->nodes[i].data_dir, deadline_ms);
}

void demo_stop(struct demo *d)
{
    json_t *list = d->etcd.pid ? demo_list(d, NULL) : NULL;

    stop_nodes(d, list ? demo_leader(d, list) : NULL); /* replicas first: nobody takes over in between */
    stop_nodes(d, NULL);
    json_decref(list);
    proc_signal(&d->etcd, SIGTERM);
    AUTO(cstr) char *etcd_dir = str_fmt("%s/etcd", d->place.dir);
    await_end(d, &d->etcd, "etcd", etcd_dir, loop_clock_ms() + STOP_ETCD_MS);
}

void demo_deinit(struct demo *d)
{
    for (int i = 0; i < DEMO_NODES_MAX; i++) {
        free(d->nodes[i].yaml);
        free(d->nodes[i].log);
        free(d->nodes[i].data_dir);
    }
    for (size_t i = 0; i < ARRAY_LEN(d->signals); i++)
        if (d->signals[i])
            loop_signal_remove(d->signals[i]);
    loop_free(d->loop);
    place_deinit(&d->place);
    free(d->etcd_program);
    free(d->etcd_log);
    free(d->superuser_password);
    free(d->replication_password);
    free(d->pgpass);
}
