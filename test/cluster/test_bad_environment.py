"""
What is wrong with the machine or the configuration is said once, clearly; nothing is destroyed, nothing
spins, and the node comes up when it is put right.
"""
import http.client
import os
import shutil
import signal
import time

import pytest

from lab import proc
from lab.disk import Disk
from lab.node import REWIND, merged, postgres_bin
from lab.wait import holds_for, wait_for

# An attempt writes up to ten lines, and the back-off between attempts starts at a second and grows.
LINES_A_MINUTE_MAX = 120


def cpu_seconds(pids):
    """CPU used so far by processes."""
    total = 0.0
    for pid in pids:
        try:
            fields = open(f'/proc/{pid}/stat', encoding='utf-8').read().rpartition(')')[2].split()
            total += (int(fields[11]) + int(fields[12])) / os.sysconf('SC_CLK_TCK')
        except OSError:
            pass
    return total


def calm(node, duration_s=20):
    """The node neither fills its log nor burns CPU nor starts processes without end."""
    node.log.mark()
    used, last_pid = cpu_seconds(node.pids()), newest_pid()
    time.sleep(duration_s)  # a measurement over a time, not a wait for something
    lines = len(node.log.text().splitlines())
    assert lines <= LINES_A_MINUTE_MAX * duration_s / 60, f'{lines} lines in {duration_s} s:\n{node.log.text()[:2000]}'
    assert cpu_seconds(node.pids()) - used < duration_s * 0.2
    # Pids are given out one after another, to everybody on the machine; the bound is for a fork loop.
    assert newest_pid() - last_pid < 50 * duration_s


def newest_pid():
    return int(open('/proc/loadavg', encoding='ascii').read().split()[-1])


def settings(**parts):
    return {'postgresql': parts}


def test_wrong_superuser_password_is_named(cluster_of):
    cluster = cluster_of(1)
    # A database that asks for passwords, whose superuser has another one.
    node = cluster.nodes[0]
    node.change_yml({'postgresql': {'pg_hba': ['local all all scram-sha-256', 'host all all all scram-sha-256',
                                               'host replication all all scram-sha-256']}})
    cluster.up()
    node.sql("""alter user postgres password 'something else';
        select pg_terminate_backend(pid) from pg_stat_activity where usename = 'postgres' and pid <> pg_backend_pid()""")
    wait_for('a message', lambda: node.log.lines('(?i)password authentication failed'), 60)
    calm(node)
    # It does not stop a running database for it.
    assert node.postmaster_pid()


def test_wrong_replication_password_is_named_and_the_replica_comes_when_it_is_right(cluster_of):
    cluster = cluster_of(2, more={'postgresql': {'pg_hba': [
        'local all all trust', 'host all postgres all trust', 'host all replicator all scram-sha-256',
        'host replication replicator all scram-sha-256']}})
    first, second = cluster.nodes
    second.change_yml({'postgresql': {'authentication': {'replication': {'password': 'wrong'}}}})
    cluster.store.start()
    first.start()
    cluster.wait_leader(90)
    second.start()
    second.log.wait('(?i)password authentication failed', 60)
    calm(second)
    assert cluster.leader() is first and first.writable()
    second.change_yml({'postgresql': {'authentication': {'replication': {'password': 'replication-secret'}}}})
    second.stop()
    second.start()
    assert cluster.wait_healthy() is first


def test_no_password_is_ever_logged_or_on_a_command_line(cluster_of):
    cluster = cluster_of(2)
    cluster.start()
    seen = []

    def check():
        seen.extend(p.command for node in cluster.nodes for p in node.processes())
        return not cluster.unhealthy()
    wait_for('healthy cluster', check, 90, every_s=0.01)
    cluster.switchover()
    cluster.wait_healthy()
    seen += [node.log.text() for node in cluster.nodes]
    for log in cluster.bench.folder.rglob('*.log'):
        seen.append(log.read_text(errors='replace'))
    for secret in ('superuser-secret', 'replication-secret'):
        assert not [text for text in seen if secret in text]


def test_taken_rest_port_is_named_and_nothing_is_started(cluster_of):
    cluster = cluster_of(1)
    node = cluster.nodes[0]
    cluster.store.start()
    blocker = cluster.bench.spawn(['python3', '-m', 'http.server', '--bind', node.address, node.rest_port],
                                  cluster.bench.folder, cluster.bench.folder / 'blocker.log')
    wait_for('the blocker', lambda: node.rest.get('/'), 10)
    node.start()
    node.log.wait(f'{node.rest_port}', 20)
    node.log.wait('(?i)in use', 20)
    holds_for('nothing written', lambda: not (node.data / 'PG_VERSION').exists(), 5, every_s=0.5)
    blocker.terminate()
    blocker.wait(10)
    if node.process.poll() is not None:
        assert node.process.returncode != 0
        node.start()
    cluster.wait_healthy()


def test_taken_postgres_port_is_named(cluster_of):
    cluster = cluster_of(1)
    node = cluster.nodes[0]
    cluster.up()
    node.stop()
    blocker = cluster.bench.spawn(['python3', '-m', 'http.server', '--bind', node.address, node.pg_port],
                                  cluster.bench.folder, cluster.bench.folder / 'blocker.log')
    wait_for('the blocker', lambda: proc.alive(blocker.pid) and blocker_answers(node), 10)
    node.log.mark()
    node.start()
    wait_for('a message', lambda: node.log.lines(f'(?i)(in use|could not bind).*|{node.pg_port}.*in use'), 60)
    calm(node)
    blocker.terminate()
    blocker.wait(10)
    assert cluster.wait_leader(90) is node


def blocker_answers(node):
    connection = http.client.HTTPConnection(node.address, node.pg_port, timeout=2)
    connection.request('GET', '/')
    return connection.getresponse().status


def test_unwritable_folder_is_named(cluster_of):
    cluster = cluster_of(1)
    node = cluster.nodes[0]
    closed = cluster.bench.folder / 'closed'
    closed.mkdir(mode=0o555)
    node.data = closed / 'data'
    node.write_yml()
    cluster.store.start()
    node.start()
    node.log.wait('(?i)permission denied', 30)
    if node.process.poll() is None:
        calm(node)
    assert not list(closed.iterdir())


def test_node_of_another_cluster_is_refused(cluster_of):
    cluster = cluster_of(2)
    leader = cluster.up()
    stranger = cluster.others(leader)[0]
    stranger.stop()
    shutil.rmtree(stranger.data)
    made = cluster.bench.run([postgres_bin() / 'initdb', '-D', stranger.data, '-U', 'postgres'], stranger.folder)
    assert made.returncode == 0, made
    control = (stranger.data / 'global/pg_control').read_bytes()
    stranger.log.mark()
    stranger.start()
    stranger.log.wait('(?i)system (id|identifier)', 30)
    assert stranger.wait_exit(30) != 0
    assert (stranger.data / 'global/pg_control').read_bytes() == control
    assert cluster.leader() is leader and leader.writable()


def test_second_node_of_the_same_name_does_not_start(cluster_of):
    cluster = cluster_of(2)
    first, second = cluster.nodes
    second.change_yml({'name': first.name})
    cluster.store.start()
    first.start()
    cluster.wait_leader(90)
    second.start()
    assert second.wait_exit(30) != 0
    assert second.log.lines(f'already a node named {first.name} running, at .*{first.rest_port}')
    assert not second.postmaster_pid()
    assert first.writable() and [m['Member'] for m in first.list()] == [first.name]
    assert first.rest.status('/primary') == 200

    # The address was the first one's by mistake; its successor after a crash is not its twin.
    first.crash()
    first.start()
    assert cluster.wait_leader(90) is first


def test_node_whose_name_differs_in_case_only_does_not_start(cluster_of):
    cluster = cluster_of(2)
    first, second = cluster.nodes
    second.change_yml({'name': first.name.upper()})
    cluster.store.start()
    first.start()
    cluster.wait_leader(90)
    second.start()
    assert second.wait_exit(30) != 0
    assert second.log.lines(f'has a member {first.name}, whose name differs from {first.name.upper()} in case only')
    assert not second.postmaster_pid()
    assert first.writable() and [m['Member'] for m in first.list()] == [first.name]


@pytest.mark.parametrize('text, expected', [
    ('scope: [unclosed\n', r'node\.yml:\d+'),
    ('scope: x\nname: n\npostgresql:\n\tlisten: 127.0.0.1:1\n', r'node\.yml:4'),
    ('', r'node\.yml'),
    ('scope: myapp-cluster\nname: n\n', '(?i)postgresql'),
])
def test_corrupted_yaml_names_file_and_line_and_starts_nothing(cluster_of, text, expected):
    cluster = cluster_of(1)
    node = cluster.nodes[0]
    cluster.bench.write(node.yml, text)
    node.start()
    assert node.wait_exit(15) != 0
    assert node.log.lines(expected), node.log.text()
    assert not node.data.exists()


@pytest.mark.parametrize('change, expected', [
    ({'bootstrap': {'dcs': {'ttl': 'soon'}}}, r'ttl.*soon|ttl.*number|ttl.*integer'),
    ({'postgresql': {'listen': '127.0.0.1:99999'}}, r'postgresql\.listen'),
    ({'postgresql': {'data_dir': None}}, r'postgresql\.data_dir'),
    ({'etcd3': None}, r'(?i)etcd3'),
    ({'bootstrap': {'dcs': {'standby_cluster': {'host': '127.0.0.1'}}}}, r'standby_cluster'),
    ({'watchdog': {'mode': 'required'}}, r'watchdog'),
])
def test_wrong_value_is_named_and_starts_nothing(cluster_of, change, expected):
    cluster = cluster_of(1)
    node = cluster.nodes[0]
    node.change_yml(change)
    node.start()
    assert node.wait_exit(15) != 0
    assert node.log.lines(expected), node.log.text()
    assert not node.data.exists()


def test_unknown_key_is_a_warning_with_the_nearest_name(cluster_of):
    cluster = cluster_of(1)
    cluster.nodes[0].change_yml({'postgresql': {'listne': 'x'}})
    cluster.up()
    assert cluster.nodes[0].log.lines(r'node\.yml:\d+.*postgresql\.listne.*listen')


def test_yaml_that_is_corrupted_while_it_runs_changes_nothing(cluster_of):
    cluster = cluster_of(1)
    node = cluster.nodes[0]
    cluster.up()
    good = node.yml.read_text()
    cluster.bench.write(node.yml, 'scope: [unclosed\n')
    node.log.mark()
    node.process.send_signal(signal.SIGHUP)
    node.log.wait(r'node\.yml:\d+', 20)
    assert node.writable()
    cluster.bench.write(node.yml, good)
    node.process.send_signal(signal.SIGHUP)
    assert cluster.wait_healthy() is node


def test_missing_postgres_is_named(cluster_of):
    cluster = cluster_of(1)
    node = cluster.nodes[0]
    empty = cluster.bench.make_folder('empty')
    node.change_yml({'postgresql': {'bin_dir': str(empty)}})
    cluster.store.start()
    node.start()
    node.log.wait(str(empty), 30)
    if node.process.poll() is None:
        calm(node)
    assert not (node.data / 'PG_VERSION').exists()


def test_host_reboot_everything_comes_back(cluster_of):
    cluster = cluster_of(3)
    leader = cluster.up()
    leader.sql('create table before as select 1 as n')
    cluster.wait_replayed()
    store = [m.process.pid for m in cluster.store.members]
    proc.kill_at_once([pid for node in cluster.nodes for pid in node.pids()] + store)
    for process in [n.process for n in cluster.nodes] + [m.process for m in cluster.store.members]:
        process.wait(5)
    cluster.start()
    leader = cluster.wait_healthy(120)
    assert leader.value('select n from before') == 1


def test_node_starts_before_its_store(cluster_of):
    cluster = cluster_of(1)
    node = cluster.nodes[0]
    node.start()
    node.log.wait('(?i)(store|etcd)', 30)
    calm(node)
    cluster.store.start()
    assert cluster.wait_leader(90) is node


@pytest.mark.root
def test_full_disk_under_the_wal_of_the_leader(cluster_of, bench):
    """PostgreSQL panics and cannot come back within its time: another node takes over, nothing is destroyed."""
    with Disk(bench, 'small', 300) as disk:
        cluster = cluster_of(2, more=merged(REWIND, {'bootstrap': {
            'initdb': ['data-checksums', {'waldir': str(disk.folder / 'wal')}], 'dcs': {'primary_start_timeout': 20}}}))
        first, second = cluster.nodes
        cluster.store.start()
        first.start()
        cluster.wait_leader(90)
        second.start()
        assert cluster.wait_healthy() is first
        first.sql('create table filled (filler text)')
        disk.fill()
        try:
            for _ in range(200):
                first.sql("insert into filled select repeat('x', 1000) from generate_series(1, 1000)", deadline_s=30)
        except Exception as error:  # noqa: BLE001 whatever the client sees when the server panics
            print(f'the client saw: {error}')
        first.log.mark()
        new = cluster.wait_leader(20 + 60, among=[second])
        assert new is second
        calm(first, 30)  # the first attempts to come back follow each other closely
        assert (first.data / 'PG_VERSION').exists()
        disk.clear()
        assert cluster.wait_healthy(180) is second
        for node in cluster.nodes:
            node.crash()


def sick(node):
    """Reasons that the node's metrics tell."""
    return {reason for reason in ('probe', 'disk', 'halted', 'connect')
            if node.rest.metric('pgkeep_sick', reason=reason)}


@pytest.mark.root
def test_disk_that_hangs_under_the_wal_is_told_and_holds_up_nothing(cluster_of, bench):
    """The agent goes on while every write waits, an agent that is killed has a successor, and all is well after the thaw."""
    with Disk(bench, 'stuck', 300) as disk:
        cluster = cluster_of(1, more={'bootstrap': {'initdb': ['data-checksums', {'waldir': str(disk.folder / 'wal')}]}})
        node = cluster.nodes[0]
        cluster.up()
        wait_for('a write', lambda: (disk.folder / 'wal/pgsql_tmp_pgkeep_disk').exists(), 10)
        assert not sick(node)
        with disk.frozen():
            wait_for('the metric', lambda: 'disk' in sick(node), 10)
            wait_for('the write that grows', lambda: node.rest.metric('pgkeep_disk_probe_seconds') > 3, 10)
            holds_for('the lease', lambda: node.rest.metric('pgkeep_lease_seconds') > 15 and
                      node.rest.metric('pgkeep_cycle_age_seconds') < 12, 15, every_s=0.5)
            node.log.mark()
            proc.send([node.agent_pid()], signal.SIGKILL)
            node.log.wait('agent started', 5)
            wait_for('the successor', lambda: node.rest.get('/patroni'), 10)
        wait_for('health', lambda: not sick(node), 20)
        assert cluster.wait_healthy() is node


def test_postmaster_that_is_stopped_is_told(cluster_of):
    cluster = cluster_of(1)
    node = cluster.nodes[0]
    cluster.up()
    os.kill(node.postmaster_pid(), signal.SIGSTOP)
    try:
        wait_for('the metric', lambda: 'halted' in sick(node), 10)
        assert node.log.lines('is stopped by a signal')
    finally:
        os.kill(node.postmaster_pid(), signal.SIGCONT)
    wait_for('health', lambda: not sick(node), 10)
