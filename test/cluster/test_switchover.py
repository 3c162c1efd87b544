"""A planned change of primary loses nothing and ends in a healthy cluster."""
import datetime
import signal
import time

import psycopg
import pytest

from lab import proc
from lab.wait import holds_for, wait_for
from lab.writer import Writers


@pytest.mark.smoke
def test_switchover_moves_the_primary_and_loses_nothing(cluster_of):
    cluster = cluster_of(3)
    old = cluster.up()
    candidate = cluster.others(old)[1]
    with Writers.on_primary(cluster) as writers:
        wait_for('acknowledged rows', lambda: len(writers.acks()) > 50, 10)
        assert cluster.switchover(candidate) is candidate
        wait_for('rows on the new leader', lambda: len(writers.acks(candidate)) > 50, 10)
    assert cluster.wait_healthy() is candidate
    writers.check_one_primary()
    assert not writers.missing(candidate)


def test_twenty_switchovers_under_load_lose_nothing(cluster_of):
    cluster = cluster_of(3)
    cluster.up()
    with Writers.on_primary(cluster, rate=200) as writers:
        for turn in range(20):
            old = cluster.leader()
            before = len(writers.acks())
            new = cluster.switchover()
            wait_for(f'rows after switchover {turn + 1}', lambda n=before, to=new: any(
                a.node == to.name for a in writers.acks()[n:]), 10)
            cluster.wait_healthy()
            assert new is not old
    writers.check_one_primary()
    leader = cluster.leader()
    assert len(writers.acks()) > 1000
    assert not writers.missing(leader)
    cluster.wait_replayed()
    for replica in cluster.others(leader):
        assert not writers.missing(replica)


def test_switchover_by_rest_answers_when_it_is_done(cluster_of):
    cluster = cluster_of(3)
    old = cluster.up()
    candidate = cluster.others(old)[0]
    answer = old.rest.call('POST', '/switchover', {'leader': old.name, 'candidate': candidate.name}, deadline_s=60)
    assert answer.status == 200, answer
    assert candidate.name in answer.text
    assert cluster.wait_leader(10, other_than=old) is candidate
    assert cluster.wait_healthy() is candidate


def test_switchover_to_nobody_in_particular_takes_the_best(cluster_of):
    cluster = cluster_of(3)
    old = cluster.up()
    new = cluster.switchover()
    assert new is not old
    assert cluster.wait_healthy() is new


@pytest.mark.parametrize('request_body, status', [
    ({}, 400),
    ({'leader': 'nobody'}, 412),
    ({'leader': '$leader', 'candidate': 'nobody'}, 412),
    ({'leader': '$leader', 'candidate': '$leader'}, 400),
    ({'leader': '$leader', 'scheduled_at': 'tomorrow'}, 422),
    ({'leader': '$leader', 'scheduled_at': '2001-01-01T00:00:00+00:00'}, 422),
])
def test_impossible_switchover_is_refused_and_changes_nothing(two_nodes, request_body, status):
    cluster, leader = two_nodes
    body = {key: leader.name if value == '$leader' else value for key, value in request_body.items()}
    assert leader.rest.call('POST', '/switchover', body, deadline_s=60).status == status
    assert cluster.leader() is leader and leader.writable()


def test_scheduled_switchover_happens_at_its_time(cluster_of):
    cluster = cluster_of(2)
    old = cluster.up()
    when = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=25)
    due = time.monotonic() + 25
    answer = old.rest.call('POST', '/switchover', {'leader': old.name, 'scheduled_at': when.isoformat()})
    assert answer.status == 202, answer
    assert cluster.view()['scheduled_switchover']['from'] == old.name
    holds_for('the old leader', lambda: cluster.leader() is old, due - time.monotonic() - 2, every_s=1)
    new = cluster.wait_leader(45, other_than=old)
    assert time.monotonic() >= due - 1
    assert cluster.wait_healthy() is new
    assert 'scheduled_switchover' not in cluster.view()


def test_scheduled_switchover_can_be_taken_back(two_nodes):
    cluster, leader = two_nodes
    when = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(hours=1)
    assert leader.rest.call('POST', '/switchover', {'leader': leader.name, 'scheduled_at': when.isoformat()}).status == 202
    assert leader.rest.call('DELETE', '/switchover').status == 200
    assert 'scheduled_switchover' not in cluster.view()
    assert leader.rest.call('DELETE', '/switchover').status == 404


def test_manual_failover_works_without_a_leader(cluster_of):
    """What a switchover cannot do: nobody holds the lease, an operator names the next primary."""
    cluster = cluster_of(3, more={'tags': {'nofailover': False}})
    old = cluster.up()
    first, second = cluster.others(old)
    answer = first.rest.call('POST', '/failover', {'candidate': second.name}, deadline_s=60)
    assert answer.status == 200, answer
    assert cluster.wait_leader(10, other_than=old) is second
    assert cluster.wait_healthy() is second


def test_a_stop_that_does_not_end_is_forced_after_primary_stop_timeout(cluster_of):
    """
    A backend that hears no signal keeps PostgreSQL from shutting down; without the key a minute is waited. What is
    killed has written no end that a successor could have: the leader recovers and leads on.
    """
    cluster = cluster_of(2, more={'bootstrap': {'dcs': {'primary_stop_timeout': 4}}})
    leader = cluster.up()
    candidate, = cluster.others(leader)
    leader.sql('create table kept (n int)')
    with psycopg.connect(leader.conninfo(), autocommit=True) as deaf:
        deaf.execute('insert into kept values (7)')
        postmaster = leader.postmaster_pid()
        proc.send([deaf.info.backend_pid], signal.SIGSTOP)
        done = leader.ctl('switchover', '--force', '--candidate', candidate.name)
        wait_for('the end of the postmaster', lambda: not proc.alive(postmaster), 20)
        assert not proc.alive(deaf.info.backend_pid)
    assert done.returncode == 1 and 'Switchover failed' in done.stdout, done
    assert cluster.wait_healthy() is leader
    assert candidate.value('select n from kept') == 7
    assert cluster.switchover(candidate) is candidate
    assert cluster.wait_healthy() is candidate
