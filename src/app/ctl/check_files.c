#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "app/ctl/checks.h"
#include "base/str.h"
#include "pg/datadir.h"

enum { FREE_MIN_MB = 200 }; /* an empty cluster and its first WAL segments; below that nothing starts */

/* Files that hold passwords and that everybody may read are an invitation. */
static void check_configuration_mode(struct check *c)
{
    const struct settings *s = c->settings;
    bool secrets = s->postgresql.superuser.password || s->postgresql.replication.password ||
                   s->postgresql.rewind.password || s->restapi.password || s->ctl.password || s->store.password;
    struct stat st;

    for (size_t i = 0; secrets && i < c->files.count; i++)
        if (stat(c->files.at[i].path, &st) == 0 && (st.st_mode & S_IROTH))
            findings_add(&c->findings, FINDING_WARNING,
                         "%s: holds passwords and is readable by everybody (mode %04o): chmod o= it",
                         c->files.at[i].path, st.st_mode & 07777);
}

/* True if the file is there and may be read. */
static bool check_readable(struct check *c, const char *key, const char *path)
{
    AUTO(fd) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

    if (fd < 0)
        check_error(c, key, "%s: %s", path, strerror(errno));
    return fd >= 0;
}

static void check_certificate(struct check *c, const char *key, const char *path)
{
    if (!path || !check_readable(c, key, path))
        return;

    FILE *file = fopen(path, "re");
    X509 *cert = file ? PEM_read_X509(file, NULL, NULL, NULL) : NULL;
    if (!cert)
        check_error(c, key, "%s: holds no certificate in PEM form", path);
    else if (X509_cmp_current_time(X509_get0_notAfter(cert)) < 0)
        check_error(c, key, "%s: the certificate has expired", path);
    else if (X509_cmp_current_time(X509_get0_notBefore(cert)) > 0)
        check_error(c, key, "%s: the certificate is not valid yet", path);
    X509_free(cert);
    if (file)
        (void)fclose(file); /* it was only read */
}

/* libpq refuses keys that others can read; the rest of the suite would not notice, which is no better. */
static void check_key(struct check *c, const char *key, const char *path)
{
    struct stat st;

    if (!path || !check_readable(c, key, path))
        return;
    if (stat(path, &st) == 0 && (st.st_mode & (S_IRWXG | S_IRWXO)) &&
        !(st.st_uid == 0 && !(st.st_mode & (S_IWGRP | S_IRWXO))))
        check_error(c, key, "%s: a private key that others may read (mode %04o): chmod 600 it", path,
                    st.st_mode & 07777);
}

static void check_pg_user(struct check *c, const char *section, const struct pg_user *u)
{
    AUTO(cstr) char *cert = str_fmt("postgresql.authentication.%s.sslcert", section);
    AUTO(cstr) char *key = str_fmt("postgresql.authentication.%s.sslkey", section);
    AUTO(cstr) char *root = str_fmt("postgresql.authentication.%s.sslrootcert", section);

    check_certificate(c, cert, u->sslcert);
    check_key(c, key, u->sslkey);
    if (!str_eq(u->sslrootcert, "system")) /* libpq 16: the host's own authorities */
        check_certificate(c, root, u->sslrootcert);
}

/* The section of the file that the store was configured in; for the place of a finding. */
static const char *store_section(enum store_kind kind)
{
    switch (kind) {
    case STORE_ETCD3:
        return "etcd3";
    case STORE_ETCD2:
        return "etcd";
    case STORE_CONSUL:
        return "consul";
    case STORE_ZOOKEEPER:
        return "zookeeper";
    case STORE_EXHIBITOR:
        return "exhibitor";
    case STORE_KUBERNETES:
        return "kubernetes";
    case STORE_RAFT:
        return "raft";
    case STORE_NONE:
        return "store";
    }
    return "store";
}

static void check_tls(struct check *c)
{
    const struct settings *s = c->settings;
    AUTO(cstr) char *cacert = str_fmt("%s.cacert", store_section(s->store.kind));
    AUTO(cstr) char *cert = str_fmt("%s.cert", store_section(s->store.kind));
    AUTO(cstr) char *key = str_fmt("%s.key", store_section(s->store.kind));

    check_certificate(c, "restapi.certfile", s->restapi.certfile);
    check_key(c, "restapi.keyfile", s->restapi.keyfile);
    check_certificate(c, "restapi.cafile", s->restapi.cafile);
    /* What ctl leaves out is taken from restapi, and told of there. */
    if (!str_eq(s->ctl.cert, s->restapi.certfile))
        check_certificate(c, "ctl.certfile", s->ctl.cert);
    if (!str_eq(s->ctl.key, s->restapi.keyfile))
        check_key(c, "ctl.keyfile", s->ctl.key);
    if (!str_eq(s->ctl.cacert, s->restapi.cafile))
        check_certificate(c, "ctl.cacert", s->ctl.cacert);
    check_certificate(c, cacert, s->store.cacert);
    check_certificate(c, cert, s->store.cert);
    check_key(c, key, s->store.key);
    check_pg_user(c, "superuser", &s->postgresql.superuser);
    check_pg_user(c, "replication", &s->postgresql.replication);
    check_pg_user(c, "rewind", &s->postgresql.rewind);
}

/* The nearest folder above path that exists; cuts path in place. */
static void nearest_existing(char *path)
{
    struct stat st;

    while (stat(path, &st) < 0) {
        char *slash = strrchr(path, '/');
        if (!slash || slash == path) {
            str_copy(path, 2, "/");
            return;
        }
        *slash = '\0';
    }
}

/* A folder that is there must be writable; one that is not must be possible to make. */
static void check_folder(struct check *c, const char *key, const char *path)
{
    struct stat st;
    AUTO(cstr) char *nearest = str_dup(path);

    if (!path)
        return;
    if (stat(path, &st) == 0 && !S_ISDIR(st.st_mode)) {
        check_error(c, key, "%s: is no folder", path);
        return;
    }
    nearest_existing(nearest);
    if (access(nearest, W_OK | X_OK) == 0)
        return;
    if (str_eq(nearest, path))
        check_error(c, key, "%s: not writable: %s", path, strerror(errno));
    else
        check_error(c, key, "%s: does not exist, and cannot be made in %s: %s", path, nearest, strerror(errno));
}

static char *folder_of(const char *file)
{
    const char *slash = file ? strrchr(file, '/') : NULL;

    return slash ? str_fmt("%.*s", slash == file ? 1 : (int)(slash - file), file) : NULL;
}

static void check_folders(struct check *c)
{
    const struct settings *s = c->settings;
    AUTO(cstr) char *pgpass_folder = folder_of(s->postgresql.pgpass);
    AUTO(cstr) char *state_folder = s->postgresql.data_dir ? folder_of(s->pgkeep.state_dir) : NULL;
    uint64_t free_bytes;
    struct err err;

    check_folder(c, "postgresql.data_dir", s->postgresql.data_dir);
    check_folder(c, "postgresql.config_dir", s->postgresql.config_dir);
    check_folder(c, "postgresql.pgpass", pgpass_folder);
    check_folder(c, "pgkeep.state_dir", state_folder);
    check_folder(c, "log.dir", s->log.dir);
    if (s->postgresql.data_dir && datadir_free_bytes(s->postgresql.data_dir, &free_bytes, &err) &&
        free_bytes < FREE_MIN_MB * (uint64_t)1024 * 1024)
        check_error(c, "postgresql.data_dir", "%s: only %llu MB are free", s->postgresql.data_dir,
                    (unsigned long long)(free_bytes / 1024 / 1024));
}

/* Commands run through the shell; what can be said beforehand is whether the program is there. */
static void check_command(struct check *c, const char *key, const char *command)
{
    AUTO(cstr) char *program = NULL;

    if (str_empty(command) || *command != '/')
        return;
    program = str_fmt("%.*s", (int)strcspn(command, " \t"), command);
    if (access(program, X_OK) < 0)
        check_error(c, key, "%s: %s", program, strerror(errno));
}

static void check_commands(struct check *c)
{
    const struct settings *s = c->settings;
    const char *name;
    json_t *value;

    check_command(c, "postgresql.pre_promote", s->postgresql.pre_promote);
    check_command(c, "postgresql.before_stop", s->postgresql.before_stop);
    check_command(c, "bootstrap.post_bootstrap", s->bootstrap.post_bootstrap);
    json_object_foreach(s->postgresql.callbacks, name, value)
    {
        AUTO(cstr) char *key = str_fmt("postgresql.callbacks.%s", name);
        check_command(c, key, json_string_value(value));
    }
    json_object_foreach(s->bootstrap.methods, name, value)
    {
        AUTO(cstr) char *key = str_fmt("bootstrap.%s.command", name);
        check_command(c, key, json_string_value(json_object_get(value, "command")));
    }
}

void check_files(struct check *c)
{
    check_configuration_mode(c);
    check_tls(c);
    check_folders(c);
    check_commands(c);
}
