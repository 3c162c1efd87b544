#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "app/ctl/checks.h"
#include "base/str.h"
#include "pg/datadir.h"
#include "wire/conf/dynamic.h"

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

static int give_password(char *to, int size, int writing, void *arg)
{
    const char *password = arg;
    size_t len = password ? strlen(password) : 0;

    (void)writing; /* keys are only read */
    if (size < 0 || len > (size_t)size)
        return -1;
    /* NOLINTNEXTLINE(bugprone-not-null-terminated-result): OpenSSL wants the bytes and their number */
    memcpy(to, password ? password : "", len);
    return (int)len;
}

/* A certificate and its private key, and the keys of the configuration that name them. */
struct key_pair {
    const char *cert_name, *cert; /* cert NULL: there is none */
    const char *key_name, *key;   /* key NULL: it is kept with the certificate */
    const char *password;         /* NULL: the key is not encrypted */
};

/* Both files are readable; what the certificate is worth has been said. */
static void check_fit(struct check *c, const struct key_pair *p, const char *key_path)
{
    FILE *key_file = fopen(key_path, "re");
    FILE *cert_file = fopen(p->cert, "re");
    void *password = (void *)(uintptr_t)p->password; /* only read */
    EVP_PKEY *key = key_file ? PEM_read_PrivateKey(key_file, NULL, give_password, password) : NULL;
    X509 *cert = cert_file ? PEM_read_X509(cert_file, NULL, NULL, NULL) : NULL;

    if (!key)
        check_error(c, p->key ? p->key_name : p->cert_name, "%s: holds no private key in PEM form%s", key_path,
                    p->password ? " that the password opens" : ", or one that needs a password");
    else if (cert && X509_check_private_key(cert, key) != 1)
        check_error(c, p->key ? p->key_name : p->cert_name, "%s: is not the key of the certificate %s", key_path,
                    p->cert);
    X509_free(cert);
    EVP_PKEY_free(key);
    if (cert_file)
        (void)fclose(cert_file); /* both were only read */
    if (key_file)
        (void)fclose(key_file);
}

/* libpq refuses keys that others can read; the rest of the suite would not notice, which is no better. */
static void check_key_mode(struct check *c, const char *key, const char *path)
{
    struct stat st;

    if (stat(path, &st) == 0 && (st.st_mode & (S_IRWXG | S_IRWXO)) &&
        !(st.st_uid == 0 && !(st.st_mode & (S_IWGRP | S_IRWXO))))
        check_error(c, key, "%s: a private key that others may read (mode %04o): chmod 600 it", path,
                    st.st_mode & 07777);
}

static void check_pair(struct check *c, const struct key_pair *p)
{
    check_certificate(c, p->cert_name, p->cert);
    if (p->key && !check_readable(c, p->key_name, p->key))
        return;
    if (p->key)
        check_key_mode(c, p->key_name, p->key);
    if (p->cert && access(p->cert, R_OK) == 0)
        check_fit(c, p, p->key ? p->key : p->cert);
}

static void check_pg_user(struct check *c, const char *section, const struct pg_user *u)
{
    AUTO(cstr) char *cert = str_fmt("postgresql.authentication.%s.sslcert", section);
    AUTO(cstr) char *key = str_fmt("postgresql.authentication.%s.sslkey", section);
    AUTO(cstr) char *root = str_fmt("postgresql.authentication.%s.sslrootcert", section);
    const struct key_pair pair = {cert, u->sslcert, key, u->sslkey, u->sslpassword};

    if (u->sslkey)
        check_pair(c, &pair);
    else
        check_certificate(c, cert, u->sslcert); /* its key is where libpq looks for one */
    if (!str_eq(u->sslrootcert, "system"))      /* libpq 16: the host's own authorities */
        check_certificate(c, root, u->sslrootcert);
}

const char *check_store_section(const struct check *c)
{
    switch (c->settings->store.kind) {
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
    AUTO(cstr) char *cacert = str_fmt("%s.cacert", check_store_section(c));
    AUTO(cstr) char *cert = str_fmt("%s.cert", check_store_section(c));
    AUTO(cstr) char *key = str_fmt("%s.key", check_store_section(c));
    const struct key_pair rest = {"restapi.certfile", s->restapi.certfile, "restapi.keyfile", s->restapi.keyfile,
                                  s->restapi.keyfile_password};
    const struct key_pair ctl = {"ctl.certfile", s->ctl.cert, "ctl.keyfile", s->ctl.key, s->ctl.key_password};
    const struct key_pair store = {cert, s->store.cert, key, s->store.key, NULL};

    check_pair(c, &rest);
    check_certificate(c, "restapi.cafile", s->restapi.cafile);
    /* What ctl leaves out is taken from restapi, and told of there. */
    if (!str_eq(s->ctl.cert, s->restapi.certfile) || !str_eq(s->ctl.key, s->restapi.keyfile))
        check_pair(c, &ctl);
    if (!str_eq(s->ctl.cacert, s->restapi.cafile))
        check_certificate(c, "ctl.cacert", s->ctl.cacert);
    check_pair(c, &store);
    check_certificate(c, cacert, s->store.cacert);
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

/* The folder of each socket is made where it is missing; the socket's path has to fit into an address. */
static void check_socket_folders(struct check *c)
{
    static const char key[] = "postgresql.parameters.unix_socket_directories";
    const char *list = json_string_value(json_object_get(c->dynamic->parameters, "unix_socket_directories"));

    for (const char *at = list ? list : ""; *at;) {
        at += strspn(at, " ,");
        size_t len = strcspn(at, ",");
        size_t trimmed = len;
        while (trimmed && at[trimmed - 1] == ' ')
            trimmed--;
        AUTO(cstr) char *folder = str_fmt("%.*s", (int)trimmed, at);
        AUTO(cstr) char *path = str_fmt("%s/.s.PGSQL.%d", folder, c->settings->postgresql.listen.port);
        if (*folder == '/')
            check_folder(c, key, folder);
        if (strlen(path) >= sizeof(((struct sockaddr_un *)NULL)->sun_path))
            check_error(c, key, "%s: too long for the path of a socket", path);
        at += len;
    }
}

/* A relative one starts where postgresql.conf is. */
static void check_custom_conf(struct check *c)
{
    const struct settings *s = c->settings;
    const char *file = c->dynamic->custom_conf;
    const char *folder = s->postgresql.config_dir ? s->postgresql.config_dir : s->postgresql.data_dir;

    if (str_empty(file) || (*file != '/' && !folder))
        return;
    AUTO(cstr) char *path = *file == '/' ? str_dup(file) : str_fmt("%s/%s", folder, file);
    (void)check_readable(c, "postgresql.custom_conf", path); /* it was noted */
}

static void check_pgpass(struct check *c)
{
    const char *path = c->settings->postgresql.pgpass;
    AUTO(cstr) char *folder = folder_of(path);
    struct stat st;

    check_folder(c, "postgresql.pgpass", folder);
    if (path && stat(path, &st) == 0 && !S_ISREG(st.st_mode))
        check_error(c, "postgresql.pgpass", "%s: is no file", path);
}

static void check_folders(struct check *c)
{
    const struct settings *s = c->settings;
    AUTO(cstr) char *state_folder = s->postgresql.data_dir ? folder_of(s->pgkeep.state_dir) : NULL;
    uint64_t free_bytes;
    struct err err;

    check_folder(c, "postgresql.data_dir", s->postgresql.data_dir);
    check_folder(c, "postgresql.config_dir", s->postgresql.config_dir);
    check_folder(c, "pgkeep.state_dir", state_folder);
    check_folder(c, "log.dir", s->log.dir);
    if (s->postgresql.data_dir && datadir_free_bytes(s->postgresql.data_dir, &free_bytes, &err) &&
        free_bytes < FREE_MIN_MB * (uint64_t)1024 * 1024)
        check_error(c, "postgresql.data_dir", "%s: only %llu MB are free", s->postgresql.data_dir,
                    (unsigned long long)(free_bytes / 1024 / 1024));
}

void check_files(struct check *c)
{
    check_configuration_mode(c);
    check_tls(c);
    check_folders(c);
    check_socket_folders(c);
    check_custom_conf(c);
    check_pgpass(c);
}
