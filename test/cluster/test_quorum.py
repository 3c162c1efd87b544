"""
Quorum mode on real PostgreSQL: nothing that was acknowledged is lost, whatever is lost beside it, and nobody waits for a
lease.
"""
import json
import signal
import time

import pytest

from lab import proc
from lab.cluster import PREFIX
from lab.node import REWIND, merged
from lab.wait import holds_for, wait_for
from lab.writer import Writers


def quorum(**more):
    dcs = {'synchronous_mode': 'quorum', 'failover_profile': 'fast'}
    dcs.update(more)
    return merged(REWIND, {'bootstrap': {'dcs': dcs}})


def record(cluster):
    text = cluster.store.get(PREFIX + 'pgkeep')
    return json.loads(text) if text else {}


def cohort(cluster):
    r = record(cluster)
    return sorted(r.get('open', {}).get('members', {})) if r.get('phase') == 'open' and 'joint' not in r else None


def wait_cohort(cluster, names, seconds=30):
    wait_for(f'the cohort {names}, not {record(cluster)}', lambda: cohort(cluster) == sorted(names), seconds)


@pytest.mark.smoke
def test_the_host_of_the_leader_dies_and_nothing_is_lost(cluster_of):
    cluster = cluster_of(3, more=quorum())
    old = cluster.up()
    wait_cohort(cluster, [n.name for n in cluster.nodes if n is not old])
    with Writers.on_each(cluster) as writers:
        wait_for('acknowledged rows', lambda: len(writers.acks(old)) > 20, 10)
        died = time.monotonic()
        old.crash()
        # Far below the lease.
        wait_for('rows on another node', lambda: any(writers.acked_since(died, n) for n in cluster.nodes if n is not old),
                 15)
        took = time.monotonic() - died
        new = cluster.wait_leader(15, other_than=old)
        print(f'first acknowledged row after {took:.3f} s')
        old.start()
        assert cluster.wait_healthy() is new
    writers.check_one_primary()
    cluster.wait_replayed()
    assert not writers.missing(new)
    wait_cohort(cluster, [n.name for n in cluster.nodes if n is not new])


def test_strict_mode_blocks_without_a_standby(cluster_of):
    cluster = cluster_of(3, more=quorum(synchronous_mode_strict=True))
    leader = cluster.up()
    others = [n for n in cluster.nodes if n is not leader]
    wait_cohort(cluster, [n.name for n in others])
    with Writers.on_each(cluster) as writers:
        wait_for('acknowledged rows', lambda: len(writers.acks(leader)) > 20, 10)
        for node in others:
            node.crash()
        gone = time.monotonic()
        holds_for('no row is acknowledged', lambda: not writers.acked_since(gone + 0.5, leader), 8)
        others[0].start()
        wait_for('rows with a standby', lambda: writers.acked_since(gone + 8, leader), 60)


def test_two_of_two_have_to_acknowledge(cluster_of):
    cluster = cluster_of(3, more=quorum(synchronous_node_count=2, synchronous_mode_strict=True))
    leader = cluster.up()
    others = [n for n in cluster.nodes if n is not leader]
    wait_cohort(cluster, [n.name for n in others])
    assert record(cluster)['open']['k'] == 2
    assert leader.value('show synchronous_standby_names').startswith('ANY 2 (')
    # With one standby left it is asked for one, by a change of the record that takes its time.
    others[0].crash()
    wait_cohort(cluster, [others[1].name])
    assert record(cluster)['open']['k'] == 1


def test_a_standby_that_lags_leaves_the_cohort(cluster_of):
    cluster = cluster_of(3, more=quorum(maximum_lag_on_syncnode=1 << 20))
    leader = cluster.up()
    others = [n for n in cluster.nodes if n is not leader]
    wait_cohort(cluster, [n.name for n in others])
    stopped = others[0].postgres_pids()
    proc.send(stopped, signal.SIGSTOP)
    try:
        leader.sql('create table filler as select generate_series(1, 200000) as i')
        wait_cohort(cluster, [others[1].name])
    finally:
        proc.send(stopped, signal.SIGCONT)
    wait_cohort(cluster, [n.name for n in others])
