"""
Fault, then what is expected; a writer on each node proves that no two accept writes at one moment.

The article's timings hold (ttl 30) unless a test says otherwise.
"""
import signal
import time

import pytest

from lab import proc
from lab.cluster import PREFIX
from lab.node import REWIND, merged
from lab.wait import holds_for, wait_for
from lab.writer import Writers

TTL_S = 30
# From a lost host to a new primary: the lease has to run out, then an election and a promotion.
LEASE_AND_ELECTION_S = TTL_S + 15


def start_timeout(seconds):
    return merged(REWIND, {'bootstrap': {'dcs': {'primary_start_timeout': seconds}}})


@pytest.mark.smoke
def test_lost_host_gives_a_new_leader_and_the_old_one_comes_back(cluster_of):
    cluster = cluster_of(3, more=REWIND)
    old = cluster.up()
    with Writers.on_each(cluster) as writers:
        wait_for('acknowledged rows', lambda: len(writers.acks(old)) > 20, 10)
        cluster.wait_replayed()
        old.crash()
        new = cluster.wait_leader(LEASE_AND_ELECTION_S, other_than=old)
        wait_for('rows on the new leader', lambda: writers.acks(new), 10)

        old.start()
        assert cluster.wait_healthy() is new
    writers.check_one_primary()
    cluster.wait_replayed()
    assert len(cluster.system_identifiers()) == 1


@pytest.mark.smoke
def test_dead_postmaster_is_restarted_in_place(cluster_of):
    cluster = cluster_of(3)
    leader = cluster.up()
    with Writers.on_each(cluster) as writers:
        wait_for('acknowledged rows', lambda: len(writers.acks(leader)) > 20, 10)
        postmaster, died = leader.postmaster_pid(), time.monotonic()
        proc.send([postmaster], signal.SIGKILL)
        wait_for('another postmaster', lambda: leader.postmaster_pid() not in (0, postmaster), 30)
        wait_for('rows after the crash', lambda: writers.acked_since(died + 1, leader), 30)
    assert cluster.wait_healthy() is leader
    writers.check_one_primary()
    assert not writers.missing(leader)


def test_dead_postmaster_fails_over_at_once_without_start_timeout(cluster_of):
    cluster = cluster_of(3, more=start_timeout(0))
    old = cluster.up()
    with Writers.on_each(cluster) as writers:
        wait_for('acknowledged rows', lambda: len(writers.acks(old)) > 20, 10)
        proc.send([old.postmaster_pid()], signal.SIGKILL)
        # Well below the lease: the node that lost its postmaster hands the lease over.
        new = cluster.wait_leader(15, other_than=old)
        wait_for('rows on the new leader', lambda: writers.acks(new), 10)
        assert cluster.wait_healthy() is new
    writers.check_one_primary()


def test_dead_postmaster_of_the_last_node_is_restarted_without_start_timeout(cluster_of):
    cluster = cluster_of(1, more=start_timeout(0))
    leader = cluster.up()
    postmaster = leader.postmaster_pid()
    proc.send([postmaster], signal.SIGKILL)
    wait_for('another postmaster', lambda: leader.postmaster_pid() not in (0, postmaster), 30)
    assert cluster.wait_leader(60) is leader


def test_killed_agent_is_replaced_without_a_failover(cluster_of):
    cluster = cluster_of(3)
    leader = cluster.up()
    postmaster, agent = leader.postmaster_pid(), leader.agent_pid()
    with Writers.on_each(cluster) as writers:
        wait_for('acknowledged rows', lambda: len(writers.acks(leader)) > 20, 10)
        killed = time.monotonic()
        proc.send([agent], signal.SIGKILL)
        wait_for('another agent', lambda: leader.agent_pid() not in (0, agent), 2)
        wait_for('REST again', lambda: leader.rest.status('/primary') == 200, 10)
        holds_for('the same leader', lambda: cluster.leader() is leader, TTL_S + 5, every_s=1)
        assert leader.postmaster_pid() == postmaster
        assert writers.gap_s(killed) < 1
    writers.check_one_primary()
    assert cluster.wait_healthy() is leader


def test_trigger_file_of_a_killed_agent_does_not_wait_for_a_signal(cluster_of):
    """The agent died between the file and its SIGUSR1, and lost the store: the next signal of any kind would promote."""
    cluster = cluster_of(2)
    leader = cluster.up()
    replica = cluster.others(leader)[0]
    postmaster, agent, trigger = replica.postmaster_pid(), replica.agent_pid(), replica.data / 'promote'
    cluster.store.freeze()
    trigger.touch()
    proc.send([agent], signal.SIGKILL)
    wait_for('the file to go', lambda: not trigger.exists(), 10)
    cluster.store.thaw()
    assert cluster.wait_healthy() is leader
    assert replica.postmaster_pid() == postmaster


def test_stopped_agent_is_replaced_without_a_failover(cluster_of):
    cluster = cluster_of(3)
    leader = cluster.up()
    postmaster, agent = leader.postmaster_pid(), leader.agent_pid()
    with Writers.on_each(cluster) as writers:
        wait_for('acknowledged rows', lambda: len(writers.acks(leader)) > 20, 10)
        stopped = time.monotonic()
        proc.send([agent], signal.SIGSTOP)
        wait_for('another agent', lambda: leader.agent_pid() not in (0, agent), TTL_S / 2)
        assert not proc.alive(agent)
        wait_for('REST again', lambda: leader.rest.status('/primary') == 200, 10)
        holds_for('the same leader', lambda: cluster.leader() is leader, TTL_S + 5, every_s=1)
        assert leader.postmaster_pid() == postmaster
        assert writers.gap_s(stopped) < 1
    writers.check_one_primary()


def test_agent_killed_again_and_again_keeps_its_postgres(cluster_of):
    cluster = cluster_of(3)
    leader = cluster.up()
    postmaster = leader.postmaster_pid()
    for _ in range(5):
        agent = wait_for('an agent', leader.agent_pid, 5)
        proc.send([agent], signal.SIGKILL)
        wait_for('another agent', lambda old=agent: leader.agent_pid() not in (0, old), 10)
    wait_for('REST again', lambda: leader.rest.status('/primary') == 200, 15)
    assert leader.postmaster_pid() == postmaster
    assert cluster.wait_healthy() is leader


def test_dead_guard_takes_postgres_with_it(cluster_of):
    cluster = cluster_of(3, more=REWIND)
    old = cluster.up()
    with Writers.on_each(cluster) as writers:
        wait_for('acknowledged rows', lambda: len(writers.acks(old)) > 20, 10)
        proc.send([old.guard_pid()], signal.SIGKILL)
        old.wait_postgres_gone(10)
        new = cluster.wait_leader(LEASE_AND_ELECTION_S, other_than=old)
        wait_for('the agent to end with its guard', lambda: not old.pids(), 10)
        old.process.wait(5)
        old.start()
        assert cluster.wait_healthy() is new
    writers.check_one_primary()


def test_stopped_guard_takes_postgres_with_it(cluster_of):
    """Nobody would fence it: the agent ends it and lets others lead."""
    cluster = cluster_of(3, more=REWIND)
    old = cluster.up()
    with Writers.on_each(cluster) as writers:
        wait_for('acknowledged rows', lambda: len(writers.acks(old)) > 20, 10)
        guard = old.guard_pid()
        proc.send([guard], signal.SIGSTOP)
        try:
            wait_for('the end of PostgreSQL', lambda: not old.postmaster_pid(), 15)
            new = cluster.wait_leader(LEASE_AND_ELECTION_S, other_than=old)
        finally:
            proc.send([guard], signal.SIGCONT)
        wait_for('old node to be back or gone', lambda: old.process.poll() is not None or not cluster.unhealthy(), 60)
        if old.process.poll() is not None:
            old.start()
        assert cluster.wait_healthy() is new
    writers.check_one_primary()


def test_guard_and_agent_killed_while_postgres_is_told_last(cluster_of):
    """Both at once: nobody is left to decide, the kernel's parent-death signal has to do it."""
    cluster = cluster_of(3, more=REWIND)
    old = cluster.up()
    with Writers.on_each(cluster) as writers:
        wait_for('acknowledged rows', lambda: len(writers.acks(old)) > 20, 10)
        proc.kill_at_once([old.guard_pid(), old.agent_pid()])
        old.wait_postgres_gone(10)
        cluster.wait_leader(LEASE_AND_ELECTION_S, other_than=old)
    writers.check_one_primary()


def test_frozen_node_is_replaced_and_acknowledges_nothing_when_it_thaws(cluster_of):
    cluster = cluster_of(3, more=REWIND)
    old = cluster.up()
    with Writers.on_each(cluster) as writers:
        wait_for('acknowledged rows', lambda: len(writers.acks(old)) > 20, 10)
        frozen = old.freeze()
        new = cluster.wait_leader(LEASE_AND_ELECTION_S, other_than=old)
        wait_for('rows on the new leader', lambda: len(writers.acks(new)) > 20, 10)
        thawed = time.monotonic()
        old.thaw(frozen)
        assert cluster.wait_healthy() is new
        assert not writers.acked_since(thawed, old)
    writers.check_one_primary()
    # What the new leader acknowledged is there, and nothing of the old one survived beyond it.
    assert not [a for a in writers.missing(new) if a.node == new.name]
    cluster.wait_replayed()
    assert old.value('select count(*) from ledger') == new.value('select count(*) from ledger')


def test_stopped_postmaster_is_noticed(cluster_of):
    """New connections hang; nothing has died. Patroni never notices."""
    cluster = cluster_of(3, more=REWIND)
    leader = cluster.up()
    with Writers.on_each(cluster) as writers:
        wait_for('acknowledged rows', lambda: len(writers.acks(leader)) > 20, 10)
        postmaster = leader.postmaster_pid()
        proc.send([postmaster], signal.SIGSTOP)

        def replaced():
            node = cluster.leader()
            return node.postmaster_pid() not in (0, postmaster) and node.writable()
        wait_for('a primary that takes new sessions', replaced, 3 * TTL_S)
        assert not proc.alive(postmaster)
    writers.check_one_primary()
    cluster.wait_healthy()


def test_lost_replica_changes_nothing_for_the_leader(cluster_of):
    cluster = cluster_of(3)
    leader = cluster.up()
    lost = cluster.others(leader)[0]
    with Writers.on_each(cluster) as writers:
        wait_for('acknowledged rows', lambda: len(writers.acks(leader)) > 20, 10)
        crashed = time.monotonic()
        lost.crash()
        wait_for('its member key to be gone', lambda: cluster.member(lost.name) is None
                 or cluster.member(lost.name)['state'] != 'running', LEASE_AND_ELECTION_S)
        assert cluster.leader() is leader
        assert writers.gap_s(crashed) < 1
        lost.start()
        assert cluster.wait_healthy() is leader
    writers.check_one_primary()
    assert not writers.missing(leader)


def test_dead_postmaster_of_a_replica_is_started_again(cluster_of):
    cluster = cluster_of(2)
    leader = cluster.up()
    replica = cluster.others(leader)[0]
    proc.send([replica.postmaster_pid()], signal.SIGKILL)
    assert cluster.wait_healthy(60) is leader


def test_replica_tagged_nofailover_is_not_elected(cluster_of):
    cluster = cluster_of(3, more=REWIND)
    old = cluster.up()
    barred, other = cluster.others(old)
    barred.change_yml({'tags': {'nofailover': True}})
    assert barred.rest.call('POST', '/reload').status == 202
    wait_for('the tag', lambda: cluster.member(barred.name).get('tags', {}).get('nofailover'), 40)
    old.crash()
    assert cluster.wait_leader(LEASE_AND_ELECTION_S, other_than=old) is other
    assert cluster.wait_healthy(nodes=[barred, other]) is other


def test_the_replica_that_has_more_is_elected(cluster_of):
    cluster = cluster_of(3, more=REWIND)
    old = cluster.up()
    behind, ahead = cluster.others(old)
    old.sql('create table big (filler text)')
    cluster.wait_replayed()
    cluster.stop_sending(old, [behind])
    # Within maximum_lag_on_failover (1 MiB), so that both may run.
    old.sql("insert into big select repeat('x', 100) from generate_series(1, 2000)")
    cluster.wait_replayed([ahead])
    old.crash()
    assert cluster.wait_leader(LEASE_AND_ELECTION_S, other_than=old) is ahead
    assert ahead.value('select count(*) from big') == 2000
    assert cluster.wait_healthy(nodes=[behind, ahead]) is ahead


def test_no_replica_is_elected_beyond_the_maximum_lag(cluster_of):
    cluster = cluster_of(2, more=REWIND)
    old = cluster.up()
    replica = cluster.others(old)[0]
    old.sql('create table big (filler text)')
    cluster.wait_replayed()
    cluster.stop_sending(old, [replica])
    old.sql("insert into big select repeat('x', 1000) from generate_series(1, 5000)", deadline_s=30)
    cluster.wait_position_published(old)
    old.crash()
    wait_for('the lease to end', lambda: cluster.store.get(PREFIX + 'leader') is None, LEASE_AND_ELECTION_S)
    holds_for('no leader', lambda: not replica.writable(), 20, every_s=1)
    old.start()
    cluster.wait_healthy()
    assert cluster.leader().value('select count(*) from big') == 5000


@pytest.mark.root
def test_leader_cut_from_the_network_is_down_before_the_next_one_writes(network, cluster_of):
    cluster = cluster_of(3, network=network, more=REWIND)
    old = cluster.up()
    others = cluster.others(old)
    with Writers.on_each(cluster) as writers:
        wait_for('acknowledged rows', lambda: len(writers.acks(old)) > 20, 10)
        network.cut(old.name)
        # The writer beside the old leader still reaches it: only the lease's end stops it.
        new = cluster.wait_leader(LEASE_AND_ELECTION_S, other_than=old, among=others)
        wait_for('rows on the new leader', lambda: len(writers.acks(new)) > 20, 10)
        network.heal(old.name)
        assert cluster.wait_healthy() is new
    writers.check_one_primary()


@pytest.mark.root
def test_replica_cut_from_the_network_comes_back(network, cluster_of):
    cluster = cluster_of(3, network=network)
    leader = cluster.up()
    cut = cluster.others(leader)[0]
    network.cut(cut.name)
    wait_for('its walsender to be gone', lambda: leader.value(
        'select count(*) from pg_stat_replication where application_name = %s', cut.name) == 0, 90)
    assert cluster.leader() is leader and leader.writable()
    leader.sql('create table meanwhile (n int)')
    network.heal(cut.name)
    assert cluster.wait_healthy() is leader
