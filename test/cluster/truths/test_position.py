"""What the positions that a standby tells mean."""
import os
import signal
import struct

from lab.relay import Relay
from lab.server import DEADLINE_S, SEGMENT, lsn
from lab.wait import holds_for, wait_for

PAGE = 8192
# What the startup process waits for when it has replayed all there is: for the next try, or for its walreceiver.
AT_THE_END = ('RecoveryRetrieveRetryInterval', 'RecoveryWalStream')


def positions(standby):
    """(received, replayed) as numbers; None for NULL."""
    return tuple(lsn(p) for p in standby.sql('select pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn()')[0])


def wait_at_the_end(standby):
    startup = standby.pid_of('startup')
    wait_for('a startup process at the end of WAL', lambda: standby.wait_event(startup) in AT_THE_END, DEADLINE_S)


def page_timeline(standby, file, position):
    """The timeline in the header of the WAL page that holds a position of that file."""
    with open(standby.data / 'pg_wal' / file, 'rb') as wal:
        wal.seek((position - 1) % SEGMENT // PAGE * PAGE)
        _, _, timeline, address = struct.unpack('<HHIQ', wal.read(16))
    assert address == (position - 1) // PAGE * PAGE
    return timeline


def segment(timeline, position):
    """Name of the file that holds the last byte before the position."""
    return f'{timeline:08X}{(position - 1) >> 32:08X}{((position - 1) & 0xFFFFFFFF) // SEGMENT:08X}'


def test_received_position_is_kept_while_frozen(servers):
    n1, n2 = servers.group(1)
    end = positions(n2)[0]
    n2.freeze()
    n1.nudge()
    assert positions(n2) == (end, end)
    # What told the timeline of it is gone with the walreceiver.
    assert n2.sql('select * from pg_stat_wal_receiver') == []


def test_received_position_is_null_after_a_restart(servers):
    n1, n2 = servers.group(1)
    n1.sql("insert into rows values ('received')")
    n1.wait_replayed(n2)
    before = positions(n2)
    n2.conf(primary_conninfo='')
    n2.stop()
    n2.start()
    wait_at_the_end(n2)
    assert positions(n2) == (None, before[1])
    assert n2.has('received')


def test_received_position_is_the_start_of_the_segment_when_streaming_starts(servers):
    """Before anything was received, and while nobody answers."""
    n1, n2 = servers.group(1)
    n1.sql("insert into rows values ('received')")
    n1.wait_replayed(n2)
    replayed = positions(n2)[1]
    assert replayed % SEGMENT
    n1.stop()
    n2.stop()
    n2.start()
    received = wait_for('a position received', lambda: positions(n2)[0], DEADLINE_S)
    assert received == replayed // SEGMENT * SEGMENT < positions(n2)[1]


def test_received_position_stays_beyond_the_replayed_one_where_a_record_is_cut_off(servers):
    """For ever, frozen or not: half a record is received and counts as flushed, and cannot be replayed."""
    n1, n2 = servers.group(1)
    with Relay(n1.port) as way:
        n2.reload(**n2.upstream(n1, port=way.port))
        wait_for('n2 on the relay', lambda: way.connections and n1.sender('n2').get('state') == 'streaming', DEADLINE_S)
        n1.wait_replayed(n2)
        before = positions(n2)[1]
        way.limit(300_000)
        n1.sql("select pg_logical_emit_message(true, 'big', repeat('x', 2000000))")
        wait_for('a part of it', lambda: positions(n2)[0] > before + 100_000, DEADLINE_S)
        n2.reload(primary_conninfo='')
        n2.wait_receiver_gone()
        wait_at_the_end(n2)
        received, replayed = positions(n2)
        assert replayed < before + 100_000 < received
        holds_for('both positions', lambda: positions(n2) == (received, replayed), 1)
        assert received % PAGE == 0
        # A restart forgets that half.
        n2.stop()
        n2.start()
        wait_at_the_end(n2)
        assert positions(n2) == (None, replayed)


def following_group(servers):
    """[n2, n3]: n2 was promoted from under n1, n3 follows it and has replayed a row of the new timeline."""
    n1, n2, n3 = servers.group(2)
    n1.stop()
    n2.promote()
    n3.reload(**n3.upstream(n2))
    n2.sql("insert into rows values ('new')")
    n2.wait_streaming(n3)
    n2.wait_replayed(n3)
    return n2, n3


def test_pg_control_of_a_follower_tells_the_old_timeline(servers):
    _, n3 = following_group(servers)
    assert n3.value('select timeline_id from pg_control_checkpoint()') == 1
    assert n3.value('select min_recovery_end_timeline from pg_control_recovery()') < 2
    assert n3.value('select received_tli from pg_stat_wal_receiver') == 2
    n3.freeze()
    assert n3.sql('select received_tli from pg_stat_wal_receiver') == []
    assert n3.control("Latest checkpoint's TimeLineID") == '1'


def test_file_tells_the_timeline_of_a_position_and_its_page_may_not(servers):
    """
    The header of a page tells the timeline that was current when the page was begun: the page of the fork, and what was
    written on it since, still tells the old one. The name of the file tells the new one, and the old file is there as well.
    """
    n2, n3 = following_group(servers)
    n3.freeze()
    end = n3.position()
    assert (n3.data / 'pg_wal' / segment(2, end)).exists() and (n3.data / 'pg_wal' / segment(1, end)).exists()
    history = (n3.data / 'pg_wal/00000002.history').read_text().split()
    fork = lsn(history[1])
    assert fork < end <= (fork // PAGE + 1) * PAGE, 'the row is on the page of the fork'
    assert page_timeline(n3, segment(2, end), end) == 1
    # On the next page it is the new one.
    n3.reload(**n3.upstream(n2))
    n2.sql("select pg_logical_emit_message(true, 'big', repeat('x', 20000))")
    n2.wait_streaming(n3)
    n3.freeze()
    end = n3.position()
    assert page_timeline(n3, segment(2, end), end) == 2


def test_pg_control_tells_the_old_timeline_after_a_promotion(servers):
    """Until the checkpoint that follows it; here nobody is there to make one."""
    n1, n2 = servers.group(1)
    n1.stop()
    checkpointer = n2.pid_of('checkpointer')
    os.kill(checkpointer, signal.SIGSTOP)
    n2.promote()
    assert n2.value('select timeline_id from pg_control_checkpoint()') == 1
    assert n2.value('select substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8)') == '00000002'
    assert n2.control('Database cluster state') == 'in production'
    os.kill(checkpointer, signal.SIGCONT)
    n2.sql('checkpoint')
    assert n2.value('select timeline_id from pg_control_checkpoint()') == 2
