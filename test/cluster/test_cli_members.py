"""What is asked of members: reload, restart, flush, pause, switchover and failover; prompts, refusals, exit codes."""
import pytest

from lab.bench import ok, refused
from lab.stub import PREFIX as STUB_PREFIX
from lab.wait import holds_for, wait_for

CLUSTER = 'myapp-cluster'
FAR = '2099-01-01T00:00:00+00:00'


@pytest.fixture
def pair(two_nodes):
    """(cluster, leader, replica), healthy also after what was restarted last."""
    cluster, leader = two_nodes
    assert cluster.wait_healthy() is leader
    return cluster, leader, cluster.others(leader)[0]


def began(node):
    return node.value('select pg_postmaster_start_time()')


def setting(node, name):
    return node.value('select setting from pg_settings where name = %s', name)


def reload_sent(node):
    return f'Reload request received for member {node.name} and will be processed within 10 seconds\n'


# --- reload


def test_reload_of_one_member_and_of_all(pair):
    cluster, leader, replica = pair
    for node in cluster.nodes:
        node.change_yml({'postgresql': {'parameters': {'work_mem': '5MB'}}})
    done = leader.ctl('reload', CLUSTER, replica.name, '--force')
    assert reload_sent(replica) in ok(done) and reload_sent(leader) not in done.stdout
    assert f'Cluster {CLUSTER}: reloading {replica.name} ({replica.address}:{replica.pg_port})' in done.stderr
    wait_for('work_mem of the replica', lambda: setting(replica, 'work_mem') == '5120', 15)
    assert setting(leader, 'work_mem') == '4096'
    done = leader.ctl('reload', CLUSTER, stdin='y\n')
    assert reload_sent(replica) in ok(done) and reload_sent(leader) in done.stdout
    wait_for('work_mem of the leader', lambda: setting(leader, 'work_mem') == '5120', 15)
    for node in cluster.nodes:
        node.change_yml({'postgresql': {'parameters': {'work_mem': None}}})
    ok(leader.ctl('reload', CLUSTER, '--role', 'any', '--force'))
    wait_for('the default', lambda: {setting(node, 'work_mem') for node in cluster.nodes} == {'4096'}, 15)


def test_reload_is_for_a_role_and_needs_a_yes(pair):
    _, leader, replica = pair
    done = leader.ctl('reload', CLUSTER, '--role', 'replica', stdin='n\n')
    assert 'Aborted reload' in refused(done)
    assert f'Are you sure you want to reload members {replica.name}? [y/N]: ' in done.stdout
    assert 'Aborted!' in refused(leader.ctl('reload', CLUSTER))


def test_reload_of_a_broken_file_fails(pair):
    _, leader, replica = pair
    text = replica.yml.read_text()
    replica.bench.write(replica.yml, text.replace('scope:', 'scope: ['))
    done = leader.ctl('reload', CLUSTER, replica.name, '--force')
    replica.bench.write(replica.yml, text)
    assert done.returncode == 1 and f'Failed: reload for member {replica.name}, status code=500' in done.stdout, done
    ok(leader.ctl('reload', CLUSTER, replica.name, '--force'))


# --- restart


def restarted(cluster, before):
    """The names of those whose PostgreSQL is another one than before, when all are well again."""
    cluster.wait_healthy()
    return {node.name for node in cluster.nodes if began(node) != before[node.name]}


@pytest.fixture
def before(pair):
    return {node.name: began(node) for node in pair[0].nodes}


def test_restart_of_a_role(pair, before):
    cluster, leader, replica = pair
    done = leader.ctl('restart', CLUSTER, '--role', 'replica', '--force')
    assert f'Success: restart on member {replica.name}\n' in ok(done)
    assert restarted(cluster, before) == {replica.name}


def test_restart_of_any_one(pair, before):
    cluster, leader, _ = pair
    assert ok(leader.ctl('restart', CLUSTER, '--any', '--force')).count('Success: restart on member') == 1
    assert len(restarted(cluster, before)) == 1


def test_restart_by_typed_answers(pair, before):
    cluster, leader, replica = pair
    done = leader.ctl('restart', CLUSTER, replica.name, stdin='\ny\n\n')
    out = ok(done)
    questions = ['When should the restart take place (e.g. ', ')  [now]: ',
                 f'Are you sure you want to restart members {replica.name}? [y/N]: ',
                 'Restart if the PostgreSQL version is less than provided (e.g. 9.5.2)  []: ',
                 f'Success: restart on member {replica.name}\n']
    places = [out.index(text) for text in questions]
    assert places == sorted(places), out
    assert restarted(cluster, before) == {replica.name}


@pytest.mark.parametrize('answers, said', [
    ('now\nn\n', 'Aborted restart'),
    ('now\ny\nnewest\n', 'Invalid PostgreSQL version format: X.Y or X.Y.Z is accepted: newest'),
    ('tomorrow\n', 'Unable to parse scheduled timestamp (tomorrow)'),
    (f'{FAR}\nn\n', 'Aborted scheduled restart'),
    ('now\n', 'Aborted!'),
], ids=['no', 'version', 'moment', 'not then', 'nobody'])
def test_restart_that_is_not_wanted_after_all(pair, before, answers, said):
    cluster, leader, replica = pair
    assert said in refused(leader.ctl('restart', CLUSTER, replica.name, stdin=answers))
    assert restarted(cluster, before) == set()


def test_restart_below_a_version(pair, before):
    cluster, leader, replica = pair
    done = leader.ctl('restart', CLUSTER, replica.name, '--pg-version', '9.6.24', '--force')
    assert done.returncode == 1 and f'Failed: restart for member {replica.name}, status code=503' in done.stdout, done
    assert restarted(cluster, before) == set()
    for version in ('9.6', '15', '15.', '1.2.3.4'):
        done = leader.ctl('restart', CLUSTER, replica.name, '--pg-version', version, '--force')
        assert f'X.Y or X.Y.Z is accepted: {version}' in refused(done), 'no member would take it either'
    ok(leader.ctl('restart', CLUSTER, replica.name, '--pg-version', '99.1', '--force'))
    assert restarted(cluster, before) == {replica.name}


def test_restart_with_a_timeout(pair, before):
    cluster, leader, replica = pair
    done = leader.ctl('restart', CLUSTER, replica.name, '--timeout', 'soon', '--force')
    assert done.returncode == 1 and 'status code=400' in done.stdout, done
    ok(leader.ctl('restart', CLUSTER, replica.name, '--timeout', '60', '--force'))
    assert restarted(cluster, before) == {replica.name}


def test_restart_of_pending_members(pair, before):
    cluster, leader, replica = pair
    assert 'No member has a restart pending' in ok(leader.ctl('restart', CLUSTER, '--pending', '--force'))
    assert restarted(cluster, before) == set()
    for change in ('96MB', None):
        replica.change_yml({'postgresql': {'parameters': {'shared_buffers': change}}})
        ok(leader.ctl('reload', CLUSTER, replica.name, '--force'))
        wait_for('pending restart', lambda: cluster.member(replica.name).get('pending_restart'), 15)
        out = ok(leader.ctl('restart', CLUSTER, '--pending', '--force'))
        assert f'Success: restart on member {replica.name}' in out and f'member {leader.name}' not in out
        wait_for('no pending restart', lambda: not cluster.member(replica.name).get('pending_restart'), 15)
    assert restarted(cluster, before) == {replica.name}


def test_restart_is_scheduled_once_and_anew_with_force(pair):
    cluster, leader, replica = pair

    def scheduled():
        return cluster.member(replica.name).get('scheduled_restart', {}).get('schedule')
    ok(leader.ctl('restart', CLUSTER, replica.name, stdin=f'{FAR}\ny\n\n'))
    wait_for('scheduled restart', lambda: scheduled() == FAR, 15)
    assert FAR in ok(leader.ctl('list'))
    done = leader.ctl('restart', CLUSTER, replica.name, stdin='2098-01-01T00:00:00+00:00\ny\n\n')
    assert done.returncode == 1, done
    assert f'Failed: another restart is already scheduled on member {replica.name}\n' in done.stdout
    ok(leader.ctl('restart', CLUSTER, replica.name, '--scheduled', '2098-01-01T00:00+00:00', '--force'))
    wait_for('the other moment', lambda: scheduled() == '2098-01-01T00:00:00+00:00', 15)
    assert 'Aborted flush' in refused(leader.ctl('flush', CLUSTER, replica.name, 'restart', stdin='n\n'))
    assert scheduled()
    done = leader.ctl('flush', CLUSTER, 'restart', stdin='y\n')
    assert f'Success: flush scheduled restart for member {replica.name}\n' in ok(done)
    assert f'No scheduled restart for member {leader.name}\n' in done.stdout
    wait_for('nothing scheduled', lambda: not scheduled(), 15)


def test_restart_in_the_past_fails(pair):
    _, leader, replica = pair
    done = leader.ctl('restart', CLUSTER, replica.name, '--scheduled', '2001-01-01T00:00+00:00', '--force')
    assert done.returncode == 1 and 'Failed: restart for member' in done.stdout, done


# --- switchover, failover


@pytest.mark.parametrize('verb, answers, said', [
    ('switchover', '{replica}\n', 'Member {replica} is not the leader of cluster myapp-cluster'),
    ('switchover', '\n{leader}\n', 'Member {leader} is already the leader of cluster myapp-cluster'),
    ('switchover', '\nnobody\n', 'Member nobody does not exist in cluster myapp-cluster or is tagged as nofailover'),
    ('switchover', '\n\ntomorrow\n', 'Unable to parse scheduled timestamp (tomorrow)'),
    ('switchover', '\n\nnow\nn\n', 'Aborting switchover'),
    ('switchover', '\n\n2099-01-01\nn\n', 'Aborting scheduled switchover'),
    ('switchover', '\n\n', 'Aborted!'),
    ('failover', '\n', 'Failover could be performed only to a specific candidate'),
    ('failover', '{leader}\n', 'Member {leader} is already the leader of cluster myapp-cluster'),
    ('failover', '{replica}\nn\n', 'Aborting failover'),
    ('failover', '', 'Aborted!'),
])
def test_change_of_leader_that_is_not_wanted_after_all(pair, verb, answers, said):
    cluster, leader, replica = pair
    names = {'leader': leader.name, 'replica': replica.name}
    done = leader.ctl(verb, stdin=answers.format(**names))
    assert said.format(**names) in refused(done)
    assert done.stdout.startswith('Current cluster topology\n+ Cluster: myapp-cluster (')
    assert cluster.leader() is leader


def test_switchover_asks_and_names_what_it_is_about_to_touch(two_nodes):
    cluster, leader = two_nodes
    candidate = cluster.others(leader)[0]
    done = leader.ctl('switchover', stdin=f'{leader.name}\n{candidate.name}\nnow\nn\n')
    assert done.returncode != 0
    assert CLUSTER in done.stdout and leader.name in done.stdout and candidate.name in done.stdout
    assert cluster.leader() is leader


def test_failover_names_who_is_demoted(pair):
    cluster, leader, replica = pair
    done = leader.ctl('failover', '--candidate', replica.name, stdin='n\n')
    assert f'Are you sure you want to failover cluster {CLUSTER}, demoting current leader {leader.name}? [y/N]: ' in done.stdout
    assert 'Primary' not in done.stdout.partition('\nAre you')[0].rpartition('+\n')[2], 'only a switchover asks for the leader'
    refused(done)
    assert cluster.leader() is leader


def test_scheduled_switchover_is_asked_for_shown_and_flushed(pair):
    cluster, leader, replica = pair
    assert ok(leader.ctl('flush', CLUSTER, 'switchover')).endswith('No pending scheduled switchover\n')
    done = leader.ctl('switchover', '--scheduled', FAR, stdin=f'\n{replica.name}\ny\n')
    assert (f'Are you sure you want to schedule switchover of cluster {CLUSTER} at {FAR}, '
            f'demoting current leader {leader.name}? [y/N]: ') in ok(done)
    assert 'Switchover scheduled' in done.stdout
    shown = ok(leader.ctl('list'))
    assert f' Switchover scheduled at: {FAR}\n' in shown
    assert f'{"from":>24}: {leader.name}\n{"to":>24}: {replica.name}\n' in shown
    done = leader.ctl('flush', CLUSTER, 'switchover')
    assert 'Success: ' in ok(done) and f'Cluster {CLUSTER}: discarding the scheduled switchover' in done.stderr
    assert 'Switchover scheduled' not in ok(leader.ctl('list'))
    assert cluster.leader() is leader


def test_switchover_in_the_past_fails(pair):
    cluster, leader, _ = pair
    done = leader.ctl('switchover', '--scheduled', '2001-01-01T00:00+00:00', '--force')
    assert done.returncode == 1 and 'Switchover failed, details: 422' in done.stdout, done
    assert cluster.leader() is leader


def test_members_that_do_not_answer_leave_the_store(stubs):
    """patronictl's way out: the request itself is put where the members look for it."""
    for member in stubs.members:
        member.close()
    done = stubs.ctl('switchover', '--candidate', 's2', '--scheduled', FAR, '--force')
    assert 'Could not switchover using Patroni api, falling back to DCS' in ok(done)
    assert stubs.store.get(STUB_PREFIX + 'failover') == f'{{"leader":"s1","member":"s2","scheduled_at":"{FAR}"}}'
    done = stubs.ctl('flush', 'stub', 'switchover')
    assert 'Could not find any accessible member of cluster stub' in ok(done)
    assert stubs.store.get(STUB_PREFIX + 'failover') == '{}'
    assert 'Can not find accessible cluster member' in refused(stubs.ctl('pause'))
    for verb in ('restart', 'reload'):
        done = stubs.ctl(verb, 'stub', 's2', '--force')
        assert done.returncode == 1 and f'Failed: {verb} for member s2, ' in done.stdout, done


@pytest.mark.parametrize('arguments, question, answer, said', [
    (('switchover', '--force'), 'POST /switchover', (503, 'no'), 'Switchover failed, details: 503, no'),
    (('failover', '--candidate', 's2', '--force'), 'POST /failover', (412, 'no'), 'Failover failed, details: 412, no'),
    (('pause',), 'PATCH /config', (409, 'no'), 'Failed: pause cluster management status code=409, (no)'),
    (('restart', 's1', '--force'), 'POST /restart', (503, 'no'), 'Failed: restart for member s1, status code=503, (no)'),
    (('reload', 's1', '--force'), 'POST /reload', (500, 'no'), 'Failed: reload for member s1, status code=500, (no)'),
    (('version', 'stub'), 'GET /patroni', (200, '{}'), 's1: failed to get version'),
])
def test_answer_that_says_no_is_shown_and_fails(stubs, arguments, question, answer, said):
    stubs.members[0].answers[question] = answer
    done = stubs.ctl(*arguments)
    assert done.returncode == 1 and said in done.stdout, done


def test_reload_without_a_change_says_so(stubs):
    stubs.members[1].answers['POST /reload'] = (200, '')
    assert 'No changes to apply on member s2\n' in ok(stubs.ctl('reload', 's2', '--force'))


def test_what_members_are_told(stubs):
    """The bodies that patronictl sends."""
    leader, replica = stubs.members
    leader.answers = {'POST /switchover': (200, 'done')}
    replica.answers = {'POST /restart': (200, 'done'), 'POST /reinitialize': (200, 'done')}
    ok(stubs.ctl('switchover', '--force'))
    ok(stubs.ctl('restart', 's2', '--pending', '--scheduled', FAR, '--pg-version', '16.1', '--timeout', '5', '--force'))
    ok(stubs.ctl('reinit', 'stub', 's2', '--force', '--from-leader'))
    assert leader.asked == [('POST /switchover', {'leader': 's1', 'candidate': None})]
    assert replica.asked == [
        ('POST /restart', {'restart_pending': True, 'postgres_version': '16.1', 'schedule': FAR, 'timeout': '5'}),
        ('POST /reinitialize', {'force': True, 'from_leader': True})]


def test_reinit_that_runs_already_is_cancelled_after_a_yes(stubs):
    replica = stubs.members[1]
    replica.answers['POST /reinitialize'] = (503, 'reinitialize already in progress')
    done = stubs.ctl('reinit', 'stub', stdin='s2\ny\nn\n')
    assert 'Which member do you want to reinitialize [s2]? []: ' in done.stdout
    assert 'Are you sure you want to reinitialize members s2? [y/N]: ' in done.stdout
    assert 'Do you want to cancel it and reinitialize anyway? [y/N]: ' in done.stdout
    refused(done)
    done = stubs.ctl('reinit', 'stub', 's2', stdin='y\ny\n')
    assert done.returncode == 1, done
    assert [body['force'] for _, body in replica.asked] == [False, False, True]


def test_reinit_of_the_leader_is_refused(two_nodes):
    cluster, leader = two_nodes
    before = (leader.data / 'PG_VERSION').stat().st_ino
    done = leader.ctl('reinit', CLUSTER, leader.name, '--force')
    assert done.returncode != 0 and done.stderr
    assert (leader.data / 'PG_VERSION').stat().st_ino == before
    assert cluster.leader() is leader


# --- pause


def test_pause_and_resume_wait_for_every_member(pair):
    cluster, leader, replica = pair
    out = ok(leader.ctl('pause', '--wait'))
    assert out == ("'pause' request sent, waiting until it is recognized by all nodes\n"
                   'Success: cluster management is paused\n')
    assert all(node.status().get('pause') is True for node in cluster.nodes)
    assert ' Maintenance mode: on\n' in ok(leader.ctl('list'))
    assert 'Cluster is already paused' in refused(leader.ctl('pause'))
    for verb in (('restart', CLUSTER, replica.name), ('switchover', '--leader', leader.name, '--candidate', replica.name)):
        done = leader.ctl(*verb, '--scheduled', FAR)
        assert f"Can't schedule {verb[0]} in the paused state" in refused(done)
    out = ok(leader.ctl('resume', '--wait'))
    assert out == ("'resume' request sent, waiting until it is recognized by all nodes\n"
                   'Success: cluster management is resumed\n')
    assert not any(node.status().get('pause') for node in cluster.nodes)
    assert 'Maintenance mode' not in ok(leader.ctl('list'))
    assert 'Cluster is not paused' in refused(leader.ctl('resume'))


# --- clusters of their own: the leader changes, a member is cloned


def test_switchover_and_failover_by_typed_answers(cluster_of):
    cluster = cluster_of(2)
    old = cluster.up()
    new = cluster.others(old)[0]
    out = ok(old.ctl('switchover', stdin='\n\n\ny\n'))
    assert f'Successfully switched over to "{new.name}"' in out
    assert cluster.wait_healthy() is new
    out = ok(old.ctl('failover', stdin=f'{old.name}\ny\n'))
    assert f'Successfully failed over to "{old.name}"' in out
    assert cluster.wait_healthy() is old


def test_reinit_waits_for_a_clone_of_the_leader(cluster_of):
    cluster = cluster_of(3)
    leader = cluster.up()
    first, second = cluster.others(leader)
    before = (first.data / 'PG_VERSION').stat().st_ino
    done = leader.ctl('reinit', CLUSTER, first.name, '--from-leader', '--wait', stdin='y\n')
    assert (f'Success: reinitialize for member {first.name}\nWaiting for reinitialize to complete on: {first.name}\n'
            f'Reinitialize is completed on: {first.name}\n') in ok(done)
    assert (f'Cluster {CLUSTER}: reinitializing {first.name} (127.0.0.1:{first.pg_port}); '
            "its data directory is replaced by a copy of the leader's") in done.stderr
    assert (first.data / 'PG_VERSION').stat().st_ino != before
    assert first.status()['state'] == 'running'
    assert cluster.wait_healthy() is leader
    out = ok(leader.ctl('reinit', CLUSTER, first.name, second.name, '--wait', '--force'))
    assert {f'Reinitialize is completed on: {node.name}' for node in (first, second)} <= set(out.splitlines())
    assert cluster.wait_healthy() is leader
