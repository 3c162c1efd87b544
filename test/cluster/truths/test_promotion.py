"""When a promotion happens, and when it cannot be stopped."""
import os
import signal

from lab.server import DEADLINE_S
from lab.wait import holds_for, wait_for


def wait_primary(server):
    wait_for(f'promotion of {server.name}', lambda: not server.in_recovery(), DEADLINE_S, every_s=0.01)


def test_promote_file_left_behind_fires_with_an_unrelated_signal(servers):
    """Here the postmaster is asked for a walreceiver."""
    _, n2 = servers.group(1)
    n2.bench.write(n2.data / 'promote', '')
    holds_for('the standby', n2.in_recovery, 0.5)
    os.kill(n2.receiver(), signal.SIGTERM)
    wait_primary(n2)
    assert not (n2.data / 'promote').exists()


def test_promote_file_is_removed_by_a_start(servers):
    _, n2 = servers.group(1)
    n2.stop()
    n2.bench.write(n2.data / 'promote', '')
    n2.start()
    assert not (n2.data / 'promote').exists()
    n2.signal(signal.SIGUSR1)
    holds_for('the standby', n2.in_recovery, 0.5)


def test_promote_file_removed_before_the_startup_process_looks_stops_the_promotion(servers):
    """The signal has been given and is without effect; it does not wait for another file either."""
    _, n2 = servers.group(1)
    startup = n2.pid_of('startup')
    os.kill(startup, signal.SIGSTOP)
    n2.trigger()
    # A postmaster that forks for a new connection has handled the signal before it.
    holds_for('the standby', n2.in_recovery, 0.3)
    (n2.data / 'promote').unlink()
    os.kill(startup, signal.SIGCONT)
    holds_for('the standby', n2.in_recovery, 1)


def test_promotion_signalled_behind_a_conflict_comes_when_that_ends(servers):
    """However late, and whatever was frozen meanwhile."""
    n1, n2 = servers.group(1, max_standby_streaming_delay='-1')
    query = n1.conflict_on(n2)
    n2.trigger()
    holds_for('the standby', n2.in_recovery, 1)
    n2.freeze()
    holds_for('the standby', n2.in_recovery, 0.5)
    query.close()
    wait_primary(n2)


def test_promotion_that_has_begun_is_not_revoked_by_a_freeze(servers, bench):
    """
    The file is gone, so that there is nothing to remove; the server is in recovery, and looks like any standby. What
    holds it here is a restore_command that is slow to say that there is no history file.
    """
    gate, waiting = bench.folder / 'gate', bench.folder / 'waiting'
    script = bench.write(bench.folder / 'restore', f'#!/bin/sh\ncase $1 in *.history)\n    : >{waiting}\n'
                         f'    while [ -e {gate} ]; do sleep 0.05; done\nesac\nexit 1\n', 0o755)
    bench.own(bench.folder)
    n1, n2 = servers.group(1, restore_command=f'{script} %f')
    waiting.unlink(missing_ok=True)
    bench.write(gate, '')
    n2.trigger()
    wait_for('a promotion under way', lambda: waiting.exists() and not (n2.data / 'promote').exists(), DEADLINE_S)
    n2.conf(primary_conninfo='', restore_command='')
    n2.reloaded()
    assert n2.setting('primary_conninfo')[0] == '' and not n2.receiver()
    holds_for('the standby', n2.in_recovery, 0.5)
    gate.unlink()
    wait_primary(n2)
    assert n1.insert('elsewhere').answer().ok


def test_promotion_that_pg_promote_gave_up_on_comes_later(servers):
    """It looks again and again until its time is over, and takes nothing back."""
    _, n2 = servers.group(1)
    startup = n2.pid_of('startup')
    os.kill(startup, signal.SIGSTOP)
    client = n2.session().send('select pg_promote(true, 1)')
    wait_for('the wait', lambda: n2.wait_event(client.pid) == 'Promote', DEADLINE_S)
    answer = client.answer()
    assert answer.rows == [('f',)] and [code for code, _ in answer.notices] == ['01000']
    assert n2.in_recovery()
    os.kill(startup, signal.SIGCONT)
    wait_primary(n2)


def test_promotion_ends_a_pause_and_replays_first(servers):
    n1, n2 = servers.group(1)
    n2.sql('select pg_wal_replay_pause()')
    wait_for('a paused replay', lambda: n2.value('select pg_get_wal_replay_pause_state()') == 'paused', DEADLINE_S)
    n1.sql("insert into rows values ('received')")
    n1.wait_streaming(n2)
    assert not n2.has('received')
    n2.promote()
    assert n2.has('received')


def test_promotion_waits_for_the_replay_of_what_was_received(servers):
    """A backlog is replayed to its end before the server is writable, however long that takes."""
    n1, n2 = servers.group(1)
    startup = n2.pid_of('startup')
    os.kill(startup, signal.SIGSTOP)
    n1.sql('insert into rows select n::text from generate_series(1, 100000) n')
    n1.sql("insert into rows values ('last')")
    n1.wait_streaming(n2)
    n2.trigger()
    holds_for('the standby', lambda: n2.in_recovery() and not n2.has('last'), 0.5)
    os.kill(startup, signal.SIGCONT)
    wait_primary(n2)
    assert n2.has('last')


def test_delayed_standby_promotes_with_what_it_has_received(servers):
    n1, n2 = servers.group(1)
    n2.reload(recovery_min_apply_delay='1h')
    n1.sql("insert into rows values ('delayed')")
    n1.wait_streaming(n2)
    assert not n2.has('delayed')
    n2.promote()
    assert n2.has('delayed')


def test_promotion_of_a_primary_leaves_its_file_behind(servers):
    """Nobody looks at it there; it waits for the next life as a standby, which removes it at its start."""
    n1, _ = servers.group(1)
    n1.trigger()
    n1.nudge()
    assert (n1.data / 'promote').exists()
    assert n1.session().ask('select pg_promote()').sqlstate == '55000'
