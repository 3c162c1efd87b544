"""The command line for a person at a terminal: colours, progress, Ctrl-C, passwords; and for a pipe, without them."""
import signal

import pytest
import yaml

from lab.bench import ok
from lab.logfile import Log
from lab.stub import PREFIX
from lab.wait import holds_for, wait_for

HEALTHY = '\x1b[32mrunning\x1b[0m'
CLEAR = '\x1b[2J'


@pytest.mark.parametrize('verb', ['list', 'topology'])
def test_list_has_colours_on_a_terminal(stubs, verb):
    with stubs.terminal(verb) as terminal:
        assert terminal.end() == 0
    assert HEALTHY in terminal.text and '\x1b[1mLeader\x1b[0m' in terminal.text
    assert terminal.plain.replace('\r', '') == ok(stubs.ctl(verb)), 'colours and nothing else'


@pytest.mark.parametrize('environment', [{'NO_COLOR': '1'}, {'TERM': 'dumb'}], ids=['NO_COLOR', 'dumb'])
def test_list_has_no_colours_where_they_are_not_wanted(stubs, environment):
    with stubs.terminal('list', environment=environment) as terminal:
        assert terminal.end() == 0
    assert 'Leader' in terminal.text and '\x1b' not in terminal.text


def test_colours_can_be_forced_on_a_pipe(stubs):
    assert HEALTHY in ok(stubs.ctl('list', environment={'CLICOLOR_FORCE': '1'}))
    assert '\x1b' not in ok(stubs.ctl('list', environment={'CLICOLOR_FORCE': '1', 'NO_COLOR': '1'}))


def test_difference_is_coloured_on_a_terminal(stubs):
    with stubs.terminal('edit-config', '-s', 'ttl=31') as terminal:
        terminal.answer(r'Apply these changes\? \[y/N\]: ', 'n')
        assert terminal.end() == 1
    assert '\x1b[31m-ttl: 30\x1b[0m' in terminal.text and '\x1b[32m+ttl: 31\x1b[0m' in terminal.text


def test_watched_list_is_drawn_anew_until_it_is_interrupted(stubs):
    with stubs.terminal('list', '-w', '0.2') as terminal:
        terminal.see('s2 .* running')
        stubs.members[1].publish(state='stopped')
        terminal.see('s2 .* stopped')
        assert terminal.text.count(CLEAR) >= 2
        terminal.interrupt()
        assert terminal.end() == -signal.SIGINT
    assert 'Error' not in terminal.text


def test_watched_list_outlives_the_store(stubs):
    with stubs.terminal('list', '-W') as terminal:
        terminal.see('s2 .* running')
        stubs.store.stop()
        terminal.see('Error: store', 40)
        stubs.store.start()
        terminal.see('s2 .* running', 40)


def test_watch_on_a_pipe_has_no_screen(stubs):
    log = Log(stubs.folder / 'watch.log')
    process = stubs.bench.spawn(stubs.command('list', '-w', '0.2', '-f', 'tsv'), stubs.folder, log.path)
    wait_for('several looks', lambda: len(log.lines('^stub\ts1\t')) >= 3, 20)
    process.send_signal(signal.SIGINT)
    assert process.wait(10) == -signal.SIGINT
    assert '\x1b' not in log.text() and 'Error' not in log.text()


@pytest.mark.parametrize('arguments, member_i, question, shown', [
    (('switchover', '--force'), 0, 'POST /switchover', 'switching over'),
    (('failover', '--candidate', 's2', '--force'), 0, 'POST /failover', 'failing over'),
    (('restart', 's2', '--force'), 1, 'POST /restart', 'restarting s2'),
], ids=['switchover', 'failover', 'restart'])
def test_progress_is_shown_on_a_terminal_only(stubs, arguments, member_i, question, shown):
    member = stubs.members[member_i]
    member.answers[question] = (200, 'done')
    member.hold()
    with stubs.terminal(*arguments) as terminal:
        terminal.see(f'Cluster stub: .*{member.name}.*\r\n')  # what it is about to touch
        terminal.see(rf'{shown} … 1 s')
        terminal.see(rf'{shown} … 2 s')
        member.go_on.set()
        assert terminal.end() == 0
    assert terminal.text.rpartition('…')[2].startswith(' 2 s\r\x1b[K'), 'the line is erased'

    member.hold()
    log = Log(stubs.folder / 'pipe.log')
    process = stubs.bench.spawn(stubs.command(*arguments), stubs.folder, log.path)
    log.wait(rf'^Cluster stub: .*{member.name}', 20)
    holds_for('no progress on a pipe', lambda: '…' not in log.text(), 1.5)
    member.go_on.set()
    assert process.wait(20) == 0
    assert '\x1b' not in log.text() and '…' not in log.text()


def test_pause_shows_that_it_waits_and_for_whom_it_waited_in_vain(stubs):
    stubs.store.put(PREFIX + 'config', '{"ttl":30,"loop_wait":3}')
    stubs.members[0].answers['PATCH /config'] = (200, '{}')
    with stubs.terminal('pause', '--wait') as terminal:
        terminal.see('Cluster stub: pausing, asking s1 at http://')
        terminal.see("'pause' request sent, waiting until it is recognized by all nodes")
        stubs.members[0].publish(pause=True)
        stubs.members[1].publish()  # alive, and not paused
        terminal.see('waiting for all members … 2 s')
        terminal.see("s2 members didn't recognized pause state after 3 seconds")
        assert terminal.end() == 1


def test_reinit_shows_how_far_the_clone_is(stubs):
    member = stubs.members[1]
    member.answers['POST /reinitialize'] = (200, 'reinitialize started')
    member.answers['GET /patroni'] = (200, '{"state": "creating replica"}')
    with stubs.terminal('reinit', 'stub', 's2', '--wait', '--force') as terminal:
        terminal.see('Cluster stub: reinitializing s2 .127.0.0.1:5432.')
        terminal.see('Success: reinitialize for member s2')
        terminal.see('Waiting for reinitialize to complete on: s2')
        member.publish(state='creating replica', pgkeep={'v': 1, 'clone': {'done': 42 << 20, 'total': 100 << 20}})
        terminal.see('reinitializing s2 42% … [5-9] s')  # the clock runs on from look to look
        member.answers['GET /patroni'] = (200, '{"state": "running"}')
        terminal.see('Reinitialize is completed on: s2')
        assert terminal.end() == 0


def test_password_is_not_shown_and_ctrl_c_gives_the_terminal_back(two_nodes):
    _, leader = two_nodes
    arguments = ('query', '--password', '-U', 'postgres', '-d', 'postgres', '-c', 'select 6 * 7 as answer')
    with leader.ctl_terminal(*arguments) as terminal:
        terminal.see('Password: ')
        wait_for('no echo', lambda: not terminal.echoes(), 10)
        terminal.type('superuser-secret\n')
        terminal.see('answer\r\n42\r\n')
        assert terminal.end() == 0
    assert 'superuser-secret' not in terminal.text
    with leader.ctl_terminal(*arguments) as terminal:
        terminal.see('Password: ')
        wait_for('no echo', lambda: not terminal.echoes(), 10)
        terminal.interrupt()
        terminal.see('Aborted!')
        assert terminal.echoes()
        assert terminal.end() == 1


def test_ctrl_c_in_the_editor_is_the_editors(stubs):
    editor = stubs.bench.write(stubs.folder / 'editor', '#!/bin/sh\necho editing\nexec sleep 60\n', 0o700)
    with stubs.terminal('edit-config', environment={'EDITOR': str(editor)}) as terminal:
        terminal.see('editing')
        terminal.interrupt()
        terminal.see('Editor was ended by signal 2')
        assert terminal.end() == 1
    assert not list(stubs.folder.glob('*-config-*')), 'the edited file stays behind'
    stubs.bench.write(editor, '#!/bin/sh\ntrap : INT\necho editing\nread x\necho ttl: 31 >"$1"\n', 0o700)
    with stubs.terminal('edit-config', environment={'EDITOR': str(editor)}) as terminal:
        terminal.see('editing')
        terminal.interrupt()
        terminal.answer(r'Apply these changes\? \[y/N\]: ', 'y')
        terminal.see('Configuration changed')
        assert terminal.end() == 0
    assert yaml.safe_load(stubs.store.get(PREFIX + 'config')) == {'ttl': 31}


def test_editor_has_the_signals_of_every_program(stubs):
    note = stubs.folder / 'signals'
    ok(stubs.ctl('edit-config', environment={'EDITOR': f"sh -c 'grep SigIgn /proc/self/status >{note}'"}))
    ignored = int(note.read_text().split()[1], 16)
    assert not ignored & 1 << signal.SIGPIPE - 1 and not ignored & 1 << signal.SIGINT - 1


def test_real_list_and_switchover_on_a_terminal(two_nodes):
    cluster, leader = two_nodes
    replica = cluster.others(leader)[0]
    with leader.ctl_terminal('switchover') as terminal:
        terminal.see('Current cluster topology')
        terminal.answer(rf'Primary \[{leader.name}\]: ', '')
        terminal.answer(rf"Candidate \['{replica.name}'\] \[\]: ", replica.name)
        terminal.answer(r'When should the switchover take place \(e\.g\. [-0-9]+T\d\d:\d\d \)  \[now\]: ', '')
        terminal.answer(f'switchover cluster myapp-cluster, demoting current leader {leader.name}\\? \\[y/N\\]: ', 'n')
        assert terminal.end() == 1
    assert HEALTHY in terminal.text
    assert 'Error: Aborting switchover' in terminal.text
    assert cluster.leader() is leader
