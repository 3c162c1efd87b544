/*
 * Keys of the stores. etcd over its version 3 protocol is built; the others are known by name, so
 * that a configuration with them is understood and answered clearly.
 */
#include "wire/conf/keys.h"

#include "base/auto.h"

#define BUILT(path_, type_, ...)                                                           \
    {                                                                                      \
        .path = path_, .type = type_, .scope = KEY_LOCAL, .when = WHEN_RELOAD, __VA_ARGS__ \
    }
#define LATER(path_, type_, ...)                                                          \
    {                                                                                     \
        .path = path_, .type = type_, .scope = KEY_LOCAL, .state = KEY_LATER, __VA_ARGS__ \
    }
#define BY_SETTINGS(name) .test = "test/unit/conf/test_settings.c::" #name

static const struct key rows[] = {
    BUILT("etcd3", KEY_SECTION, BY_SETTINGS(test_etcd3_keys_are_read), .meaning = "etcd, version 3 protocol"),
    BUILT("etcd3.host", KEY_ADDRESS, .env = "", BY_SETTINGS(test_etcd3_hosts_come_in_every_form),
          .meaning = "one endpoint"),
    BUILT("etcd3.hosts", KEY_HOST_LIST, .env = "", BY_SETTINGS(test_etcd3_hosts_come_in_every_form),
          .meaning = "endpoints; before host"),
    BUILT("etcd3.port", KEY_INT, .min = 1, .max = UINT16_MAX, .fallback = "2379", .env = "",
          BY_SETTINGS(test_etcd3_hosts_come_in_every_form), .meaning = "port where host or hosts name none"),
    BUILT("etcd3.url", KEY_URL, .env = "", BY_SETTINGS(test_etcd3_hosts_come_in_every_form),
          .meaning = "one endpoint with protocol, perhaps user and password; before hosts"),
    BUILT("etcd3.protocol", KEY_ENUM, .values = "http|https", .fallback = "http", .env = "",
          BY_SETTINGS(test_etcd3_keys_are_read), .meaning = "with or without TLS"),
    BUILT("etcd3.username", KEY_TEXT, .env = "", BY_SETTINGS(test_etcd3_keys_are_read), .meaning = "etcd user"),
    BUILT("etcd3.password", KEY_SECRET, .env = "", BY_SETTINGS(test_etcd3_keys_are_read),
          .meaning = "password of the user"),
    BUILT("etcd3.cacert", KEY_TEXT, .env = "", BY_SETTINGS(test_etcd3_keys_are_read),
          .meaning = "authorities etcd is verified with"),
    BUILT("etcd3.cert", KEY_TEXT, .env = "", BY_SETTINGS(test_etcd3_keys_are_read), .meaning = "client certificate"),
    BUILT("etcd3.key", KEY_TEXT, .env = "", BY_SETTINGS(test_etcd3_keys_are_read),
          .meaning = "key of the client certificate; without it the key is in cert"),
    LATER("etcd3.proxy", KEY_URL, .env = "", .meaning = "a proxy before etcd"),
    LATER("etcd3.srv", KEY_TEXT, .env = "", .meaning = "domain whose SRV records name the endpoints"),
    LATER("etcd3.discovery_srv", KEY_TEXT, .moved_to = "etcd3.srv"),
    LATER("etcd3.srv_domain", KEY_TEXT, .moved_to = "etcd3.srv"),
    LATER("etcd3.srv_suffix", KEY_TEXT, .env = "", .meaning = "suffix in the name of the SRV records"),
    {.path = "etcd3.use_proxies",
     .type = KEY_BOOL,
     .scope = KEY_LOCAL,
     .state = KEY_NO_EFFECT,
     .harmless = "off",
     .fallback = "off",
     .env = "",
     .meaning = "take hosts as they are; pgkeep always does"},

    LATER("etcd", KEY_SECTION, .meaning = "etcd, version 2 protocol; the same hosts under etcd3 speak version 3"),
    LATER("etcd.host", KEY_ADDRESS, .env = "", .meaning = "one endpoint"),
    LATER("etcd.hosts", KEY_HOST_LIST, .env = "", .meaning = "endpoints"),
    LATER("etcd.port", KEY_INT, .min = 1, .max = UINT16_MAX, .env = "", .meaning = "default port"),
    LATER("etcd.url", KEY_URL, .env = "", .meaning = "one endpoint with protocol"),
    LATER("etcd.protocol", KEY_ENUM, .values = "http|https", .env = "", .meaning = "with or without TLS"),
    LATER("etcd.username", KEY_TEXT, .env = "", .meaning = "user"),
    LATER("etcd.password", KEY_SECRET, .env = "", .meaning = "password"),
    LATER("etcd.cacert", KEY_TEXT, .env = "", .meaning = "authorities"),
    LATER("etcd.cert", KEY_TEXT, .env = "", .meaning = "client certificate"),
    LATER("etcd.key", KEY_TEXT, .env = "", .meaning = "its key"),
    LATER("etcd.proxy", KEY_URL, .env = "", .meaning = "proxy"),
    LATER("etcd.srv", KEY_TEXT, .env = "", .meaning = "domain of SRV records"),
    LATER("etcd.srv_suffix", KEY_TEXT, .env = "", .meaning = "suffix in their name"),
    LATER("etcd.use_proxies", KEY_BOOL, .env = "", .meaning = "take hosts as they are"),

    LATER("consul", KEY_SECTION, .meaning = "Consul"),
    LATER("consul.host", KEY_ADDRESS, .env = "", .meaning = "local agent"),
    LATER("consul.url", KEY_URL, .env = "", .meaning = "local agent with protocol"),
    LATER("consul.port", KEY_INT, .min = 1, .max = UINT16_MAX, .env = "", .meaning = "its port"),
    LATER("consul.scheme", KEY_ENUM, .values = "http|https", .env = "", .meaning = "with or without TLS"),
    LATER("consul.token", KEY_SECRET, .env = "", .meaning = "ACL token"),
    LATER("consul.verify", KEY_BOOL, .env = "", .meaning = "verify the certificate"),
    LATER("consul.cacert", KEY_TEXT, .env = "", .meaning = "authorities"),
    LATER("consul.cert", KEY_TEXT, .env = "", .meaning = "client certificate"),
    LATER("consul.key", KEY_TEXT, .env = "", .meaning = "its key"),
    LATER("consul.dc", KEY_TEXT, .env = "", .meaning = "datacenter"),
    LATER("consul.consistency", KEY_ENUM, .values = "default|consistent|stale", .env = "",
          .meaning = "consistency of reads"),
    LATER("consul.checks", KEY_TEXT_LIST, .env = "", .meaning = "health checks of the session"),
    LATER("consul.register_service", KEY_BOOL, .env = "", .meaning = "register a service named by scope"),
    LATER("consul.service_tags", KEY_TEXT_LIST, .env = "", .meaning = "tags of that service"),
    LATER("consul.service_check_interval", KEY_TEXT, .env = "", .meaning = "interval of its check"),
    LATER("consul.service_check_tls_server_name", KEY_TEXT, .env = "", .meaning = "SNI name of its check"),

    LATER("zookeeper", KEY_SECTION, .meaning = "ZooKeeper"),
    LATER("zookeeper.hosts", KEY_HOST_LIST, .env = "", .meaning = "servers"),
    LATER("zookeeper.use_ssl", KEY_BOOL, .env = "", .meaning = "TLS"),
    LATER("zookeeper.cacert", KEY_TEXT, .env = "", .meaning = "authorities"),
    LATER("zookeeper.cert", KEY_TEXT, .env = "", .meaning = "client certificate"),
    LATER("zookeeper.key", KEY_TEXT, .env = "", .meaning = "its key"),
    LATER("zookeeper.key_password", KEY_SECRET, .env = "", .meaning = "password of the key"),
    LATER("zookeeper.verify", KEY_BOOL, .env = "", .meaning = "verify the certificate"),
    LATER("zookeeper.set_acls", KEY_MAP, .env = "", .meaning = "ACLs of created nodes"),
    LATER("zookeeper.auth_data", KEY_MAP, .env = "", .meaning = "credentials"),
    LATER("zookeeper.exhibitor", KEY_SECTION, .moved_to = "exhibitor"),

    LATER("exhibitor", KEY_SECTION, .meaning = "ZooKeeper found through Exhibitor"),
    LATER("exhibitor.hosts", KEY_TEXT_LIST, .env = "", .meaning = "servers"),
    LATER("exhibitor.port", KEY_INT, .min = 1, .max = UINT16_MAX, .env = "", .meaning = "Exhibitor's port"),
    LATER("exhibitor.poll_interval", KEY_INT, .min = 1, .meaning = "seconds between two looks"),

    LATER("kubernetes", KEY_SECTION, .meaning = "Kubernetes' own API as the store"),
    LATER("kubernetes.context", KEY_TEXT, .env = "", .meaning = "context of the client configuration"),
    LATER("kubernetes.namespace", KEY_TEXT, .env = "", .meaning = "namespace"),
    LATER("kubernetes.labels", KEY_SCALARS, .env = "", .meaning = "labels of the cluster's objects"),
    LATER("kubernetes.scope_label", KEY_TEXT, .env = "", .meaning = "label with the cluster's name"),
    LATER("kubernetes.role_label", KEY_TEXT, .env = "", .meaning = "label with the role"),
    LATER("kubernetes.leader_label_value", KEY_TEXT, .env = "", .meaning = "its value on the primary"),
    LATER("kubernetes.follower_label_value", KEY_TEXT, .env = "", .meaning = "its value on replicas"),
    LATER("kubernetes.standby_leader_label_value", KEY_TEXT, .env = "", .meaning = "its value on a standby leader"),
    LATER("kubernetes.tmp_role_label", KEY_TEXT, .env = "", .meaning = "a second role label"),
    LATER("kubernetes.use_endpoints", KEY_BOOL, .env = "", .meaning = "Endpoints instead of ConfigMaps"),
    LATER("kubernetes.bypass_api_service", KEY_BOOL, .env = "", .meaning = "talk to API nodes directly"),
    LATER("kubernetes.pod_ip", KEY_TEXT, .env = "", .meaning = "address of this pod"),
    LATER("kubernetes.ports", KEY_LIST, .env = "", .meaning = "ports of the service"),
    LATER("kubernetes.ports[]", KEY_SECTION, .meaning = "one port"),
    LATER("kubernetes.ports[].name", KEY_TEXT, .meaning = "its name"),
    LATER("kubernetes.ports[].port", KEY_INT, .min = 1, .max = UINT16_MAX, .meaning = "its number"),
    LATER("kubernetes.cacert", KEY_TEXT, .env = "", .meaning = "authorities"),
    LATER("kubernetes.retriable_http_codes", KEY_ANY, .env = "", .meaning = "answers to retry on"),
    LATER("kubernetes.bootstrap_labels", KEY_SCALARS, .env = "", .meaning = "labels while the cluster is made"),

    LATER("raft", KEY_SECTION, .meaning = "Patroni's own raft"),
    LATER("raft.self_addr", KEY_HOST_PORT, .env = "", .meaning = "own address"),
    LATER("raft.bind_addr", KEY_HOST_PORT, .env = "", .meaning = "address it listens on"),
    LATER("raft.partner_addrs", KEY_HOST_LIST, .env = "", .meaning = "the other members"),
    LATER("raft.data_dir", KEY_TEXT, .env = "", .meaning = "folder of its log"),
    LATER("raft.password", KEY_SECRET, .env = "", .meaning = "encrypts its traffic"),
    LATER("raft.min_timeout", KEY_SCALAR, .meaning = "seconds before an election, least"),
    LATER("raft.max_timeout", KEY_SCALAR, .meaning = "seconds before an election, most"),
    LATER("raft.connection_timeout", KEY_SCALAR, .meaning = "seconds to connect"),
    LATER("raft.append_entries_period", KEY_SCALAR, .meaning = "seconds between heartbeats"),
    LATER("raft.connection_retry_time", KEY_SCALAR, .meaning = "seconds between attempts"),
    LATER("raft.leader_fallback_timeout", KEY_SCALAR, .meaning = "seconds after which a lone leader steps down"),
};

const struct key_table keys_store = {rows, ARRAY_LEN(rows)};
