"""A former primary comes back by itself: by a start, by pg_rewind, or by a clone; never by destroying data."""
import pytest

from lab.cluster import PREFIX
from lab.node import REWIND, merged
from lab.wait import holds_for, wait_for

FAILOVER_S = 45


def crash_diverged(cluster, old, rows=100):
    """
    The leader acknowledges rows that no standby receives, and is lost. The new leader; both histories have
    grown apart by rows in the table `apart`.
    """
    old.sql('create table apart (of text)')
    old.sql('checkpoint')
    cluster.wait_replayed()
    cluster.stop_sending(old, cluster.others(old))
    old.sql("insert into apart select 'the old leader' from generate_series(1, %s)", rows)
    old.crash()
    new = cluster.wait_leader(FAILOVER_S, other_than=old)
    new.sql("insert into apart select 'the new leader' from generate_series(1, 10)")
    return new


def aside(node):
    """Copies of the data directory that were moved out of the way."""
    return [p for p in node.folder.iterdir() if p.name.startswith('data') and p != node.data and (p / 'PG_VERSION').exists()]


def test_old_primary_that_was_stopped_in_good_order_just_follows(cluster_of):
    cluster = cluster_of(3)
    old = cluster.up()
    assert old.stop() == 0
    new = cluster.wait_leader(15, other_than=old)
    old.log.mark()
    old.start()
    assert cluster.wait_healthy() is new
    assert not old.log.lines(r'rewind\S* .*event=job\.begin')


@pytest.mark.smoke
def test_diverged_primary_is_rewound(cluster_of):
    cluster = cluster_of(2, more=REWIND)
    old = cluster.up()
    system = cluster.system_identifiers()
    new = crash_diverged(cluster, old)
    old.start()
    assert cluster.wait_healthy() is new
    cluster.wait_replayed()
    assert old.sql('select of, count(*) from apart group by of') == [('the new leader', 10)]
    assert cluster.system_identifiers() == system
    assert old.log.lines(r'rewind\S* .*event=job\.begin')


def test_diverged_primary_is_cloned_where_rewind_is_off_and_a_clone_is_allowed(cluster_of):
    cluster = cluster_of(2, more={
        'bootstrap': {'dcs': {'postgresql': {'use_pg_rewind': False}}},
        'postgresql': {'remove_data_directory_on_diverged_timelines': True}})
    old = cluster.up()
    new = crash_diverged(cluster, old)
    old.start()
    assert cluster.wait_healthy() is new
    cluster.wait_replayed()
    assert old.sql('select of, count(*) from apart group by of') == [('the new leader', 10)]


def test_diverged_primary_is_kept_where_neither_rewind_nor_clone_is_allowed(cluster_of):
    """Nothing is destroyed, nothing loops: it says what is wrong and waits for somebody."""
    cluster = cluster_of(2, more={'bootstrap': {'dcs': {'postgresql': {'use_pg_rewind': False}}}})
    old = cluster.up()
    new = crash_diverged(cluster, old)
    old.log.mark()
    old.start()
    old.log.wait('(?i)diverged|rewind impossible', 60)
    before = (old.data / 'PG_VERSION').stat().st_ino
    holds_for('one leader, the old one not writable', lambda: new.writable() and not old.writable(), 30, every_s=1)
    assert (old.data / 'PG_VERSION').stat().st_ino == before
    assert len(old.log.text().splitlines()) < 60
    # And the way out: an operator asks for a new copy.
    done = new.ctl('reinit', 'myapp-cluster', old.name, '--force')
    assert done.returncode == 0, done
    assert cluster.wait_healthy() is new


def test_failed_rewind_ends_in_a_clone_where_that_is_allowed(cluster_of, bench):
    # Half-way, as pg_rewind tells it: what fails before the first byte is changed is tried again instead.
    failing = bench.write(bench.folder / 'pg_rewind', '''#!/bin/sh
echo "pg_rewind: need to copy 3 MB (total source directory size is 30 MB)" >&2
echo "pg_rewind: error: no luck today" >&2
exit 1
''', 0o755)
    cluster = cluster_of(2, more=merged(REWIND, {'postgresql': {
        'remove_data_directory_on_rewind_failure': True, 'bin_name': {'pg_rewind': str(failing)}}}))
    old = cluster.up()
    new = crash_diverged(cluster, old)
    old.start()
    assert cluster.wait_healthy() is new
    cluster.wait_replayed()
    assert old.sql('select of, count(*) from apart group by of') == [('the new leader', 10)]
    assert old.log.lines('no luck today')


def test_a_data_directory_that_is_replaced_is_moved_aside(cluster_of):
    cluster = cluster_of(2)
    leader = cluster.up()
    replica = cluster.others(leader)[0]
    done = leader.ctl('reinit', 'myapp-cluster', replica.name, '--force')
    assert done.returncode == 0, done
    wait_for('the old directory beside the new one', lambda: aside(replica), 30)
    assert cluster.wait_healthy() is leader


def test_crash_in_the_middle_of_a_rewind_is_survived(cluster_of):
    cluster = cluster_of(2, more=REWIND)
    old = cluster.up()
    new = crash_diverged(cluster, old, rows=20000)
    old.start()
    wait_for('a running pg_rewind', lambda: any(p.program == 'pg_rewind' for p in old.processes()), 60, every_s=0.002)
    old.crash()
    old.start()
    assert cluster.wait_healthy() is new
    cluster.wait_replayed()
    assert old.sql('select of, count(*) from apart group by of') == [('the new leader', 10)]


def test_crash_in_the_middle_of_a_clone_is_survived(cluster_of):
    cluster = cluster_of(2)
    leader = cluster.up()
    leader.sql("create table big as select repeat('x', 1000) from generate_series(1, 100000)", deadline_s=60)
    replica = cluster.others(leader)[0]
    done = leader.ctl('reinit', 'myapp-cluster', replica.name, '--force')
    assert done.returncode == 0, done
    wait_for('a running pg_basebackup', lambda: any(p.program == 'pg_basebackup' for p in replica.processes()), 30, every_s=0.005)
    replica.crash()
    replica.start()
    assert cluster.wait_healthy() is leader
    cluster.wait_replayed()
    assert replica.value('select count(*) from big') == 100000


def test_old_primary_alone_does_not_lead_on_an_older_timeline(cluster_of):
    """Everybody else is down, and has acknowledged more than it may lose (maximum_lag_on_failover)."""
    cluster = cluster_of(2, more=REWIND)
    old = cluster.up()
    old.crash()
    new = cluster.wait_leader(FAILOVER_S, other_than=old)
    new.sql("create table later as select repeat('x', 1000) from generate_series(1, 5000)", deadline_s=30)
    cluster.wait_position_published(new)
    new.crash()
    old.start()
    wait_for('the lease to end', lambda: cluster.store.get(PREFIX + 'leader') is None, FAILOVER_S)
    holds_for('the old primary not writable', lambda: not old.writable(), 20, every_s=1)
    new.start()
    cluster.wait_healthy()
    assert cluster.leader().value('select count(*) from later') == 5000
