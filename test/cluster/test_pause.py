"""Pause: nothing happens by itself, what is asked for does."""
import signal

from lab import proc
from lab.cluster import PREFIX
from lab.wait import holds_for, wait_for

TTL_S = 30


def pause(cluster):
    done = cluster.nodes[0].ctl('pause', 'myapp-cluster', '--wait')
    assert done.returncode == 0, done
    assert cluster.view()['pause'] is True


def resume(cluster):
    done = cluster.nodes[0].ctl('resume', 'myapp-cluster', '--wait')
    assert done.returncode == 0, done
    assert not cluster.view().get('pause')


def test_no_failover_while_paused(cluster_of):
    cluster = cluster_of(3)
    leader = cluster.up()
    pause(cluster)
    leader.crash()
    replicas = cluster.others(leader)
    holds_for('no new leader', lambda: not [n for n in replicas if n.writable()], TTL_S + 15, every_s=1)
    # Nobody can know that nothing runs over there: the fence was off. Somebody has to say so.
    done = replicas[0].ctl('resume', 'myapp-cluster')
    assert done.returncode == 0 and f'{leader.name} led this cluster when it was paused' in done.stderr, done
    wait_for('the reason', lambda: [n for n in replicas if n.log.lines(f'{leader.name} was paused and does not answer')], 30)
    holds_for('no new leader', lambda: not [n for n in replicas if n.writable()], TTL_S, every_s=1)
    done = replicas[0].ctl('failover', 'myapp-cluster', '--candidate', replicas[1].name, '--force')
    assert done.returncode == 0, done
    assert cluster.wait_leader(30, other_than=leader) is replicas[1]
    leader.start()
    assert cluster.wait_healthy() is replicas[1]


def test_failover_after_a_pause_is_automatic_again(cluster_of):
    cluster = cluster_of(2)
    leader = cluster.up()
    pause(cluster)
    resume(cluster)
    leader.log.wait('the leader with the lock', 15)
    wait_for('the fence in force again', lambda: 'unfenced' not in cluster.store.get(PREFIX + 'pgkeep'), 15)
    leader.crash()
    assert cluster.wait_leader(TTL_S + 15, other_than=leader) is cluster.others(leader)[0]


def test_dead_postgres_is_left_alone_while_paused(cluster_of):
    cluster = cluster_of(2)
    leader = cluster.up()
    replica = cluster.others(leader)[0]
    pause(cluster)
    proc.send([replica.postmaster_pid()], signal.SIGINT)
    replica.wait_postgres_gone(20)
    holds_for('PostgreSQL left alone', lambda: not replica.postmaster_pid(), 25, every_s=1)
    resume(cluster)
    assert cluster.wait_healthy() is leader


def test_switchover_works_while_paused(cluster_of):
    cluster = cluster_of(2)
    leader = cluster.up()
    candidate = cluster.others(leader)[0]
    pause(cluster)
    assert cluster.switchover(candidate) is candidate
    resume(cluster)
    assert cluster.wait_healthy() is candidate


def test_agent_that_ends_while_paused_leaves_postgres_running(cluster_of):
    cluster = cluster_of(2)
    leader = cluster.up()
    pause(cluster)
    postmaster = leader.postmaster_pid()
    leader.stop()
    assert leader.postmaster_pid() == postmaster
    holds_for('the same PostgreSQL', lambda: leader.postmaster_pid() == postmaster and leader.writable(), TTL_S + 10, every_s=1)
    leader.start()
    wait_for('REST again', lambda: leader.rest.status('/primary') == 200, 30)
    assert leader.postmaster_pid() == postmaster
    resume(cluster)
    assert cluster.wait_healthy() is leader


def test_scheduled_actions_are_refused_while_paused(cluster_of):
    cluster = cluster_of(2)
    leader = cluster.up()
    pause(cluster)
    answer = leader.rest.call('POST', '/restart', {'schedule': '2099-01-01T00:00:00+00:00'})
    assert answer.status == 500, answer
    answer = leader.rest.call('POST', '/switchover', {'leader': leader.name, 'scheduled_at': '2099-01-01T00:00:00+00:00'})
    assert answer.status == 400, answer
    resume(cluster)
