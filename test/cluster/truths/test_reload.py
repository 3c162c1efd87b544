"""What a reload of the configuration does, and what it does not."""
import os
import signal

import pytest

from lab.group import FENCE
from lab.server import DEADLINE_S
from lab.wait import wait_for


def names(server):
    """(value, file's name) of the list in force for a new connection."""
    value, file = server.setting('synchronous_standby_names')
    return value, file.rpartition('/')[2]


WRONG = {'syntax': 'this is not a setting', 'unknown': 'no_such_parameter = 1', 'include': "include 'missing.conf'",
         'quote': "work_mem = '4MB"}


@pytest.mark.parametrize('line', WRONG.values(), ids=WRONG)
def test_error_anywhere_and_the_reload_applies_nothing(servers, line):
    """The file says fence, the load time stands still, and commits go on being acknowledged."""
    n1, _ = servers.group(1, names='ANY 1 (n2)')
    before = n1.load_time()
    n1.conf(synchronous_standby_names=FENCE, work_mem='5MB', **{'#wrong': line})
    n1.sighup()
    n1.log.wait('contains errors; no changes were applied', DEADLINE_S)
    assert n1.load_time() == before
    assert n1.setting('synchronous_standby_names')[0] == 'ANY 1 (n2)' and n1.value('show work_mem') == '4MB'
    assert n1.value('select count(*) from pg_file_settings where error is not null') > 0
    assert n1.insert('acknowledged').answer().ok


def test_wrong_value_and_the_load_time_moves_while_the_old_list_stays(servers):
    n1, _ = servers.group(1, names='ANY 1 (n2)')
    before = n1.load_time()
    n1.conf(synchronous_standby_names='ANY 1 (', work_mem='5MB')
    n1.sighup()
    n1.log.wait('contains errors; unaffected changes were applied', DEADLINE_S)
    wait_for('a newer load time', lambda: n1.load_time() != before, DEADLINE_S)
    assert n1.setting('synchronous_standby_names')[0] == 'ANY 1 (n2)' and n1.value('show work_mem') == '5MB'
    assert n1.sql("select name, applied from pg_file_settings where error is not null") == [('synchronous_standby_names', False)]
    assert n1.insert('acknowledged').answer().ok


def test_a_server_does_not_start_with_what_a_reload_refuses(servers):
    n1 = servers.one(synchronous_standby_names='ANY 1 (')
    n1.spawn()
    assert n1.wait_end() == 1
    assert 'invalid value for parameter "synchronous_standby_names"' in n1.log.text()


def test_session_reads_the_files_by_itself(servers):
    """What a session shows, load time included, is its own; who releases its commits may have another list."""
    n1, _ = servers.group(1, names='ANY 1 (n2)')
    client = n1.session()
    before = client.value('select pg_conf_load_time()')
    n1.conf(synchronous_standby_names=FENCE)
    os.kill(client.pid, signal.SIGHUP)
    wait_for('the session to have read', lambda: client.value('select pg_conf_load_time()') != before, DEADLINE_S)
    assert client.value('show synchronous_standby_names') == FENCE
    assert client.ask("insert into rows values ('acknowledged')").ok
    assert n1.session().value('show synchronous_standby_names') == 'ANY 1 (n2)'


def test_session_forked_before_the_reload_proves_nothing_about_the_postmaster(servers):
    """It has read the file, and shows a time after its own start; the postmaster has been told and has told nobody."""
    n1, _ = servers.group(1, names='ANY 1 (n2)')
    client = n1.session()
    before = client.value('select pg_conf_load_time()')
    n1.conf(synchronous_standby_names=FENCE)
    n1.signal(signal.SIGSTOP)
    n1.signal(signal.SIGHUP)
    os.kill(client.pid, signal.SIGHUP)
    wait_for('the session to have read', lambda: client.value('select pg_conf_load_time()') != before, DEADLINE_S)
    assert client.value("select backend_start < pg_conf_load_time() from pg_stat_activity where pid = pg_backend_pid()") == 't'
    assert client.ask("insert into rows values ('acknowledged')").ok
    n1.signal(signal.SIGCONT)
    fresh = wait_for('the fence', lambda: (s := n1.session()).value('show synchronous_standby_names') == FENCE and s, DEADLINE_S)
    assert fresh.value("select backend_start > pg_conf_load_time() from pg_stat_activity where pid = pg_backend_pid()") == 't'


def test_running_statement_keeps_the_settings_it_began_with(servers):
    n1 = servers.one(work_mem='4MB').start()
    client = n1.session().send("select pg_advisory_lock(1); select current_setting('work_mem')")
    holder = n1.session()
    assert client.answer().rows == [('4MB',)]
    holder.send("select pg_advisory_lock(1), current_setting('work_mem')")
    wait_for('the wait', lambda: n1.wait_event(holder.pid) == 'advisory', DEADLINE_S)
    n1.reload(work_mem='5MB')
    assert client.ask('select pg_advisory_unlock(1)').ok
    assert holder.answer().rows[0][1] == '4MB'
    assert holder.value('show work_mem') == '5MB'


def test_the_last_line_wins_and_auto_conf_is_the_last(servers):
    n1 = servers.one().start()
    n1.reload(synchronous_standby_names=FENCE)
    assert names(n1) == (FENCE, 'postgresql.conf')
    n1.write('override.conf', "synchronous_standby_names = 'ANY 1 (n2)'\n")
    n1.reload(include_if_exists='override.conf')
    assert names(n1) == ('ANY 1 (n2)', 'override.conf')
    # The floor below the include hides it.
    n1.reload(synchronous_standby_names=FENCE)
    assert list(n1.settings)[-2:] == ['include_if_exists', 'synchronous_standby_names']
    assert names(n1) == (FENCE, 'postgresql.conf')
    n1.reload(include_if_exists='override.conf')
    assert names(n1) == ('ANY 1 (n2)', 'override.conf')
    # And postgresql.auto.conf hides both, whoever wrote it.
    n1.sql("alter system set synchronous_standby_names = ''")
    n1.reloaded()
    assert names(n1) == ('', 'postgresql.auto.conf')
    n1.sql('alter system reset synchronous_standby_names')
    n1.reloaded()
    assert names(n1) == ('ANY 1 (n2)', 'override.conf')


def test_alter_system_can_be_forbidden_but_its_file_is_still_read(servers):
    n1 = servers.one().start()
    if n1.version() < 170000:
        n1.conf(allow_alter_system='off')
        n1.sighup()
        n1.log.wait('contains errors; no changes were applied', DEADLINE_S)
        n1.conf(allow_alter_system=None)
    else:
        n1.reload(allow_alter_system='off')
        assert n1.session().ask("alter system set work_mem = '5MB'").sqlstate == '0A000'
    n1.write('postgresql.auto.conf', "synchronous_standby_names = 'ANY 1 (n2)'\n")
    n1.reload(synchronous_standby_names=FENCE)
    assert names(n1) == ('ANY 1 (n2)', 'postgresql.auto.conf')


@pytest.mark.parametrize('how', ['removed', 'emptied', 'unreadable'])
def test_lost_override_falls_back_to_the_fence_below_it(servers, how):
    """Nobody is released, no error is seen, and no commit is acknowledged any more."""
    n1, n2 = servers.group(1)
    n1.write('override.conf', "synchronous_standby_names = 'ANY 1 (n2)'\n")
    n1.reload(synchronous_standby_names=FENCE, include_if_exists='override.conf')
    assert n1.insert('acknowledged').answer().ok
    n2.freeze()
    client = n1.insert('waiting')
    n1.wait_sync(client)
    if how == 'removed':
        (n1.data / 'override.conf').unlink()
    elif how == 'emptied':
        n1.write('override.conf', '')
    else:
        (n1.data / 'override.conf').chmod(0)
    n1.reloaded()
    assert names(n1) == (FENCE, 'postgresql.conf')
    assert n1.value('select count(*) from pg_file_settings where error is not null') == 0
    n1.hold_sync(client)
    n2.reload(**n2.upstream(n1))
    n1.wait_streaming(n2)
    n1.nudge()
    n1.hold_sync(client)


def test_alter_system_reset_acknowledges_waiters_where_no_floor_is(servers):
    n1 = servers.one().start()
    n1.sql('create table rows (of text)')
    n1.sql(f"alter system set synchronous_standby_names = '{FENCE}'")
    n1.reloaded()
    client = n1.insert('waiting')
    n1.hold_sync(client)
    n1.sql('alter system reset synchronous_standby_names')
    n1.reloaded()
    assert client.answer().ok


def test_alter_system_writes_back_the_whole_file_it_read(servers):
    """
    A change of another's that comes between is lost, comments too. The reading is stretched here by a pipe in the
    file's place.
    """
    n1 = servers.one().start()
    auto = n1.data / 'postgresql.auto.conf'
    n1.write('postgresql.auto.conf', "# why\nsynchronous_standby_names = 'ANY 1 (n2)'\n")
    old = auto.read_text()
    auto.unlink()
    os.mkfifo(auto)
    n1.bench.own(auto)
    client = n1.session().send("alter system set work_mem = '5MB'")
    pipe = _open_for(auto)
    # It has opened the file. Now the agent's change, on disk as a whole before ALTER SYSTEM has read the old text.
    n1.write('postgresql.auto.conf', f"synchronous_standby_names = '{FENCE}'\n")
    os.write(pipe, old.encode())
    os.close(pipe)
    assert client.answer().ok
    text = auto.read_text()
    assert "'ANY 1 (n2)'" in text and FENCE not in text and 'work_mem' in text and 'why' not in text


def _open_for(pipe):
    """The writing end, once somebody has opened the other."""
    def try_it():
        return os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
    return wait_for('a reader of the pipe', try_it, DEADLINE_S, every_s=0.005)


def test_alter_system_fails_while_its_file_is_wrong(servers):
    n1 = servers.one().start()
    n1.write('postgresql.auto.conf', 'this is not a setting\n')
    assert n1.session().ask("alter system set work_mem = '5MB'").sqlstate == 'F0000'
