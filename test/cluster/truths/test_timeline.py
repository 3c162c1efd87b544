"""Which number a promotion takes, and what two histories of one number do to each other."""
import re

from lab.server import DEADLINE_S, lsn
from lab.wait import holds_for, wait_for


def history(server, timeline):
    """[(parent, fork position)] of a timeline's file."""
    text = (server.data / f'pg_wal/{timeline:08X}.history').read_text()
    return [(int(parent), lsn(fork)) for parent, fork in re.findall(r'^(\d+)\t(\S+)\t', text, re.M)]


def timeline(server):
    return int(server.value('select substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8)'), 16)


def test_two_promotions_take_the_same_number(servers):
    _, n2, n3 = servers.group(2)
    n2.promote()
    n3.promote()
    assert timeline(n2) == timeline(n3) == 2
    assert [parent for parent, _ in history(n2, 2)] == [parent for parent, _ in history(n3, 2)] == [1]


def test_standby_that_saw_the_history_takes_the_next_number(servers):
    """It has to have seen it: as a standby it asks its upstream, and its archive, and nobody else."""
    _, n2, n3 = servers.group(2)
    n2.promote()
    n3.reload(**n3.upstream(n2))
    n2.wait_streaming(n3)
    n2.stop()
    n3.promote()
    assert timeline(n3) == 3
    assert [parent for parent, _ in history(n3, 3)] == [1, 2]


def colliding(servers):
    """[n2, n3], promoted both at one position, each with a row of its own that takes as much WAL as the other's."""
    n1, n2, n3 = servers.group(2)
    n1.stop()
    n2.wait_receiver_gone()
    n3.wait_receiver_gone()
    assert n2.position() == n3.position()
    n2.promote()
    n3.promote()
    for server in (n2, n3):
        server.sql('checkpoint')
    assert history(n2, 2) == history(n3, 2)
    n2.sql("insert into rows values ('of n2')")
    n3.sql("insert into rows values ('of n3')")
    return n2, n3


def test_rewind_between_two_histories_of_one_number_does_nothing(servers):
    n2, n3 = colliding(servers)
    n2.stop()
    done = n2.tool('pg_rewind', '-D', n2.data, '--source-server', n3.conninfo())
    assert done.returncode == 0 and 'no rewind required' in done.stderr, done


def test_streaming_between_two_histories_of_one_number_mixes_them(servers):
    """
    Nothing is checked but number and position. Where the records happen to end at the same places it streams without a
    complaint, and the two hold different rows until somebody writes on that page again.
    """
    n2, n3 = colliding(servers)
    for server in (n2, n3):
        server.sql('select pg_switch_wal()')  # what comes next is at the start of a segment in both
        server.stop()
    assert n2.control('Latest checkpoint location') == n3.control('Latest checkpoint location')
    n3.start()
    n3.sql('create table later ()')
    n2.follow(n3)
    n2.start()
    wait_for('the later table', lambda: n2.value("select to_regclass('later') is not null"), DEADLINE_S)
    assert n3.sender('n2')['state'] == 'streaming'
    assert n2.has('of n2') and not n2.has('of n3')
    assert n3.has('of n3') and not n3.has('of n2')


def test_streaming_between_two_histories_of_one_number_overwrites_and_hangs(servers):
    """Where they end at different places the received WAL makes no sense; what was the server's own is overwritten by then."""
    n2, n3 = colliding(servers)
    n2.sql("insert into rows values ('more of n2, and of another length than what n3 has there')")
    end = n2.position()
    n2.stop()
    for _ in range(20):
        n3.sql("insert into rows values ('later')")
    assert n3.position() > end
    n2.follow(n3)
    n2.start()
    n2.log.wait('invalid record length|incorrect prev-link|invalid magic|incorrect resource manager|invalid resource manager|'
                'record with (incorrect|invalid)|unexpected pageaddr|contrecord', DEADLINE_S)
    holds_for('nothing replayed', lambda: not n2.has('later'), 0.5)


def test_standby_ahead_of_the_winner_refuses_to_follow(servers):
    """It gets nothing, for ever, and says so in its log alone. On the winner it is listed as streaming again and again."""
    n1, n2, n3 = servers.group(2)
    n2.freeze()
    n1.sql("insert into rows values ('more')")
    n1.wait_replayed(n3)
    n2.promote()
    n3.reload(**n3.upstream(n2))
    n3.log.wait('new timeline 2 forked off current database system timeline 1 before current recovery point', DEADLINE_S)
    n2.sql("insert into rows values ('new')")
    end = n3.position()
    holds_for('nothing new', lambda: not n3.has('new') and n3.position() == end, 1)
    assert n3.in_recovery() and n3.has('more') and not n2.has('more')


def test_standby_ahead_of_the_winner_acknowledges_what_it_does_not_have(servers):
    """
    It asks for the old timeline, is streamed that up to the fork, and tells as flushed where it stands itself: beyond the
    fork, and beyond the winner's new commits. The winner takes its word, up to that position.
    """
    n1, n2, n3 = servers.group(2)
    n2.freeze()
    n1.sql("select pg_logical_emit_message(true, 'big', repeat('x', 100000))")
    n1.wait_replayed(n3)
    n1.stop()
    n2.promote()
    n2.reload(synchronous_standby_names='ANY 1 (n3)')
    client = n2.insert('new')
    n2.hold_sync(client)
    assert n2.position() < n3.position()
    n3.reload(**n3.upstream(n2))
    assert client.answer().ok
    n3.log.wait('forked off current database system timeline 1 before current recovery point', DEADLINE_S)
    assert n2.has('new') and not n3.has('new')
    n2.sql("select pg_logical_emit_message(true, 'big', repeat('x', 200000))")
    assert n2.position() > n3.position()
    n2.hold_sync(n2.insert('later'))


def test_old_primary_as_a_standby_of_the_winner_refuses_too(servers):
    """Started as a standby without a rewind."""
    n1, n2 = servers.group(1)
    n2.freeze()
    n1.sql("insert into rows values ('more')")
    n1.stop()
    n2.promote()
    n1.follow(n2)
    n1.start()
    n1.log.wait('new timeline 2 forked off current database system timeline 1 before current recovery point', DEADLINE_S)
    assert n1.in_recovery() and n1.has('more')


def test_real_history_of_another_corrupts_the_parents(servers, bench):
    """
    n3 does not have what n2 had at its fork. Given n2's history it promotes to the next number, as if it were n2's
    descendant, from a place before that fork.
    """
    n1, n2, n3 = servers.group(2)
    n3.freeze()
    end = n3.position()
    n1.sql("insert into rows values ('more')")
    n1.wait_replayed(n2)
    n1.stop()
    n2.wait_receiver_gone()
    n2.promote()
    fork = history(n2, 2)[0][1]
    assert fork > end
    n3.log.mark()
    bench.write(n3.data / 'pg_wal/00000002.history', (n2.data / 'pg_wal/00000002.history').read_text())
    n3.log.wait('new target timeline is 2', DEADLINE_S)
    n3.promote()
    assert timeline(n3) == 3
    assert history(n3, 3) == [(1, fork), (2, end)]
    assert not n3.has('more')


def test_empty_history_makes_a_running_standby_skip_the_number(servers, bench):
    """Its parents are right, for the empty file is no child of its own."""
    n1, _, n3 = servers.group(2)
    n3.freeze()
    end = n3.position()
    bench.write(n3.data / 'pg_wal/00000002.history', '')
    n3.log.wait('new timeline 2 is not a child of database system timeline 1', DEADLINE_S)
    n3.promote()
    assert timeline(n3) == 3
    assert history(n3, 3) == [(1, end)]
    assert n1.insert('elsewhere').answer().ok


def test_empty_history_makes_a_start_wait_for_ever(servers, bench):
    """It wants WAL of the timeline whose file is empty, gets that of the other, and does not open even for reading."""
    n1, n2 = servers.group(1)
    n2.stop()
    empty = bench.write(n2.data / 'pg_wal/00000002.history', '')
    n2.log.mark()
    n2.spawn()
    n2.log.wait('unexpected timeline ID 1 in', DEADLINE_S)
    holds_for('no connections', lambda: n2.process.poll() is None and not opened(n2), 1)
    assert n1.sender('n2') == {} or n1.sender('n2')['state'] in ('streaming', 'catchup')
    empty.unlink()
    holds_for('no connections', lambda: n2.process.poll() is None and not opened(n2), 0.5)
    n2.stop()
    n2.start()
    n1.wait_streaming(n2)


def opened(server):
    return (server.data / 'postmaster.pid').read_text().split('\n')[7].strip() == 'ready'
