/*
 * Where the command line takes its settings from.
 */
#pragma once

#include "base/auto.h"
#include "base/err.h"
#include "wire/conf/settings.h"

/* ~/.config/patroni/patronictl.yaml (under XDG_CONFIG_HOME where that is set). free() it. */
char *config_default_path(void);

/*
 * path NULL: the default file if it is there, else PATRONI_* alone. dcs_url ("etcd3://host:2379", NULL: none)
 * replaces the store of the file, and its namespace where it names one. Errors are one text with all findings;
 * warnings are not shown: the file is usually the node's, and `pgkeep check` says them.
 */
MUST_USE bool config_load(const char *path, const char *dcs_url, struct settings **ret_settings, struct err *err);

struct dcs_address {
    enum store_kind kind;
    const char *section; /* of the configuration: "etcd3" */
    char *host;          /* host:port */
    char *namespace_;    /* without slashes at the ends; NULL: the file's */
};

/* "etcd3://host:2379/namespace", "//host:8500", "host": what is left out is guessed from the port, else it is etcd3. */
MUST_USE bool dcs_address_parse(const char *url, struct dcs_address *ret, struct err *err);
void dcs_address_deinit(struct dcs_address *d);
