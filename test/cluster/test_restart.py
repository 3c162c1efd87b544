"""Ends and beginnings that are meant: stop, start, restart, adoption, upgrade."""
import signal
import time
from datetime import datetime, timedelta, timezone

from lab import proc
from lab.node import postgres_bin
from lab.wait import holds_for, wait_for
from lab.writer import Writers


def test_clean_stop_of_the_leader_hands_over_at_once(cluster_of):
    cluster = cluster_of(3)
    old = cluster.up()
    with Writers.on_primary(cluster) as writers:
        wait_for('acknowledged rows', lambda: len(writers.acks(old)) > 50, 10)
        asked = time.monotonic()
        assert old.stop() == 0
        new = cluster.wait_leader(15, other_than=old)
        wait_for('rows on the new leader', lambda: writers.acks(new), 10)
        assert time.monotonic() - asked < 15, 'the lease was not handed over'
    assert not old.pids()
    writers.check_one_primary()
    assert not writers.missing(new)


def test_clean_stop_of_a_replica_disturbs_nobody(cluster_of):
    cluster = cluster_of(3)
    leader = cluster.up()
    replica = cluster.others(leader)[0]
    assert replica.stop() == 0
    assert not replica.pids()
    assert cluster.leader() is leader and leader.writable()
    replica.start()
    assert cluster.wait_healthy() is leader


def test_whole_cluster_stopped_and_started(cluster_of):
    cluster = cluster_of(3)
    leader = cluster.up()
    leader.sql('create table before as select 1 as n')
    cluster.wait_replayed()
    cluster.stop()
    assert not [pid for node in cluster.nodes for pid in node.pids()]
    for node in cluster.nodes:
        node.start()
    assert cluster.wait_healthy().value('select n from before') == 1


def test_restart_of_postgres_by_the_command_line(cluster_of):
    cluster = cluster_of(2)
    leader = cluster.up()
    before = {node.name: node.postmaster_pid() for node in cluster.nodes}
    done = leader.ctl('restart', 'myapp-cluster', '--force')
    assert done.returncode == 0, done
    cluster.wait_healthy()
    assert cluster.leader() is leader
    for node in cluster.nodes:
        assert node.postmaster_pid() not in (0, before[node.name])


def test_restart_of_the_pending_only(cluster_of):
    cluster = cluster_of(2)
    leader = cluster.up()
    before = leader.postmaster_pid()
    done = leader.ctl('restart', 'myapp-cluster', leader.name, '--pending', '--force')
    assert leader.postmaster_pid() == before, done
    cluster.configure({'postgresql': {'parameters': {'max_connections': 120}}})
    wait_for('pending restart', lambda: cluster.member(leader.name).get('pending_restart'), 40)
    done = leader.ctl('restart', 'myapp-cluster', leader.name, '--pending', '--force')
    assert done.returncode == 0, done
    assert leader.postmaster_pid() not in (0, before)
    assert leader.value('show max_connections') == '120'


def start_by_hand(cluster, node):
    started = cluster.bench.run([postgres_bin() / 'pg_ctl', '-D', node.data, '-w', '-l', node.folder / 'by-hand.log', 'start'],
                                node.folder)
    assert started.returncode == 0, started


def test_postgres_that_already_runs_is_adopted(cluster_of):
    """The agent was ended by force, PostgreSQL was started by hand meanwhile."""
    cluster = cluster_of(2)
    leader = cluster.up()
    replica = cluster.others(leader)[0]
    assert replica.stop() == 0
    start_by_hand(cluster, replica)
    postmaster = replica.postmaster_pid()
    replica.start()
    assert cluster.wait_healthy() is leader
    assert replica.postmaster_pid() == postmaster
    # An adopted postmaster is no child of the guard: the agent sees to it when the guard dies.
    proc.send([replica.guard_pid()], signal.SIGKILL)
    replica.wait_postgres_gone(15)


def test_a_server_that_answers_disproves_the_mark_of_a_broken_off_clone(cluster_of):
    """An operator cloned by hand what pgkeep did not finish: the next clone would take it for a half."""
    cluster = cluster_of(2)
    leader = cluster.up()
    replica = cluster.others(leader)[0]
    assert replica.stop() == 0
    mark = replica.data.with_suffix('.pgkeep') / 'clone.in-progress'
    mark.touch()
    start_by_hand(cluster, replica)
    replica.start()
    wait_for('the end of the mark', lambda: not mark.exists(), 30)
    assert cluster.wait_healthy() is leader


def test_upgrade_in_place_keeps_postgres_running(cluster_of):
    """The programs on disk are replaced; guard and agent become new ones, PostgreSQL runs on (SIGUSR2 to the agent)."""
    cluster = cluster_of(2)
    leader = cluster.up()
    guard, agent, postmaster = leader.guard_pid(), leader.agent_pid(), leader.postmaster_pid()
    with Writers.on_primary(cluster) as writers:
        wait_for('acknowledged rows', lambda: len(writers.acks()) > 50, 10)
        began = time.monotonic()
        proc.send([agent], signal.SIGUSR2)
        wait_for('another agent', lambda: leader.agent_pid() not in (0, agent), 10)
        wait_for('REST again', lambda: leader.rest.status('/primary') == 200, 15)
        assert leader.guard_pid() == guard
        assert leader.postmaster_pid() == postmaster
        holds_for('the leader', lambda: cluster.leader() is leader, 35, every_s=1)
        assert writers.gap_s(began) < 1
    assert not writers.missing(leader)


def schedule_restart(node):
    """In three seconds. (When, the postmaster of before.)"""
    before = node.postmaster_pid()
    at = datetime.now(timezone.utc) + timedelta(seconds=3)
    assert node.rest.call('POST', '/restart', {'schedule': at.isoformat()}).status == 202
    return at, before


def test_scheduled_restart_happens_at_its_time(cluster_of):
    cluster = cluster_of(1)
    node = cluster.up()
    at, before = schedule_restart(node)
    wait_for('another postmaster', lambda: node.postmaster_pid() not in (0, before), 20)
    assert datetime.now(timezone.utc) >= at
    assert cluster.wait_healthy() is node
    assert 'scheduled_restart' not in node.status()


def test_nothing_scheduled_happens_in_pause(cluster_of):
    cluster = cluster_of(1)
    node = cluster.up()
    _, before = schedule_restart(node)
    assert node.ctl('pause', '--wait').returncode == 0
    holds_for('the postmaster', lambda: node.postmaster_pid() == before, 6)
    assert node.ctl('resume', '--wait').returncode == 0


def test_rotated_passwords_need_a_reload_only(cluster_of):
    cluster = cluster_of(2, more={'postgresql': {'pg_hba': [
        'local all all scram-sha-256', 'host all all all scram-sha-256', 'host replication replicator all scram-sha-256']}})
    leader = cluster.up()
    replica = cluster.others(leader)[0]
    before = [node.postmaster_pid() for node in cluster.nodes]
    leader.sql("alter role replicator password 'new-replication'")
    for node in cluster.nodes:
        node.change_yml({'postgresql': {'authentication': {'replication': {'password': 'new-replication'}}}})
        node.log.mark()
        node.process.send_signal(signal.SIGHUP)
        node.log.wait(r'event=config\.reloaded', 10)
    receiver = replica.value('select pid from pg_stat_wal_receiver')
    proc.send([receiver], signal.SIGTERM)
    wait_for('another walreceiver', lambda: replica.sql(
        "select 1 from pg_stat_wal_receiver where status = 'streaming' and pid <> %s", receiver), 30)
    assert cluster.wait_healthy() is leader
    assert [node.postmaster_pid() for node in cluster.nodes] == before
