/*
 * Where Debian keeps the configuration of a cluster: apart from its data, in /etc/postgresql/<major>/<name>, whose
 * postgresql.conf names the data directory. $PG_CLUSTER_CONF_ROOT stands for /etc/postgresql, as for Debian's own
 * programs.
 */
#pragma once

/* The folder with the postgresql.conf of this data directory; NULL: Debian knows nothing of it. free() it. */
char *debian_config_dir(const char *data_dir, int major);
