/*
 * A first configuration, with comments, for `pgkeep init`, --generate-config and
 * --generate-sample-config. etc/pgkeep.sample.yml is the one with placeholders.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct sample {
    const char *scope, *namespace_, *name;
    const char *restapi_listen, *restapi_connect_address; /* host:port */
    const char *pg_listen, *pg_connect_address;           /* host:port */
    const char *data_dir;
    const char *bin_dir;           /* NULL: a comment says how it is found */
    const char *const *etcd_hosts; /* host:port, NULL-terminated */
    const char *superuser, *superuser_password;
    const char *replication, *replication_password;
    const char *rewind, *rewind_password; /* NULL: the superuser rewinds */
};

/* What the sample file shows, to begin from. */
struct sample sample_placeholders(void);

/* YAML that settings_read() accepts without a finding. free() it. Holds passwords: write it mode 0600. */
char *sample_render(const struct sample *s);
