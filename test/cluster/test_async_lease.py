"""
Asynchronous mode with members that are all pgkeep's: the leader has a lease from the other agents, too, and a host that
is gone is replaced within seconds instead of a ttl (docs/async-lease.md).
"""
import signal
import time

import pytest

from lab import proc
from lab.node import REWIND
from lab.quorum import record
from lab.wait import holds_for, wait_for
from lab.writer import Writers

TTL_S = 30


def electorate(cluster):
    return record(cluster).get('electorate', {}).get('members')


def wait_lease(cluster, nodes=None):
    names = sorted(n.name for n in nodes or cluster.nodes)
    wait_for(f'the electorate {names}', lambda: electorate(cluster) == names, 2 * TTL_S)


def warm_up(writers, leader):
    wait_for('acknowledged rows', lambda: len(writers.acks(leader)) > 20, 10)


@pytest.mark.smoke
def test_a_dead_host_is_replaced_within_seconds(cluster_of):
    cluster = cluster_of(3, more=REWIND)
    old = cluster.up()
    wait_lease(cluster)
    with Writers.on_each(cluster) as writers:
        warm_up(writers, old)
        cluster.wait_replayed()
        crashed = time.monotonic()
        old.crash()
        new = cluster.wait_leader(TTL_S / 2, other_than=old)  # the lease of the store is not waited for
        wait_for('rows on the new leader', lambda: writers.acks(new), 10)
        print(f'\ndead host: no row for {writers.gap_s(crashed):.3f} s')
        old.start()
        assert cluster.wait_healthy() is new
        wait_lease(cluster)
    writers.check_one_primary()


def test_the_peer_lease_is_turned_off_and_on(cluster_of):
    cluster = cluster_of(3)
    leader = cluster.up()
    wait_lease(cluster)
    cluster.configure({'peer_lease': False})
    wait_for('no electorate', lambda: electorate(cluster) is None, 2 * TTL_S)
    assert cluster.wait_healthy() is leader
    cluster.configure({'peer_lease': None})
    wait_lease(cluster)


def test_a_leader_whose_agent_is_replaced_again_and_again_goes_on(cluster_of):
    cluster = cluster_of(3)
    leader = cluster.up()
    wait_lease(cluster)
    postmaster = leader.postmaster_pid()
    with Writers.on_each(cluster) as writers:
        warm_up(writers, leader)
        for signo in (signal.SIGKILL, signal.SIGSTOP, signal.SIGKILL):
            agent = leader.agent_pid()
            proc.send([agent], signo)
            wait_for('another agent', lambda old=agent: leader.agent_pid() not in (0, old), 10)
            wait_for('REST again', lambda: leader.rest.status('/primary') == 200, 10)
            wait_lease(cluster)
        assert leader.postmaster_pid() == postmaster
        assert cluster.leader() is leader
    writers.check_one_primary()


def test_a_leader_that_nobody_hears_keeps_the_lease_of_the_store(cluster_of):
    """Both other hosts are gone at once: the record goes back to the store's lease, and nothing stops."""
    cluster = cluster_of(3)
    leader = cluster.up()
    others = cluster.others(leader)
    wait_lease(cluster)
    postmaster = leader.postmaster_pid()
    with Writers.on_each(cluster) as writers:
        warm_up(writers, leader)
        crashed = time.monotonic()
        for node in others:
            node.crash()
        wait_for('no electorate', lambda: electorate(cluster) is None, 10)
        holds_for('the same leader', lambda: leader.rest.status('/primary') == 200, 10)
        assert writers.acked_since(crashed + 8, leader)
        assert leader.postmaster_pid() == postmaster
        for node in others:
            node.start()
        assert cluster.wait_healthy() is leader
        wait_lease(cluster)
    writers.check_one_primary()


def test_a_pause_ends_it_and_resume_brings_it_back(cluster_of):
    cluster = cluster_of(3)
    leader = cluster.up()
    wait_lease(cluster)
    cluster.configure({'pause': True})
    wait_for('a record without an electorate', lambda: record(cluster).get('unfenced') and not electorate(cluster), 20)
    cluster.configure({'pause': None})
    wait_lease(cluster)
    assert not record(cluster).get('unfenced')
    assert cluster.leader() is leader
