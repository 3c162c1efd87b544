"""What pg_rewind does to a directory beside rewinding it, and when it does not."""
import os
import signal

from lab import proc
from lab.group import FENCE
from lab.relay import Relay
from lab.server import DEADLINE_S
from lab.wait import wait_for


def diverged(servers, **settings):
    """[n1, n2]: n2 was promoted without n1's last row, has one of its own and a checkpoint; n1 is stopped in good order."""
    n1, n2 = servers.group(1, **settings)
    n2.freeze()
    n1.sql("insert into rows values ('of n1')")
    n2.promote()
    n2.sql("insert into rows values ('of n2')")
    n1.stop()
    return n1, n2


def rewind(target, source, *more):
    """The CompletedProcess of pg_rewind against the running source."""
    return target.tool('pg_rewind', '-D', target.data, '--source-server', source.conninfo(), *more)


def test_rewind_takes_the_signal_file_and_the_configuration_of_the_source(servers):
    """What would be started next is a primary with the leader's list and the leader's upstream."""
    n1, n2 = diverged(servers)
    n2.sql('checkpoint')
    n2.sql("alter system set synchronous_standby_names = 'ANY 1 (n1, n3)'")
    n1.follow(n2)
    n1.conf(synchronous_standby_names=FENCE)
    n1.write('postgresql.auto.conf', "primary_conninfo = ''\n")
    done = rewind(n1, n2)
    assert done.returncode == 0 and 'Done!' in done.stderr, done
    assert not (n1.data / 'standby.signal').exists()
    for file in ('postgresql.conf', 'postgresql.auto.conf'):
        assert (n1.data / file).read_text() == (n2.data / file).read_text()
    # With its own files again it follows.
    n1.write('postgresql.auto.conf', '')
    n1.follow(n2)
    n1.start()
    n2.wait_streaming(n1)
    n2.wait_replayed(n1)
    assert n1.has('of n2') and not n1.has('of n1')


def test_rewound_directory_starts_as_a_primary(servers):
    """By hand or by the distribution's unit, before anybody has made it a standby: it ends recovery and opens."""
    n1, n2 = diverged(servers)
    n2.sql('checkpoint')
    n1.write('standby.signal', '')
    assert rewind(n1, n2).returncode == 0
    n1.conf()  # its own port
    n1.start()
    assert not n1.in_recovery()
    assert n1.has('of n2')
    assert n1.insert('acknowledged').answer().ok


def test_rewind_of_a_crashed_server_with_a_signal_file_fails(servers):
    """It has to recover first, which it does with a single-user server, and that one refuses."""
    n1, n2 = servers.group(1)
    n2.freeze()
    n1.sql("insert into rows values ('of n1')")
    n2.promote()
    n2.sql('checkpoint')
    n1.crash()
    n1.write('standby.signal', '')
    done = rewind(n1, n2)
    assert done.returncode != 0 and 'standby mode is not supported by single-user servers' in done.stderr, done
    (n1.data / 'standby.signal').unlink()
    done = rewind(n1, n2)
    assert done.returncode == 0 and 'Done!' in done.stderr, done


def test_rewind_of_a_server_that_runs_is_refused(servers):
    n1, n2 = servers.group(1)
    n2.freeze()
    n1.sql("insert into rows values ('of n1')")
    n2.promote()
    n2.sql('checkpoint')
    done = rewind(n1, n2)
    assert done.returncode != 0, done
    assert n1.has('of n1')


def test_rewind_against_a_source_just_promoted(servers):
    """Before 16 it reads the old timeline from the source's pg_control and does nothing; the two have diverged."""
    n1, n2 = servers.group(1)
    n2.freeze()
    n1.sql("insert into rows values ('of n1')")
    n1.stop()
    checkpointer = n2.pid_of('checkpointer')
    os.kill(checkpointer, signal.SIGSTOP)
    n2.promote()
    n2.sql("insert into rows values ('of n2')")
    done = rewind(n1, n2)
    os.kill(checkpointer, signal.SIGCONT)
    assert done.returncode == 0, done
    if n2.version() < 160000:
        assert 'no rewind required' in done.stderr, done
    else:
        assert 'Done!' in done.stderr, done
        n1.conf()
        n1.follow(n2)
        n1.start()
        n2.wait_streaming(n1)
        n2.wait_replayed(n1)
        assert n1.has('of n2') and not n1.has('of n1')


def test_rewind_that_is_cut_off_cannot_be_repeated(servers):
    """
    The signal file is gone, the WAL that a comparison needs is gone, no mark tells, and pg_control says that the server
    was shut down in good order. Whoever kept that WAL aside can repeat it.
    """
    n1, n2 = diverged(servers, wal_keep_size='1GB')
    n2.sql("create table big as select repeat('x', 1000) as of from generate_series(1, 20000)")
    n2.sql('checkpoint')
    n1.write('standby.signal', '')
    before = n1.control('Latest checkpoint location')
    wal = n1.data / 'pg_wal/000000010000000000000001'
    kept = wal.read_bytes()
    with Relay(n2.port) as way:
        way.limit(12 << 20)
        tool = n1.spawn_tool('pg_rewind', '-D', n1.data, '--source-server', n2.conninfo() + f' port={way.port}')
        wait_for('a rewind half done', lambda: not (n1.data / 'standby.signal').exists() and not wal.stat().st_size, DEADLINE_S)
        proc.send([tool.pid], signal.SIGKILL)
        tool.wait(DEADLINE_S)
    assert n1.control('Latest checkpoint location') == before
    assert n1.control('Database cluster state') == 'shut down'
    assert not (n1.data / 'backup_label').exists()
    done = rewind(n1, n2)
    assert done.returncode != 0 and 'could not read WAL record' in done.stderr, done
    wal.write_bytes(kept)
    done = rewind(n1, n2)
    assert done.returncode == 0 and 'Done!' in done.stderr, done
    n1.conf()
    n1.follow(n2)
    n1.start()
    n2.wait_streaming(n1)
    n2.wait_replayed(n1)
    assert n1.value('select count(*) from big') == 20000 and not n1.has('of n1')
