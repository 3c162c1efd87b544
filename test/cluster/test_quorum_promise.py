"""What users can do inside PostgreSQL to break the promise of quorum mode: it is found, told, and put right where that can be."""
import subprocess

from lab.node import postgres_bin
from lab.quorum import cohort, quorum, up, wait_cohort
from lab.wait import wait_for

LOOK_S = 45  # the agent looks every half a minute


def broken(node):
    return {(b['reason'], b['text']) for b in node.rest.get('/patroni').json['pgkeep'].get('broken', [])}


def told(node, part, seconds=LOOK_S):
    wait_for(f'"{part}" told by {node.name}', lambda: [t for _, t in broken(node) if part in t], seconds)


def test_what_breaks_the_promise_from_inside_is_told(bench, cluster_of):
    cluster = cluster_of(3, more=quorum())
    leader = up(cluster)
    n2, n3 = cluster.others(leader)
    assert broken(leader) == set()
    assert leader.ctl('list').stdout.count('Promise broken') == 0

    # A list of somebody else's bites with the reload, is found by the next look at the server, and put back.
    names = leader.value('show synchronous_standby_names')
    leader.sql("alter system set synchronous_standby_names = ''")
    leader.sql('select pg_reload_conf()')
    told(leader, 'synchronous_standby_names: it ', 15)
    wait_for('our list', lambda: leader.value('show synchronous_standby_names') == names, 5)
    wait_for('/primary', lambda: leader.rest.status('/primary') == 200, 5)
    assert cluster.leader() is leader

    # A tool under the name of a member, in other letters: ended as often as it comes, and counted.
    received = bench.folder / 'received'
    received.mkdir(mode=0o777)
    tool = subprocess.Popen([postgres_bin() / 'pg_receivewal', '-D', received, '--synchronous',
                             '-d', leader.conninfo('replicator', application_name=n2.name.upper())],
                            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for('it ended', lambda: leader.rest.metric('pgkeep_walsenders_ended_total') >= 1, 30)
    finally:
        tool.kill()
        tool.wait()
    told(leader, f'a walsender without a slot of user replicator from 127.0.0.1 under the name of {n2.name.upper()}', 5)

    # Who forgets what it flushed is not counted on.
    n3.sql('alter system set fsync = off')
    n3.sql('select pg_reload_conf()')
    wait_cohort(cluster, [n2], 20)
    told(n3, 'fsync = off in ')

    leader.sql('create role app')
    leader.sql('alter role app set synchronous_commit = off')
    leader.sql('alter database postgres set synchronous_commit = local')
    leader.sql('alter system set synchronous_commit = remote_write')
    told(leader, 'ALTER ROLE app SET synchronous_commit = off')
    told(leader, 'ALTER DATABASE postgres SET synchronous_commit = local', 5)
    told(leader, 'synchronous_commit = remote_write in ', 5)
    assert {r: leader.rest.metric('pgkeep_promise_broken', reason=r) for r in ('synchronous_commit', 'standby_names', 'durability', 'override', 'walsender')} == {
        'synchronous_commit': 3, 'standby_names': 1, 'durability': 0, 'override': 0, 'walsender': 1}
    assert leader.rest.get('/cluster').status == 200
    wait_for('the member key', lambda: 'broken' in cluster.member(leader.name), 10)
    listed = n2.ctl('list').stdout
    assert f' Promise broken on {leader.name}: ALTER ROLE app SET synchronous_commit = off\n' in listed, listed
    assert f' Promise broken on {n3.name}: fsync = off in ' in listed, listed
    assert len(leader.log.lines(r'ALTER ROLE app .* event=promise\.broken')) == 1
    checked = bench.run(['pgkeep', 'check', '-i', leader.yml], leader.folder)
    assert checked.returncode == 0, checked.stdout
    assert 'synchronous_mode: ALTER ROLE app SET synchronous_commit = off: commits are acknowledged that no standby' in checked.stdout

    # What is gone is no longer told; what has happened is, for an hour.
    leader.sql('alter role app reset synchronous_commit')
    leader.sql('alter database postgres reset synchronous_commit')
    leader.sql('alter system reset synchronous_commit')
    n3.sql('alter system reset fsync')
    n3.sql('select pg_reload_conf()')
    wait_cohort(cluster, [n2, n3], 20)
    wait_for('the end of it', lambda: {r for r, _ in broken(leader)} == {'standby_names', 'walsender'}, LOOK_S)
    wait_for('the end of it', lambda: broken(n3) == set(), LOOK_S)
    assert leader.log.lines(r'no longer: ALTER ROLE app .* event=promise\.mended')
    assert cohort(cluster) == sorted([n2.name, n3.name])
