"""When a commit is acknowledged, and by whom."""
import os
import signal
from pathlib import Path

from lab import proc
from lab.group import FENCE
from lab.relay import Relay
from lab.server import DEADLINE_S
from lab.wait import Late, wait_for


def test_promotion_without_freezing_loses_what_the_old_primary_acknowledges(servers):
    n1, n2, n3 = servers.group(2, names='ANY 1 (n2, n3)')
    n2.promote()
    assert n1.insert('late').answer().ok
    n1.wait_replayed(n3)
    assert n1.has('late') and n3.has('late') and not n2.has('late')


def test_frozen_standbys_let_nothing_be_acknowledged(servers):
    n1, n2, n3 = servers.group(2, names='ANY 1 (n2, n3)')
    n3.freeze()
    n2.promote()
    n1.hold_sync(n1.insert('late'), 1)


def test_reply_sent_before_the_freeze_acknowledges_after_it(servers):
    """… but nothing beyond the position of the frozen standby."""
    n1, n2 = servers.group(1, names='ANY 1 (n2)')
    with Relay(n1.port) as way:
        n2.reload(**n2.upstream(n1, port=way.port))
        wait_for('n2 on the relay', lambda: way.connections and n1.sender('n2').get('state') == 'streaming', DEADLINE_S)
        way.hold_replies()
        client = n1.insert('before')
        n1.wait_sync(client)
        n1.wait_replayed(n2)
        n2.freeze()
        end = n2.position()
        n1.hold_sync(client, 0.3)
        way.release()
        assert client.answer().ok
        assert n2.position() == end and n2.has('before')
        n1.hold_sync(n1.insert('after'))


def test_promoted_under_the_fence_a_commit_waits_though_a_standby_flushes_it(servers):
    n1, n2, n3 = servers.group(2, names='ANY 1 (n2, n3)')
    n2.reload(synchronous_standby_names=FENCE)
    n3.freeze()
    n2.promote()
    n3.reload(**n3.upstream(n2))
    client = n2.insert('new')
    n2.wait_sync(client)
    n2.wait_streaming(n3)
    n2.wait_replayed(n3)
    assert n3.has('new')
    n2.hold_sync(client)
    n2.reload(synchronous_standby_names='ANY 1 (n3)')
    n2.nudge()
    assert client.answer().ok


def test_session_of_a_standby_survives_the_promotion_and_writes(servers):
    """It never connected to a primary, nobody told it, and only the fence keeps it from being acknowledged."""
    _, n2 = servers.group(1)
    n2.reload(synchronous_standby_names=FENCE)
    client, free = n2.session(), n2.session(options='-c synchronous_commit=local')
    assert client.ask("insert into rows values ('early')").sqlstate == '25006'
    assert client.ask("prepare p as insert into rows values ('later')").ok
    n2.promote()
    client.send('execute p')
    n2.hold_sync(client)
    assert free.ask("insert into rows values ('unfenced')").ok


def test_fence_by_reload_ends_acknowledgements_and_waiters_resume(servers):
    n1, _ = servers.group(1, names='ANY 1 (n2)')
    assert n1.insert('before').answer().ok
    n1.reload(synchronous_standby_names=FENCE)
    # What was sent after the proof of the reload is not acknowledged; what waits is acknowledged when the list is back.
    clients = [n1.insert(f'fenced {i}') for i in range(4)]
    for client in clients:
        n1.wait_sync(client)
    end = n1.position()
    wait_for('n2 to have flushed what waits', lambda: n1.flushed_by('n2') >= end, DEADLINE_S)
    for client in clients:
        n1.hold_sync(client, 0.2)
    n1.reload(synchronous_standby_names='ANY 1 (n2)')
    n1.nudge()
    for client in clients:
        answer = client.answer()
        assert answer.ok and not answer.notices


def test_list_that_comes_back_releases_with_the_next_reply(servers):
    """
    Not with the reload: the walsender reads the list, but looks at who waits when its standby says something, which on an
    idle server is after wal_receiver_status_interval.
    """
    n1, _ = servers.group(1, names=FENCE, wal_receiver_status_interval='60s')
    client = n1.insert('waiting')
    n1.wait_sync(client)
    end = n1.position()
    wait_for('n2 to have flushed what waits', lambda: n1.flushed_by('n2') >= end, DEADLINE_S)
    n1.reload(synchronous_standby_names='ANY 1 (n2)')
    wait_for('the list in the walsender', lambda: n1.sender('n2')['sync_state'] == 'quorum', DEADLINE_S)
    n1.hold_sync(client, 2)
    n1.nudge()
    assert client.answer().ok


def test_fence_does_not_hold_a_commit_that_does_not_ask_for_it(servers):
    """synchronous_commit is every user's own."""
    n1 = servers.one(synchronous_standby_names=FENCE).start()
    n1.sql('create table rows (of text)')
    client = n1.session()
    for level in ('local', 'off'):
        assert client.ask(f'set synchronous_commit = {level}').ok
        assert client.ask("insert into rows values ('unfenced')").ok
    for level in ('remote_write', 'on', 'remote_apply'):
        client = n1.session(options=f'-c synchronous_commit={level}').send("insert into rows values ('fenced')")
        n1.hold_sync(client, 0.2)


def test_fence_holds_nothing_where_no_walsender_is_allowed(servers):
    n1 = servers.one(synchronous_standby_names=FENCE, max_wal_senders=0).start()
    n1.sql('create table rows (of text)')
    assert n1.insert('unfenced').answer().ok
    assert n1.setting('synchronous_standby_names')[0] == FENCE


def test_line_of_the_names_deleted_acknowledges_waiters_at_once(servers):
    n1, _ = servers.group(1, names=FENCE)
    client = n1.insert('waiting')
    n1.hold_sync(client)
    n1.reload(synchronous_standby_names=None)
    answer = client.answer()
    assert answer.ok and not answer.notices
    assert n1.insert('later').answer().ok


def test_cancelled_wait_is_success_with_a_warning(servers):
    n1, _ = servers.group(1, names=FENCE)
    client = n1.insert('cancelled')
    n1.wait_sync(client)
    assert not n1.has('cancelled')
    client.cancel()
    answer = client.answer()
    assert answer.tag == 'INSERT 0 1'
    assert [code for code, _ in answer.notices] == ['01000']
    assert n1.has('cancelled')


def test_terminated_wait_is_no_success_but_the_row_is_there(servers):
    n1, _ = servers.group(1, names=FENCE)
    client = n1.insert('terminated')
    n1.wait_sync(client)
    assert not n1.has('terminated')
    assert n1.value('select pg_terminate_backend(%s)', client.pid)
    answer = client.answer()
    assert not answer.ok and answer.sqlstate in ('', '57P01')
    wait_for('the row', lambda: n1.has('terminated'), DEADLINE_S)


def test_statement_timeout_does_not_end_the_wait(servers):
    n1, _ = servers.group(1, names=FENCE)
    client = n1.insert('patient', options='-c statement_timeout=200')
    n1.hold_sync(client, 1)


def test_unacknowledged_commit_is_visible_after_a_crash(servers):
    n1, n2 = servers.group(1, names=FENCE)
    n2.freeze()
    n1.wait_sync(n1.insert('unacknowledged'))
    assert not n1.has('unacknowledged')
    n1.crash()
    n1.start()
    assert n1.has('unacknowledged') and not n2.has('unacknowledged')
    # Nor does a restart wait: what is visible may be known to nobody else.
    assert n1.setting('synchronous_standby_names')[0] == FENCE


def test_postmaster_that_restarts_by_itself_shows_unacknowledged_commits(servers):
    n1 = servers.one(synchronous_standby_names=FENCE, restart_after_crash='on').start()
    n1.sql('create table rows (of text)')
    victim = n1.session()
    n1.wait_sync(n1.insert('unacknowledged'))
    assert not n1.has('unacknowledged')
    before = n1.value('select pg_postmaster_start_time()')
    os.kill(victim.pid, signal.SIGKILL)
    wait_for('the row, shown by the same postmaster', lambda: n1.has('unacknowledged'), DEADLINE_S)
    assert n1.value('select pg_postmaster_start_time()') == before


def test_names_are_in_force_when_the_checkpointer_has_read_them(servers):
    """The first list after none: every session shows it, and commits do not wait, until the checkpointer has had its turn."""
    n1 = servers.one().start()
    n1.sql('create table rows (of text)')
    checkpointer = n1.pid_of('checkpointer')
    os.kill(checkpointer, signal.SIGSTOP)
    wait_for('a stopped checkpointer', lambda: proc.read(checkpointer).state == 'T', DEADLINE_S)
    n1.reload(synchronous_standby_names=FENCE)
    client = n1.session()
    assert client.value('show synchronous_standby_names') == FENCE
    assert client.ask("insert into rows values ('unfenced')").ok
    os.kill(checkpointer, signal.SIGCONT)
    wait_for('a commit that waits', lambda: new_commit_waits(n1), DEADLINE_S)


def new_commit_waits(server):
    client = server.insert('probe')
    wait_for('the end or the wait', lambda: client.finished() or server.waits(client), DEADLINE_S)
    return not client.finished()


def test_names_are_not_gone_until_the_checkpointer_has_read_it(servers):
    """A session that shows no names waits all the same: one list to none releases only when the checkpointer comes."""
    n1 = servers.one(synchronous_standby_names=FENCE).start()
    n1.sql('create table rows (of text)')
    checkpointer = n1.pid_of('checkpointer')
    os.kill(checkpointer, signal.SIGSTOP)
    wait_for('a stopped checkpointer', lambda: proc.read(checkpointer).state == 'T', DEADLINE_S)
    n1.reload(synchronous_standby_names=None)
    client = n1.session()
    assert client.value('show synchronous_standby_names') == ''
    client.send("insert into rows values ('waiting')")
    n1.hold_sync(client)
    os.kill(checkpointer, signal.SIGCONT)
    assert client.answer().ok


def stop_early(server, title):
    """SIGSTOP to a child as soon as it has its title; as fast as it goes, to be there before it does anything."""
    children = Path(f'/proc/{server.process.pid}/task/{server.process.pid}/children')

    def stop():
        for pid in children.read_text().split():
            if title in Path(f'/proc/{pid}/cmdline').read_text():
                os.kill(int(pid), signal.SIGSTOP)
                return int(pid)
        return 0
    return wait_for(f'a {title}', stop, DEADLINE_S, every_s=0)


# The release of a major version that closed the race between the checkpointer and the first commit after a start.
NAMES_FROM_THE_START = {14: 18, 15: 13, 16: 9, 17: 5}


def test_names_are_in_force_from_the_first_commit(servers):
    """
    Where the checkpointer does not run at all between the start and that commit: releases before the fix may acknowledge
    it, and one round of many shows it.
    """
    n1 = servers.one(synchronous_standby_names=FENCE).start()
    n1.sql('create table rows (of text)')
    major, minor = divmod(n1.version(), 10000)
    fixed = minor >= NAMES_FROM_THE_START.get(major, 0)
    n1.stop()
    acknowledged = None
    for _ in range(5 if fixed else 20):
        n1.spawn()
        checkpointer = stop_early(n1, 'checkpointer')
        try:
            n1.wait_ready(3)
        except Late:  # it was stopped with a lock that the others need
            os.kill(checkpointer, signal.SIGCONT)
            n1.wait_ready().stop()
            continue
        client = n1.insert('first')
        wait_for('the wait or the end', lambda: n1.waits(client) or client.finished(), DEADLINE_S)
        acknowledged = client.finished()
        os.kill(checkpointer, signal.SIGCONT)
        if fixed:
            n1.hold_sync(client, 0.2)
        n1.stop()
        if acknowledged:
            break
    assert acknowledged is not None and acknowledged != fixed


def test_status_of_a_lost_transaction_number_lies_on_the_new_primary(servers):
    """A number that never arrived is in the future first, and somebody else's commit later."""
    n1, n2 = servers.group(1)
    n2.freeze()
    xid = n1.value("with w as (insert into rows values ('lost') returning 1) select pg_current_xact_id()::text from w")
    n2.promote()
    status = n2.session()
    assert status.ask(f"select pg_xact_status('{xid}')").sqlstate == '22023'
    for _ in range(3):
        n2.sql("insert into rows values ('others')")
    assert status.value(f"select pg_xact_status('{xid}')") == 'committed'
    assert not n2.has('lost')
