"""PostgreSQL that takes nobody without TLS: every connection of a cluster verifies, and shows a certificate where it has one."""
import signal

import pytest

from lab import proc
from lab.node import REWIND, merged
from lab.tls import Authority
from lab.wait import wait_for

HBA = ['hostssl replication replicator all cert', 'hostssl all postgres,rewinder all scram-sha-256']


@pytest.fixture
def authority(bench):
    return Authority(bench)


@pytest.fixture
def encrypted(cluster_of, authority):
    """Two nodes, each with a certificate for its server and one for the user that replicates."""
    cluster = cluster_of(2, more=merged(REWIND, {'postgresql': {'pg_hba': HBA}}))
    for node in cluster.nodes:
        issue(authority, node)
        by_password = {'sslmode': 'verify-full', 'sslrootcert': str(authority.certificate), 'channel_binding': 'require'}
        node.change_yml({'postgresql': {
            'parameters': {'ssl': 'on', 'ssl_ca_file': str(authority.certificate), 'ssl_cert_file': str(node.folder / 'server.crt'),
                           'ssl_key_file': str(node.folder / 'server.key')},
            'authentication': {
                'superuser': by_password,
                'rewind': {'username': 'rewinder', 'password': 'rewind-secret', **by_password},
                'replication': {'sslmode': 'verify-ca', 'sslrootcert': str(authority.certificate), 'password': None,
                                'sslcert': str(node.folder / 'client.crt'), 'sslkey': str(node.folder / 'client.key')}}}})
    return cluster


def issue(authority, node):
    authority.issue(node.name, node.folder / 'server.crt', node.folder / 'server.key')
    authority.issue('replicator', node.folder / 'client.crt', node.folder / 'client.key')


def walsender(leader):
    """(subject, serial) of the certificate that the standby showed."""
    return leader.sql('select client_dn, client_serial from pg_stat_ssl join pg_stat_replication using (pid) where ssl')[0]


def test_clone_stream_failover_and_rewind_over_tls_only(encrypted):
    cluster = encrypted
    old = cluster.up()
    new, = cluster.others(old)
    assert walsender(old)[0] == '/CN=replicator'
    conninfo = new.value('show primary_conninfo')
    for expected in ('sslmode=verify-ca', f'sslcert={new.folder}/client.crt', f'sslkey={new.folder}/client.key', 'sslrootcert='):
        assert expected in conninfo

    old.sql('create table apart (of text)')
    old.sql('checkpoint')
    cluster.wait_replayed()
    cluster.stop_sending(old, [new])
    old.sql("insert into apart values ('the old leader')")
    old.crash()
    assert cluster.wait_leader(45, other_than=old) is new
    new.sql("insert into apart values ('the new leader')")
    old.log.mark()
    old.start()
    assert cluster.wait_healthy() is new
    assert old.log.lines(r'rewind\S* .*event=job\.begin') and old.log.lines(r'rewind done .*event=job\.done')
    cluster.wait_replayed()
    assert old.sql('select of from apart') == [('the new leader',)]
    assert walsender(new)[0] == '/CN=replicator'
    for node in cluster.nodes:
        assert node.value("select count(*) from pg_stat_ssl join pg_stat_activity using (pid) "
                          "where backend_type in ('client backend', 'walsender') and not ssl") == 0


def test_a_server_of_another_authority_is_not_cloned(encrypted, authority, bench):
    cluster = encrypted
    leader, replica = cluster.nodes
    stranger = Authority(bench, 'stranger')
    replica.change_yml({'postgresql': {'authentication': {'replication': {'sslrootcert': str(stranger.certificate)}}}})
    cluster.store.start()
    leader.start()
    assert cluster.wait_leader(60) is leader
    replica.start()
    replica.log.wait('certificate verify failed', 60)
    replica.change_yml({'postgresql': {'authentication': {'replication': {'sslrootcert': str(authority.certificate)}}}})
    assert replica.rest.call('POST', '/reload').status == 202
    assert cluster.wait_healthy() is leader


def test_rotated_certificates_need_a_reload_only(encrypted, authority):
    cluster = encrypted
    leader = cluster.up()
    replica, = cluster.others(leader)
    postmasters = [node.postmaster_pid() for node in cluster.nodes]
    for node in cluster.nodes:
        issue(authority, node)
        serial = authority.serial_of(node.folder / 'server.crt')
        assert authority.serial_shown(node.address, node.pg_port) != serial
        node.process.send_signal(signal.SIGHUP)
        wait_for('the new certificate', lambda n=node, s=serial: authority.serial_shown(n.address, n.pg_port) == s, 15)
    proc.send([replica.value('select pid from pg_stat_wal_receiver')], signal.SIGTERM)
    shown = authority.serial_of(replica.folder / 'client.crt')
    wait_for('a walsender that was shown the new certificate', lambda: walsender(leader)[1] == shown, 30)
    assert cluster.wait_healthy() is leader
    assert [node.postmaster_pid() for node in cluster.nodes] == postmasters
