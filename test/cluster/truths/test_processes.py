"""What is left of a server whose postmaster ends, and how long it takes to end."""
import os
import signal
import struct
import time

from lab import proc
from lab.server import DEADLINE_S, SEGMENT, lsn
from lab.wait import holds_for, wait_for

BUSY = """do $$ declare until timestamptz = clock_timestamp() + '%s s';
          begin while clock_timestamp() < until loop end loop; end $$; """


def kill_postmaster(server):
    """SIGKILL to it alone; it is reaped."""
    server.signal(signal.SIGKILL)
    server.process.wait(DEADLINE_S)


def pids(server):
    return [p.pid for p in proc.below(server.data) if p.program == 'postgres']


def ids(pid):
    """(process group, session) of a process."""
    with open(f'/proc/{pid}/stat', encoding='utf-8') as file:
        return tuple(int(n) for n in file.read().rpartition(')')[2].split()[2:4])


def busy_insert(server, seconds=1):
    """A client whose backend computes for a while and then inserts a row."""
    client = server.session().send(BUSY % seconds + "insert into rows values ('orphan')")
    wait_for('a busy backend', lambda: server.value("select state = 'active' and wait_event is null from pg_stat_activity "
                                                    'where pid = %s', client.pid), DEADLINE_S)
    return client


def test_busy_backend_outlives_the_postmaster_and_acknowledges(servers):
    n1 = servers.one().start()
    n1.sql('create table rows (of text)')
    client = busy_insert(n1)
    kill_postmaster(n1)
    assert client.pid in pids(n1)
    assert client.answer().tag == 'INSERT 0 1'
    wait_for('the end of all', lambda: not pids(n1), DEADLINE_S)
    n1.start()
    assert n1.has('orphan')


def test_orphaned_backend_is_not_acknowledged_where_it_must_wait_for_a_standby(servers):
    """The wait ends with the postmaster: no success is told. The row is there after the restart."""
    n1, n2 = servers.group(1, names='ANY 1 (n2)')
    client = busy_insert(n1)
    kill_postmaster(n1)
    assert not client.answer().ok
    wait_for('the end of all', lambda: not pids(n1), DEADLINE_S)
    assert not n2.has('orphan')
    n1.start()
    assert n1.has('orphan')


def test_idle_processes_end_with_the_postmaster(servers):
    """Backends and walsenders that wait are gone at once; so is the standby's connection."""
    n1, n2 = servers.group(1)
    n1.session()
    kill_postmaster(n1)
    wait_for('the end of all', lambda: not pids(n1), DEADLINE_S)
    n2.wait_receiver_gone()


def test_stopped_walsender_outlives_the_postmaster(servers):
    """… until it runs again; its standby believes in the connection meanwhile."""
    n1, n2 = servers.group(1)
    sender = n1.sender('n2')['pid']
    os.kill(sender, signal.SIGSTOP)
    kill_postmaster(n1)
    wait_for('the end of the others', lambda: pids(n1) == [sender], DEADLINE_S)
    assert n2.value('select status from pg_stat_wal_receiver') == 'streaming'
    os.kill(sender, signal.SIGCONT)
    wait_for('the end of all', lambda: not pids(n1), DEADLINE_S)


def test_every_child_is_a_session_of_its_own(servers):
    """A signal to the postmaster's process group reaches nobody else."""
    n1, _ = servers.group(1)
    client = n1.session()
    children = [pid for pid in pids(n1) if pid != n1.process.pid]
    assert client.pid in children and n1.sender('n2')['pid'] in children
    assert all(ids(pid) == (pid, pid) for pid in children)


def test_no_start_while_an_orphan_lives(servers):
    n1 = servers.one().start()
    client = n1.session()
    os.kill(client.pid, signal.SIGSTOP)
    kill_postmaster(n1)
    wait_for('the end of the others', lambda: pids(n1) == [client.pid], DEADLINE_S)
    n1.spawn()
    assert n1.wait_end() == 1
    assert 'pre-existing shared memory block' in n1.log.text()
    os.kill(client.pid, signal.SIGCONT)
    wait_for('the end of all', lambda: not pids(n1), DEADLINE_S)
    n1.start()


def test_no_start_while_the_killed_postmaster_is_not_reaped(servers):
    """All its children are gone; the lock files name a process that is there, though dead."""
    n1 = servers.one().start()
    old = n1.process
    n1.signal(signal.SIGKILL)
    wait_for('the end of the children', lambda: not pids(n1), DEADLINE_S)
    n1.process = None
    n1.spawn()
    assert n1.wait_end() == 1
    assert n1.log.lines(r'lock file ".*" already exists')
    old.wait(DEADLINE_S)
    n1.start()


def test_immediate_stop_waits_five_seconds_for_a_stopped_backend(servers):
    n1 = servers.one().start()
    client = n1.session()
    os.kill(client.pid, signal.SIGSTOP)
    began = time.monotonic()
    n1.stop('immediate')
    assert time.monotonic() - began > 4.5
    assert not pids(n1)


def test_fast_stop_ships_the_shutdown_checkpoint(servers):
    """The standby has the old primary's last record, and both stand at the same position."""
    n1, n2 = servers.group(1)
    n1.insert('last').answer()
    n1.stop()
    n2.wait_receiver_gone()
    assert n1.control('Database cluster state') == 'shut down'
    checkpoint = lsn(n1.control('Latest checkpoint location'))
    with open(n1.data / 'pg_wal' / n1.control("Latest checkpoint's REDO WAL file"), 'rb') as wal:
        wal.seek(checkpoint % SEGMENT)
        length = struct.unpack('<I', wal.read(4))[0]
    end = checkpoint + (length + 7) // 8 * 8
    wait_for('the replay', lambda: lsn(n2.value('select pg_last_wal_replay_lsn()')) == end, DEADLINE_S)
    assert n2.position() == end and n2.has('last')


def test_fast_stop_waits_for_a_standby_that_does_not_answer(servers):
    """The shutdown checkpoint is written, no client is left, and the postmaster stays until wal_sender_timeout."""
    n1, n2 = servers.group(1)
    receiver = n2.receiver()
    os.kill(receiver, signal.SIGSTOP)
    n1.signal(signal.SIGINT)
    wait_for('the shutdown checkpoint', lambda: n1.control('Database cluster state') == 'shut down', DEADLINE_S)
    holds_for('the wait', lambda: n1.process.poll() is None and n1.pid_of('walsender'), 1)
    os.kill(receiver, signal.SIGCONT)
    n1.wait_end()


def test_fast_stop_ends_waits_for_a_standby_without_success(servers):
    n1, n2 = servers.group(1, names='ANY 1 (n2)')
    n2.freeze()
    client = n1.insert('waiting')
    n1.wait_sync(client)
    n1.stop()
    assert not client.answer().ok
    n1.start()
    assert n1.has('waiting') and not n2.has('waiting')
