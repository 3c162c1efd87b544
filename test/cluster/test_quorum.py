"""
Quorum mode: nothing that was acknowledged is lost, nobody waits for a lease, and whose acknowledgement counts follows
the cluster. Fault by fault: test_quorum_faults.py; what an operator asks for: test_quorum_operators.py.
"""
import signal
import time

import pytest

from lab import proc
from lab.quorum import Load, quorum, record, up, wait_cohort
from lab.wait import holds_for


@pytest.mark.smoke
def test_the_host_of_the_leader_dies_and_nothing_is_lost(cluster_of):
    cluster = cluster_of(3, more=quorum())
    old = up(cluster)
    with Load.on(cluster) as load:
        load.warm_up(old)
        load.fault()
        old.crash()
        load.wait_rows(cluster.others(old), 10)  # far below the lease
        time.sleep(1)
        load.tell('dead host')
        old.start()
        new = cluster.wait_healthy()
        assert new is not old
    load.check(new)


def test_strict_mode_blocks_without_a_standby(cluster_of):
    cluster = cluster_of(3, more=quorum(synchronous_mode_strict=True))
    leader = up(cluster)
    others = cluster.others(leader)
    with Load.on(cluster) as load:
        load.warm_up(leader)
        for node in others:
            node.crash()
        load.fault()
        holds_for('no row is acknowledged', lambda: not load.acked_since(load.moment + 0.5, leader), 8)
        others[0].start()
        load.wait_rows([leader], 60)
        others[1].start()
        assert cluster.wait_healthy() is leader
    load.check(leader)


def test_in_availability_mode_the_last_one_goes_on_alone(cluster_of):
    cluster = cluster_of(3, more=quorum())
    leader = up(cluster)
    others = cluster.others(leader)
    with Load.on(cluster) as load:
        load.warm_up(leader)
        for node in others:
            node.crash()
        load.fault()
        wait_cohort(cluster, [])
        load.wait_rows([leader])
        print(f'\nno row for {load.gap_s(load.moment):.3f} s')
        for node in others:
            node.start()
        assert cluster.wait_healthy() is leader
    load.check(leader)


def test_two_of_two_have_to_acknowledge(cluster_of):
    cluster = cluster_of(3, more=quorum(synchronous_node_count=2, synchronous_mode_strict=True))
    leader = up(cluster)
    dead, left = cluster.others(leader)
    assert record(cluster)['open']['k'] == 2
    assert leader.value('show synchronous_standby_names').startswith('ANY 2 (')
    with Load.on(cluster) as load:
        load.warm_up(leader)
        load.fault()
        # With one standby left it is asked for one, by a change of the record that takes its time.
        dead.crash()
        wait_cohort(cluster, [left])
        assert record(cluster)['open']['k'] == 1
        load.wait_rows([leader])
        dead.start()
        assert cluster.wait_healthy() is leader
    load.check(leader)
    assert record(cluster)['open']['k'] == 2


def test_a_standby_that_lags_leaves_the_cohort(cluster_of):
    cluster = cluster_of(3, more=quorum(maximum_lag_on_syncnode=1 << 20))
    leader = up(cluster)
    late, other = cluster.others(leader)
    stopped = late.postgres_pids()
    proc.send(stopped, signal.SIGSTOP)
    try:
        leader.sql('create table filler as select generate_series(1, 200000) as i')
        wait_cohort(cluster, [other])
    finally:
        proc.send(stopped, signal.SIGCONT)
    wait_cohort(cluster, [late, other])
