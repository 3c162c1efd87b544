#include "app/ctl/init.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <limits.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "app/conf_files.h"
#include "app/ctl/config_change.h"
#include "app/ctl/ctl.h"
#include "app/ctl/init_file.h"
#include "app/ctl/prompt.h"
#include "app/ctl/yaml_out.h"
#include "base/check.h"
#include "base/str.h"
#include "pg/bin.h"
#include "wire/conf/sample.h"
#include "wire/conf/value.h"

enum { PASSWORD_BYTES = 18 }; /* 144 bits; 24 letters */

struct answers {
    bool yes;         /* take every default */
    const char *file; /* to write */
    const char *scope, *name, *host, *data_dir, *etcd, *port, *rest_port;
    const char *from; /* another node's file: all but its name, addresses and tags */
    char *owned[8];   /* what answers point into */
    size_t owned_count;
    struct settings *other; /* of --from; NULL */
    json_t *whole;          /* the same, as it stands in its files */
};

static void answers_deinit(struct answers *a)
{
    for (size_t i = 0; i < a->owned_count; i++)
        free(a->owned[i]);
    settings_unref(a->other);
    json_decref(a->whole);
}

static inline void answers_freep(struct answers *a)
{
    answers_deinit(a);
}

static const char *keep(struct answers *a, char *take_text)
{
    CHECK(a->owned_count < ARRAY_LEN(a->owned));
    a->owned[a->owned_count++] = take_text;
    return take_text;
}

bool init_write_file(const char *path, const char *text, struct err *err)
{
    size_t len = strlen(text);
    AUTO(fd) int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

    if (fd < 0)
        return err_sys(err, errno, "making %s", path);
    for (size_t put = 0; put < len;) {
        ssize_t n = write(fd, text + put, len - put);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            (void)err_sys(err, errno, "writing %s", path);
            (void)unlink(path); /* half a configuration is none */
            return false;
        }
        put += (size_t)n;
    }
    return true;
}

/* Letters that need no quoting anywhere: YAML, URLs, conninfo. free() it. */
char *init_password(void)
{
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    unsigned char bytes[PASSWORD_BYTES];
    char *text = mem_zero(PASSWORD_BYTES / 3 * 4 + 1, 1);
    char *at = text;

    ssize_t got = getrandom(bytes, sizeof(bytes), 0);
    CHECK(got == (ssize_t)sizeof(bytes)); /* never short for so few (getrandom(2)) */
    for (size_t i = 0; i < sizeof(bytes); i += 3) {
        unsigned int three = (unsigned int)bytes[i] << 16 | (unsigned int)bytes[i + 1] << 8 | bytes[i + 2];
        for (int shift = 18; shift >= 0; shift -= 6)
            *at++ = letters[three >> shift & 63];
    }
    return text;
}

/* The first address of this host that others can reach; 127.0.0.1 if there is none. free() it. */
static char *own_address(void)
{
    struct ifaddrs *all = NULL;
    char text[INET_ADDRSTRLEN] = "127.0.0.1";

    if (getifaddrs(&all) < 0)
        return str_dup(text);
    for (const struct ifaddrs *at = all; at; at = at->ifa_next) {
        if (!at->ifa_addr || at->ifa_addr->sa_family != AF_INET || (at->ifa_flags & IFF_LOOPBACK) ||
            !(at->ifa_flags & IFF_UP))
            continue;
        const struct sockaddr_in *in = (const struct sockaddr_in *)(const void *)at->ifa_addr;
        if (inet_ntop(AF_INET, &in->sin_addr, text, sizeof(text)))
            break;
    }
    freeifaddrs(all);
    return str_dup(text);
}

static char *host_name(void)
{
    char name[HOST_NAME_MAX + 1] = "";

    if (gethostname(name, sizeof(name) - 1) < 0 || !*name)
        return str_dup("node-1");
    name[strcspn(name, ".")] = '\0';
    return str_dup(name);
}

/* Where Debian's packages would put it, for the newest version installed. free() it. */
static char *default_data_dir(void)
{
    static const char debian[] = "/usr/lib/postgresql/";
    const struct pg_bin_spec spec = {.path_env = getenv("PATH")};
    AUTO(pg_bin) struct pg_bin *bin = NULL;

    if (!pg_bin_find(&spec, &bin, NULL) || !bin->dir || !str_starts(bin->dir, debian))
        return str_dup("/var/lib/postgresql/data");
    const char *version = bin->dir + strlen(debian);
    return str_fmt("/var/lib/postgresql/%.*s/main", (int)strcspn(version, "/"), version);
}

/* Fills *slot by asking, if it was not given; frees nothing. False: nobody answered. */
static bool settle(struct answers *a, const char **slot, const char *question, char *take_default)
{
    AUTO(cstr) char *fallback = take_default;
    char *answer = NULL;

    if (*slot)
        return true;
    if (a->yes && fallback) {
        *slot = keep(a, TAKE(fallback));
        return true;
    }
    if (!prompt_text(stdin, stdout, question, fallback, &answer))
        return false;
    *slot = keep(a, answer);
    return true;
}

static bool read_other(struct answers *a, struct err *err)
{
    AUTO(conf_files) struct conf_files files = {0};
    struct findings findings = {0};

    if (!conf_files_read(a->from, &files, err))
        return false;
    a->other = settings_read(files.at, files.count, (const char *const *)environ, &findings);
    if (!a->other)
        (void)err_set(err, ERR_INPUT, "%s: it has errors; `pgkeep check` shows them", a->from);
    findings_deinit(&findings);
    a->whole = json_object();
    for (size_t i = 0; i < files.count && a->other; i++) {
        json_t *part = config_change_document(files.at[i].path, files.at[i].text, err);
        if (!part)
            return false;
        json_t *merged = json_merge_patch(a->whole, part);
        json_decref(part);
        a->whole = merged;
    }
    return a->other != NULL;
}

static bool settle_all(struct answers *a)
{
    return (a->other || settle(a, &a->scope, "Name of the cluster", str_dup("main"))) &&
           settle(a, &a->name, "Name of this node, unique in the cluster", host_name()) &&
           settle(a, &a->host, "Address of this node, for the others", own_address()) &&
           settle(a, &a->data_dir, "Data directory of PostgreSQL",
                  a->other ? str_dup(a->other->postgresql.data_dir) : default_data_dir()) &&
           (a->other || settle(a, &a->etcd, "etcd (host:port, several with commas)", str_dup("127.0.0.1:2379")));
}

static bool split_hosts(const char *text, struct string_list *ret, struct err *err)
{
    AUTO(cstr) char *copy = str_dup(text);
    char *state = NULL;

    for (char *at = strtok_r(copy, ", ", &state); at; at = strtok_r(NULL, ", ", &state)) {
        struct endpoint e;
        if (!value_endpoint(at, 2379, &e))
            return err_set(err, ERR_INPUT, "%s: an address of etcd is host:port", at);
        AUTO(cstr) char *whole = str_fmt(strchr(e.host, ':') ? "[%s]:%d" : "%s:%d", e.host, e.port);
        string_list_add(ret, whole);
        endpoint_deinit(&e);
    }
    return ret->count > 0 || err_set(err, ERR_INPUT, "no address of etcd");
}

/* The YAML of a first node's answers; free() it. */
static char *render(const struct answers *a, const struct string_list *hosts)
{
    AUTO(cstr) char *superuser_password = init_password();
    AUTO(cstr) char *replication_password = init_password();
    AUTO(cstr) char *rewind_password = init_password();
    AUTO(cstr) char *rest_listen = str_fmt("%s:%s", a->host, a->rest_port);
    AUTO(cstr) char *pg_listen = str_fmt("%s:%s", a->host, a->port);
    const char **list = mem_zero(hosts->count + 1, sizeof(*list));
    struct sample s = sample_placeholders();

    for (size_t i = 0; i < hosts->count; i++)
        list[i] = hosts->at[i];
    s.scope = a->scope;
    s.name = a->name;
    s.restapi_listen = rest_listen;
    s.restapi_connect_address = rest_listen;
    s.pg_listen = pg_listen;
    s.pg_connect_address = pg_listen;
    s.data_dir = a->data_dir;
    s.etcd_hosts = list;
    s.superuser_password = superuser_password;
    s.replication_password = replication_password;
    s.rewind_password = rewind_password;

    char *text = sample_render(&s);
    free(list);
    return text;
}

/* The section of that name, made if it is not there. Borrowed. */
static json_t *section(json_t *whole, const char *name)
{
    if (!json_is_object(json_object_get(whole, name)))
        (void)json_object_set_new(whole, name, json_object());
    return json_object_get(whole, name);
}

static void set_address(json_t *o, const char *name, const char *host, const char *port)
{
    AUTO(cstr) char *text = strchr(host, ':') ? str_fmt("[%s]:%s", host, port) : str_fmt("%s:%s", host, port);

    (void)json_object_set_new(o, name, json_string(text));
}

/* One that listens on every address goes on doing so. */
static const char *listen_host(const struct endpoint *other, const char *host)
{
    static const char *const every[] = {"*", "0.0.0.0", "::"};

    for (size_t i = 0; i < ARRAY_LEN(every); i++)
        if (str_eq(other->host, every[i]))
            return every[i];
    return host;
}

/* The other node's YAML with what is this node's own; free() it. */
static char *render_as_other(const struct answers *a)
{
    json_t *restapi = section(a->whole, "restapi");
    json_t *postgresql = section(a->whole, "postgresql");

    (void)json_object_set_new(a->whole, "name", json_string(a->name));
    (void)json_object_del(a->whole, "tags");
    (void)json_object_del(postgresql, "proxy_address");
    set_address(restapi, "listen", listen_host(&a->other->restapi.listen, a->host), a->rest_port);
    set_address(restapi, "connect_address", a->host, a->rest_port);
    set_address(postgresql, "listen", listen_host(&a->other->postgresql.listen, a->host), a->port);
    set_address(postgresql, "connect_address", a->host, a->port);
    (void)json_object_set_new(postgresql, "data_dir", json_string(a->data_dir));
    return yaml_text(a->whole, YAML_BLOCK);
}

static void print_next_steps(const struct answers *a)
{
    (void)printf("Written: %s (mode 0600, it holds the passwords)\n\n"
                 "Next:\n"
                 "  pgkeep check %s                                what is still missing on this host\n"
                 "  pgkeep run %s                                  as the user who owns the data directory\n"
                 "  pgkeep init --from %s --name OTHER --host ADDRESS OTHER.yml   the next node of this cluster\n",
                 a->file, a->file, a->file, a->file);
}

static int write_answers(struct answers *a)
{
    struct string_list hosts = {0};
    struct err err;

    bool ok = a->other || split_hosts(a->etcd, &hosts, &err);
    AUTO(cstr) char *text = !ok ? NULL : a->other ? render_as_other(a) : render(a, &hosts);
    string_list_deinit(&hosts);
    if (!ok || !init_write_file(a->file, text, &err))
        return ctl_fail(&err);
    print_next_steps(a);
    return CTL_OK;
}

int init_main(int argc, char **argv)
{
    AUTO(answers) struct answers a = {.port = "5432", .rest_port = "8008", .file = "pgkeep.yml"};
    struct ctl as = {.program = "pgkeep",
                     .verb = "init",
                     .usage = "[FILE]",
                     .help = "Write a first configuration for a node (default: pgkeep.yml)"};
    const char *file = NULL;
    int status;
    struct err err;
    const struct opt opts[] = {
        {0, "scope", "TEXT", "Name of the cluster", .text = &a.scope},
        {0, "name", "TEXT", "Name of this node", .text = &a.name},
        {0, "host", "TEXT", "Address of this node", .text = &a.host},
        {0, "port", "PORT", "PostgreSQL's port (5432)", .text = &a.port},
        {0, "rest-port", "PORT", "Port of the REST API (8008)", .text = &a.rest_port},
        {0, "data-dir", "PATH", "Data directory", .text = &a.data_dir},
        {0, "etcd", "HOSTS", "Addresses of etcd, separated by commas", .text = &a.etcd},
        {0, "from", "FILE", "Take all but name, addresses and tags from another node's configuration", .text = &a.from},
        {'y', "yes", NULL, "Ask nothing, take the defaults", .flag = &a.yes},
        OPT_END,
    };

    if (!ctl_file_argument(&as, opts, argc, argv, &file, &status))
        return status;
    if (file)
        a.file = file;
    if (access(a.file, F_OK) == 0)
        return ctl_refuse("%s is there already; name another file", a.file);
    if (a.from && !read_other(&a, &err))
        return ctl_fail(&err);
    if (!settle_all(&a))
        return ctl_abort();
    return write_answers(&a);
}

/* To a file if one is named, else to stdout. */
int init_put(const char *file, const char *text)
{
    struct err err;

    if (!file)
        return fputs(text, stdout) < 0 || fflush(stdout) != 0 ? CTL_FAILED : CTL_OK;
    if (!init_write_file(file, text, &err))
        return ctl_fail(&err);
    ctl_note("Written: %s", file);
    return CTL_OK;
}

int generate_sample_config_main(int argc, char **argv)
{
    const struct sample s = sample_placeholders();
    AUTO(cstr) char *text = sample_render(&s);
    struct ctl as = {.program = "pgkeep", .verb = argv[0], .usage = "[FILE]", .help = ""};

    if (argc > 2 || (argc > 1 && argv[1][0] == '-'))
        return ctl_misuse(&as, "Got unexpected extra argument (%s)", argv[argc - 1]);
    return init_put(argc > 1 ? argv[1] : NULL, text);
}
