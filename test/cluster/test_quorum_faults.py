"""
Quorum mode, fault by fault: rows are acknowledged again within seconds, none that was acknowledged is missing, no two
nodes acknowledge at one moment, and who was lost comes back without an operator.
"""
import json
import shutil
import signal
import subprocess
import time

import pytest

from lab import proc
from lab.cluster import PREFIX
from lab.quorum import Load, cohort, quorum, record, up, wait_cohort
from lab.wait import holds_for, wait_for

# What the fast profile needs on a machine that does other things as well; measured on a quiet one it is a second.
BACK_S = 10


def kill_postmaster(node):
    proc.send([node.postmaster_pid()], signal.SIGKILL)


def stop_pids(pids):
    proc.send(pids, signal.SIGSTOP)
    return lambda: proc.send(pids, signal.SIGCONT)


def stop_postgres(node):
    return stop_pids(node.postgres_pids())


def stop_agent(node):
    return stop_pids([node.agent_pid()])


def stop_agent_and_guard(node):
    return stop_pids([node.guard_pid(), node.agent_pid()])


def stop_everything(node):
    return stop_pids(node.pids())


def kill_agent_and_guard(node):
    proc.kill_at_once([node.guard_pid(), node.agent_pid()])
    node.process.wait(5)

    def back():
        node.wait_postgres_gone(10)
        node.start()
    return back


FAULTS = [kill_postmaster, stop_postgres, stop_agent, stop_agent_and_guard, stop_everything, kill_agent_and_guard]


@pytest.mark.parametrize('fault', [pytest.param(f, id=f.__name__, marks=pytest.mark.smoke if f is kill_postmaster else ())
                                   for f in FAULTS])
def test_the_leader_is_hit(cluster_of, fault):
    cluster = cluster_of(3, more=quorum())
    old = up(cluster)
    with Load.on(cluster) as load:
        load.warm_up(old)
        load.fault()
        undo = fault(old)
        load.wait_rows(None if fault is stop_agent else cluster.others(old), BACK_S)
        time.sleep(1)  # the others go on while it is away
        load.tell(fault.__name__)
        if undo:
            undo()
        new = cluster.wait_healthy()
        assert new is not old or fault is stop_agent
    load.check(new)


def test_a_suspicion_that_is_wrong_costs_a_moment(cluster_of):
    """Agent and guard of the leader do not run for two seconds; PostgreSQL does."""
    cluster = cluster_of(3, more=quorum())
    old = up(cluster)
    with Load.on(cluster) as load:
        load.warm_up(old)
        load.fault()
        undo = stop_agent_and_guard(old)
        time.sleep(2)
        undo()
        load.wait_rows(seconds=BACK_S)
        new = cluster.wait_healthy()
        load.tell('agent and guard stopped for 2 s')
        assert load.gap_s(load.moment) < 5
    load.check(new)


@pytest.mark.root
def test_the_leader_is_cut_from_the_network(network, cluster_of):
    cluster = cluster_of(3, network=network, more=quorum())
    old = up(cluster)
    others = cluster.others(old)
    with Load.on(cluster) as load:
        load.warm_up(old)
        load.fault()
        network.cut(old.name)
        # The writer beside the old leader still reaches it: nothing is acknowledged there.
        load.wait_rows(others, BACK_S)
        time.sleep(2)
        load.tell('cut')
        network.heal(old.name)
        new = cluster.wait_healthy()
        assert new in others
        assert not [a for a in load.acked_since(load.moment + 1, old) if a.timeline == load.acks()[0].timeline]
    load.check(new)


@pytest.mark.root
@pytest.mark.parametrize('what', ['port', 'large packets'])
def test_the_leaders_wal_gets_to_no_standby_while_the_agents_hear_each_other(network, cluster_of, what):
    cluster = cluster_of(3, network=network, more=quorum())
    old = up(cluster)
    others = cluster.others(old)
    with Load.on(cluster) as load:
        load.warm_up(old)
        load.fault()
        for node in others:
            if what == 'port':
                network.part_only(old.name, node.name, f'tcp dport {old.pg_port}')
                network.part_only(old.name, node.name, f'tcp sport {old.pg_port}')
            else:
                network.part_only(old.name, node.name, 'ip length > 1200')
        if what != 'port':
            old.sql("SET synchronous_commit = local; CREATE TABLE large AS SELECT repeat(md5(i::text), 100) FROM generate_series(1, 100) i")
        load.wait_rows(others, BACK_S)
        load.tell(f'no WAL by {what}')
        term = record(cluster)['term']
        holds_for('one failover', lambda: record(cluster)['term'] == term, 6, every_s=0.2)
        network.join(old.name)
        new = cluster.wait_healthy()
        assert new in others
    load.check(new)


@pytest.mark.root
def test_the_leaders_wal_does_not_get_to_one_standby(network, cluster_of):
    cluster = cluster_of(3, network=network, more=quorum(synchronous_node_count=2))
    leader = up(cluster)
    lost, stays = cluster.others(leader)
    with Load.on(cluster) as load:
        load.warm_up(leader)
        load.fault()
        network.part_only(leader.name, lost.name, f'tcp dport {leader.pg_port}')
        network.part_only(leader.name, lost.name, f'tcp sport {leader.pg_port}')
        wait_cohort(cluster, [stays])
        load.tell('no WAL for one of two')
        network.join(leader.name)
        assert cluster.wait_healthy() is leader
        assert load.gap_s(load.moment) < 5
    load.check(leader)


@pytest.mark.root
def test_a_standby_is_cut_from_the_network(network, cluster_of):
    cluster = cluster_of(3, network=network, more=quorum())
    leader = up(cluster)
    cut, stays = cluster.others(leader)
    with Load.on(cluster) as load:
        load.warm_up(leader)
        load.fault()
        network.cut(cut.name)
        wait_cohort(cluster, [stays])
        network.heal(cut.name)
        assert cluster.wait_healthy() is leader
        assert load.gap_s(load.moment) < 5
    load.check(leader)


@pytest.mark.root
def test_packets_that_are_lost_for_a_minute_are_no_reason_to_fail_over(network, cluster_of):
    """One in twenty in each direction, at the leader: what TCP sends again comes late, not never."""
    cluster = cluster_of(3, network=network, more=quorum(failover_profile='default'))
    leader = up(cluster)
    before = record(cluster)
    with Load.on(cluster) as load:
        load.warm_up(leader)
        load.fault()
        network.lose(leader.name, 5)
        holds_for('the leader', lambda: record(cluster)['term'] == before['term'], 60, every_s=1)
        assert len(load.acked_since(load.moment, leader)) > 100
        network.join(leader.name)
        assert cluster.wait_healthy() is leader
    load.check(leader)


def test_an_old_primary_whose_agent_is_dead_acknowledges_nothing_more(cluster_of):
    """
    Its standbys stay connected to it and PostgreSQL runs, so a promotion without a freeze would lose what it goes on to
    acknowledge through the standby that was not promoted.
    """
    cluster = cluster_of(3, more=quorum())
    old = up(cluster)
    with Load.on(cluster) as load:
        load.warm_up(old)
        load.fault()
        undo = stop_agent_and_guard(old)
        load.wait_rows(cluster.others(old), BACK_S)
        moved = time.monotonic()
        time.sleep(4)
        assert old.writable(), 'PostgreSQL was to go on'
        assert not load.acked_since(moved, old)
        undo()
        new = cluster.wait_healthy()
        assert new is not old
    load.check(new)


@pytest.mark.root
def test_an_old_primary_that_only_a_standby_reaches_acknowledges_nothing_more(network, cluster_of):
    """Cut from the store and from the agents, not from one standby: who would ask that one alone loses rows."""
    cluster = cluster_of(3, network=network, more=quorum())
    old = up(cluster)
    kept, other = cluster.others(old)
    with Load.on(cluster) as load:
        load.warm_up(old)
        load.fault()
        network.part(old.name, kept.name, old.pg_port)
        network.part(old.name, other.name)
        network.part(old.name, 's1')
        load.wait_rows([kept, other], BACK_S)
        moved = time.monotonic()
        time.sleep(4)
        assert not load.acked_since(moved, old)
        load.tell('one standby still reaches the old primary')
        network.join(old.name)
        new = cluster.wait_healthy()
        assert new is not old
    load.check(new)


@pytest.mark.root
def test_nobody_is_promoted_while_the_old_primary_goes_on_with_a_standby(network, cluster_of):
    """The cluster is in two: the leader and a standby without the store, the other standby with it."""
    cluster = cluster_of(3, network=network, more=quorum())
    old = up(cluster)
    kept, other = cluster.others(old)
    with Load.on(cluster) as load:
        load.warm_up(old)
        load.fault()
        for node in (old, kept):
            network.part(node.name, other.name)
            network.part(node.name, 's1')
        holds_for('the one with the store is no primary', lambda: not other.writable(), 8, every_s=0.2)
        assert load.acked_since(load.moment + 6, old), 'the old leader and its standby go on'
        for node in (old, kept):
            network.join(node.name)
        leader = cluster.wait_healthy()
    load.check(leader)


def test_nobody_is_promoted_while_a_standby_that_cannot_be_frozen_acknowledges(cluster_of):
    """Agents of the leader and of one standby are dead; the two PostgreSQL servers go on, and so do their clients."""
    cluster = cluster_of(3, more=quorum())
    old = up(cluster)
    deaf, left = cluster.others(old)
    with Load.on(cluster) as load:
        load.warm_up(old)
        load.fault()
        undo = [stop_agent_and_guard(deaf), stop_agent_and_guard(old)]
        holds_for('the last one that decides is no primary', lambda: not left.writable(), 8, every_s=0.2)
        assert load.acked_since(load.moment + 6, old), 'the old leader and its standby go on'
        for again in undo:
            again()
        leader = cluster.wait_healthy()
    load.check(leader)


def test_the_survivor_of_three_is_not_promoted_when_two_die_at_once(cluster_of):
    """Either of the two standbys may have acknowledged: one alone cannot know what the other had."""
    cluster = cluster_of(3, more=quorum())
    old = up(cluster)
    dead, left = cluster.others(old)
    with Load.on(cluster) as load:
        load.warm_up(old)
        load.fault()
        proc.kill_at_once(old.pids() + dead.pids())
        old.process.wait(5)
        dead.process.wait(5)
        holds_for('the survivor is no primary', lambda: not left.writable(), 10, every_s=0.2)
        dead.start()
        load.wait_rows([dead, left], 30)
        old.start()
        new = cluster.wait_healthy()
        assert new is not old
    load.check(new)


def test_after_a_standby_has_left_the_other_one_takes_over_alone(cluster_of):
    cluster = cluster_of(3, more=quorum())
    old = up(cluster)
    dead, left = cluster.others(old)
    with Load.on(cluster) as load:
        load.warm_up(old)
        dead.crash()
        wait_cohort(cluster, [left])
        load.fault()
        old.crash()
        load.wait_rows([left], BACK_S)
        load.tell('the second of three')
        assert cohort(cluster) == []
        dead.start()
        old.start()
        assert cluster.wait_healthy() is left
    load.check(left)


def test_strict_mode_does_not_promote_the_last_one_to_acknowledge_alone(cluster_of):
    cluster = cluster_of(3, more=quorum(synchronous_mode_strict=True))
    old = up(cluster)
    dead, left = cluster.others(old)
    with Load.on(cluster) as load:
        load.warm_up(old)
        dead.crash()
        wait_cohort(cluster, [left])
        old.crash()
        load.fault()
        holds_for('no row on one node alone', lambda: not load.acked_since(load.moment), 6)
        dead.start()
        load.wait_rows([left, dead], 30)
        old.start()
        new = cluster.wait_healthy()
    load.check(new)


def test_the_other_standby_follows_past_timelines_that_nobody_opened(cluster_of):
    """Their numbers are taken, by nodes that failed on the way: no history of them exists anywhere."""
    cluster = cluster_of(3, more=quorum())
    old = up(cluster)
    with Load.on(cluster) as load:
        load.warm_up(old)
        cluster.store.put(PREFIX + 'pgkeep', json.dumps({**record(cluster), 'timeline': 4}))
        load.fault()
        old.crash()
        load.wait_rows(cluster.others(old), BACK_S)
        new = cluster.wait_leader(10, other_than=old)
        other = [n for n in cluster.others(old) if n is not new]
        assert new.value("select timeline_id from pg_control_checkpoint()") in (1, 5)
        wait_cohort(cluster, other, 20)
        assert not other[0].log.lines(r'event=job\.begin.*rewind|rewind .*event=job\.begin')
        old.start()
        assert cluster.wait_healthy() is new
        other[0].crash()
        other[0].start()
        assert cluster.wait_healthy() is new
    load.check(new)


def test_the_whole_cluster_dies_and_comes_back(cluster_of):
    cluster = cluster_of(3, more=quorum())
    leader = up(cluster)
    with Load.on(cluster) as load:
        load.warm_up(leader)
        proc.kill_at_once([pid for node in cluster.nodes for pid in node.pids()])
        load.fault()
        for node in cluster.nodes:
            node.process.wait(5)
            node.start()
        load.wait_rows(seconds=30)
        load.tell('all three', 20)
        new = cluster.wait_healthy()
    load.check(new)


def test_the_store_is_away_for_a_minute_and_nobody_is_demoted(cluster_of):
    cluster = cluster_of(3, more=quorum())
    leader = up(cluster)
    postmaster = leader.postmaster_pid()
    with Load.on(cluster) as load:
        load.warm_up(leader)
        load.fault()
        cluster.store.stop()
        wait_for('REST to say that it cannot prove to lead', lambda: leader.rest.status('/primary') == 503, 40)
        holds_for('open for writes', leader.writable, load.moment + 60 - time.monotonic(), every_s=0.5)
        cluster.store.start()
        assert cluster.wait_healthy() is leader
        wait_for('REST to say that it leads', lambda: leader.rest.status('/primary') == 200, 10)
        assert leader.postmaster_pid() == postmaster
        assert load.gap_s(load.moment) < 2
    load.check(leader)


def test_a_standby_dies_while_the_store_is_away(cluster_of):
    """The cohort cannot change then, and need not: one of two is enough."""
    cluster = cluster_of(3, more=quorum())
    leader = up(cluster)
    dead, stays = cluster.others(leader)
    before = record(cluster)
    with Load.on(cluster) as load:
        load.warm_up(leader)
        cluster.store.stop()
        load.fault()
        dead.crash()
        holds_for('open for writes', leader.writable, 8, every_s=0.5)
        assert load.gap_s(load.moment) < 2
        cluster.store.start()
        dead.start()
        assert cluster.wait_healthy() is leader
        assert record(cluster)['term'] == before['term']
    load.check(leader)


def test_a_store_that_was_wiped_gets_the_record_from_the_leader(cluster_of):
    cluster = cluster_of(3, more=quorum())
    leader = up(cluster)
    was = record(cluster)
    with Load.on(cluster) as load:
        load.warm_up(leader)
        load.fault()
        cluster.store.lose_everything()
        wait_for('the record', lambda: record(cluster).get('term', 0) > was['term'], 20)
        wait_for('the leader key', lambda: cluster.store.get(PREFIX + 'leader') == leader.name, 20)
        assert record(cluster)['leader'] == leader.name and record(cluster)['phase'] == 'open'
        load.wait_rows([leader], BACK_S)
        assert load.gap_s(load.moment) < 5
        assert cluster.wait_healthy() is leader
    load.check(leader)


def test_an_operator_says_from_whom_to_go_on_in_a_store_that_was_wiped(cluster_of):
    cluster = cluster_of(3, more=quorum())
    leader = up(cluster)
    with Load.on(cluster) as load:
        load.warm_up(leader)
    for node in cluster.nodes:
        node.crash()
    cluster.store.lose_everything()
    for node in cluster.nodes:
        node.start()
    wait_for('members', lambda: all(cluster.store.get(f'{PREFIX}members/{n.name}') for n in cluster.nodes), 30)
    holds_for('nobody leads', lambda: not record(cluster), 3, every_s=0.2)
    done = []
    wait_for('an answer', lambda: done.append(leader.ctl('recover-record', leader.name, '--force')) or done[-1].returncode == 0, 30)
    print(done[-1].stdout)
    new = cluster.wait_healthy()
    load.check(new)


def noted_position(node):
    path = node.folder / 'data.pgkeep' / 'position'
    return int(path.read_text().split()[-1], 16) if path.exists() else 0


def test_a_standby_whose_disk_was_set_back_is_not_counted(cluster_of):
    """An old copy of its data under the same incarnation: what it has acknowledged since is not there any more."""
    cluster = cluster_of(3, more=quorum())
    leader = up(cluster)
    back, other = cluster.others(leader)
    back.stop()
    data = back.folder / 'data'
    subprocess.run(['cp', '-a', data, f'{data}.copy'], check=True, timeout=60)
    back.start()
    cluster.wait_healthy()
    wait_cohort(cluster, [back, other])
    with Load.on(cluster) as load:
        load.warm_up(leader)
        far = int(back.value("SELECT pg_last_wal_replay_lsn() - '0/0'::pg_lsn"))
        wait_for('a position that is noted', lambda: noted_position(back) >= far, 20)
    for node in (leader, back):
        node.crash()
    shutil.rmtree(data)
    subprocess.run(['cp', '-a', f'{data}.copy', data], check=True, timeout=60)
    back.start()
    wait_for('the set-back', lambda: 'event=datadir.set_back' in back.log.text(), 30)
    holds_for('nobody is promoted', lambda: not other.writable() and not back.writable(), 4, every_s=0.2)
    leader.start()
    new = cluster.wait_healthy()
    load.check(new)
