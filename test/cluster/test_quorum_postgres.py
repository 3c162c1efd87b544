"""Quorum mode beside what PostgreSQL itself brings along: prepared transactions, archiving, slots, its processes, its files."""
import signal

import pytest

from lab import proc
from lab.disk import Disk
from lab.quorum import Load, quorum, record, up, wait_cohort
from lab.wait import holds_for, wait_for

BACK_S = 10


def test_a_walreceiver_that_is_killed_again_and_again_costs_no_more_than_lag(cluster_of):
    """The cohort does not follow each of its ends, the leader stays, and commits go on by the other standby."""
    cluster = cluster_of(3, more=quorum())
    leader = up(cluster)
    hit = cluster.others(leader)[0]
    before = record(cluster)
    ended = set()

    def kill_it():
        pid = hit.value("select coalesce(max(pid), 0) from pg_stat_wal_receiver")
        if pid and pid not in ended:
            proc.send([pid], signal.SIGTERM)  # of SIGKILL the whole server would end
            ended.add(pid)
        return True
    with Load.on(cluster) as load:
        load.warm_up(leader)
        load.fault()
        holds_for('a standby without its receiver', kill_it, 10, every_s=0.2)
        assert len(ended) > 5
        assert cluster.wait_healthy() is leader
        assert load.gap_s(load.moment) < 2
        after = record(cluster)
    assert (after['term'], after['leader']) == (before['term'], leader.name)
    changes = leader.log.lines(r'names\.loaded')
    assert len(changes) < 10, changes
    load.check(leader)


def test_prepared_transactions_stay_over_a_failover(cluster_of):
    cluster = cluster_of(3, more=quorum(postgresql={'parameters': {'max_prepared_transactions': 10}}))
    old = up(cluster)
    old.sql('create table kept (i int)')
    old.sql("begin; insert into kept values (1); prepare transaction 'before'")
    with Load.on(cluster) as load:
        load.warm_up(old)
        load.fault()
        old.crash()
        load.wait_rows(cluster.others(old), BACK_S)
        new = cluster.wait_leader(10, other_than=old)
        assert new.sql('select gid from pg_prepared_xacts') == [('before',)]
        assert new.value('select count(*) from kept') == 0
        new.sql("commit prepared 'before'")
        assert new.value('select count(*) from kept') == 1
        old.start()
        assert cluster.wait_healthy() is new
    load.check(new)
    assert all(n.value('select count(*) from kept') == 1 for n in cluster.nodes)


def test_an_archive_command_that_hangs_holds_up_no_failover(cluster_of):
    hangs = {'parameters': {'archive_mode': 'always', 'archive_command': 'sleep 1000', 'archive_timeout': 1}}
    cluster = cluster_of(3, more=quorum(postgresql=hangs))
    old = up(cluster)
    wait_for('an archiver that hangs', lambda: [p for p in old.processes() if p.command.startswith('sleep 1000')], 20)
    with Load.on(cluster) as load:
        load.warm_up(old)
        load.fault()
        proc.send([old.postmaster_pid()], signal.SIGKILL)
        load.wait_rows(cluster.others(old), BACK_S)
        new = cluster.wait_healthy()
        assert new is not old
        load.tell('the postmaster of a server whose archiver hangs')
        load.fault()
        again = cluster.switchover()
        load.tell('switchover from a server whose archiver hangs')
        assert again is not new
        assert cluster.wait_healthy() is again
    load.check(again)


def test_what_a_dead_standby_holds_back_is_told(cluster_of):
    """Its slot keeps WAL, and by hot_standby_feedback the rows that its queries might have seen."""
    cluster = cluster_of(2, more=quorum(postgresql={'parameters': {'hot_standby_feedback': True, 'wal_receiver_status_interval': 1}}))
    leader = up(cluster)
    dead = cluster.others(leader)[0]
    slot = dead.name.replace('-', '_')
    wait_for('its xmin in the slot', lambda: leader.value(
        'select xmin is not null from pg_replication_slots where slot_name = %s', slot), 20)
    assert leader.rest.metric('pgkeep_slot_active', slot=slot) == 1
    dead.crash()
    leader.sql('create table busy (i int)')
    for _ in range(50):
        leader.sql('insert into busy values (1)')
    wait_for('a slot that is not used', lambda: leader.rest.metric('pgkeep_slot_active', slot=slot) == 0, 20)
    wait_for('what it holds back', lambda: leader.rest.metric('pgkeep_slot_held_transactions', slot=slot) >= 50, 20)
    assert leader.rest.metric('pgkeep_slot_retained_bytes', slot=slot) > 0
    dead.start()
    assert cluster.wait_healthy() is leader
    wait_for('nothing is held back', lambda: leader.rest.metric('pgkeep_slot_held_transactions', slot=slot) < 50, 20)


@pytest.mark.root
def test_a_data_directory_that_becomes_read_only_is_led_elsewhere(cluster_of, bench):
    """As an ext4 does after an error: the leader's WAL cannot be written any more. It comes back when it can."""
    with Disk(bench, 'wal', 400) as disk:
        def on_disk(name):
            return {'bootstrap': {'initdb': ['data-checksums', {'waldir': str(disk.folder / 'wal')}]}} if name == 'db-01' else {}
        cluster = cluster_of(3, more=quorum(), more_of=on_disk)
        cluster.store.start()
        cluster['db-01'].start()
        wait_for('the first', cluster['db-01'].writable, 60)
        for node in cluster.nodes[1:]:
            node.start()
        old = cluster.wait_healthy()
        wait_cohort(cluster, cluster.others(old))
        assert old.name == 'db-01'
        with Load.on(cluster) as load:
            load.warm_up(old)
            load.fault()
            disk.read_only()
            load.wait_rows(cluster.others(old), 30)
            load.tell('read-only')
            new = cluster.wait_leader(10, other_than=old)
            disk.read_only(False)
            assert cluster.wait_healthy() is new
        load.check(new)


@pytest.mark.root
def test_a_resolver_that_hangs_holds_up_no_failover(network, cluster_of):
    """The nodes know each other by names, which nobody can look up any more when the leader dies."""
    names = {f'db-{i:02}': f'db-{i:02}.lab' for i in (1, 2, 3)}
    cluster = cluster_of(3, network=network, more=quorum())
    for node in cluster.nodes:
        node.change_yml({kind: {'connect_address': f'{names[node.name]}:{port}'}
                         for kind, port in (('restapi', node.rest_port), ('postgresql', node.pg_port))})
    network.name(names, network.silent)
    old = up(cluster)
    with Load.on(cluster) as load:
        load.warm_up(old)
        network.name({}, network.silent)
        load.fault()
        old.crash()
        load.wait_rows(cluster.others(old), BACK_S)
        load.tell('no name can be looked up')
        new = cluster.wait_leader(10, other_than=old)
        network.name(names, network.silent)
        old.start()
        assert cluster.wait_healthy() is new
    load.check(new)
