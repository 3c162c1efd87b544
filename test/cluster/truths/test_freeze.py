"""What ends a standby's walreceiver, what does not, and what brings it back."""
import os
import signal

from lab import proc
from lab.server import DEADLINE_S, lsn
from lab.wait import holds_for, wait_for

# A walreceiver ends in a few milliseconds when it is told so; this is for a busy machine, and far below its own timeouts.
AT_ONCE_S = 5


def loaded_but_received(standby, receiver):
    """The standby says that primary_conninfo is empty, and its walreceiver is there all the same."""
    return standby.setting('primary_conninfo')[0] == '' and standby.receiver() == receiver


def end_receiver(standby):
    """SIGTERM, and it is gone in no time."""
    os.kill(standby.receiver(), signal.SIGTERM)
    standby.wait_receiver_gone(AT_ONCE_S)


def wait_paused(standby):
    standby.sql('select pg_wal_replay_pause()')
    wait_for('a paused replay', lambda: standby.value('select pg_get_wal_replay_pause_state()') == 'paused', DEADLINE_S)


def test_empty_conninfo_ends_the_receiver_of_a_standby_that_waits_for_wal(servers):
    n1, n2 = servers.group(1, names='ANY 1 (n2)')
    n2.reload(primary_conninfo='')
    n2.wait_receiver_gone(AT_ONCE_S)
    client = n1.insert('late')
    n1.hold_sync(client, 1)
    assert not n2.receiver()


def test_paused_replay_keeps_the_receiver_after_the_reload(servers):
    """It goes on acknowledging; SIGTERM ends it even then, and the end of the pause does not bring it back."""
    n1, n2 = servers.group(1, names='ANY 1 (n2)')
    wait_paused(n2)
    receiver = n2.receiver()
    n2.reload(primary_conninfo='')
    holds_for('the walreceiver', lambda: loaded_but_received(n2, receiver), 1)
    assert n1.insert('acknowledged').answer().ok
    assert not n2.has('acknowledged')
    end_receiver(n2)
    client = n1.insert('late')
    n1.hold_sync(client, 0.5)
    n2.sql('select pg_wal_replay_resume()')
    wait_for('the replay', lambda: n2.has('acknowledged'), DEADLINE_S)
    n1.hold_sync(client, 0.5)
    assert not n2.receiver()


def test_end_of_the_pause_ends_the_receiver(servers):
    n1, n2 = servers.group(1)
    wait_paused(n2)
    receiver = n2.receiver()
    n2.reload(primary_conninfo='')
    holds_for('the walreceiver', lambda: loaded_but_received(n2, receiver), 0.3)
    n2.sql('select pg_wal_replay_resume()')
    n2.wait_receiver_gone()
    assert n1.sender('n2') == {}


def test_recovery_conflict_keeps_the_receiver_after_the_reload(servers):
    n1, n2 = servers.group(1, names='ANY 1 (n2)', max_standby_streaming_delay='-1')
    query = n1.conflict_on(n2)
    receiver = n2.receiver()
    n2.reload(primary_conninfo='')
    holds_for('the walreceiver', lambda: loaded_but_received(n2, receiver), 1)
    assert n1.insert('acknowledged').answer().ok
    end_receiver(n2)
    client = n1.insert('late')
    n1.hold_sync(client, 0.5)
    query.close()
    wait_for('the replay', lambda: n2.has('acknowledged'), DEADLINE_S)
    n1.hold_sync(client, 0.5)
    assert not n2.receiver()


def test_stopped_startup_process_keeps_the_receiver_after_the_reload(servers):
    """Whatever keeps the startup process from reading the configuration keeps the walreceiver."""
    n1, n2 = servers.group(1, names='ANY 1 (n2)')
    receiver, startup = n2.receiver(), n2.pid_of('startup')
    os.kill(startup, signal.SIGSTOP)
    n2.reload(primary_conninfo='')
    holds_for('the walreceiver', lambda: loaded_but_received(n2, receiver), 0.5)
    assert n1.insert('acknowledged').answer().ok
    end_receiver(n2)
    n1.hold_sync(n1.insert('late'))
    os.kill(startup, signal.SIGCONT)


def test_ended_receiver_comes_back_while_the_conninfo_stands(servers):
    n1, n2 = servers.group(1, names='ANY 1 (n2)', wal_retrieve_retry_interval='500ms')
    receiver = n2.receiver()
    os.kill(receiver, signal.SIGTERM)
    wait_for('another walreceiver', lambda: n2.receiver() not in (0, receiver), DEADLINE_S)
    assert n1.insert('acknowledged').answer().ok


def test_ended_receiver_comes_back_where_only_the_file_says_no(servers):
    """Written and not loaded is not written."""
    n1, n2 = servers.group(1, names='ANY 1 (n2)')
    n2.conf(primary_conninfo='')
    receiver = n2.receiver()
    os.kill(receiver, signal.SIGTERM)
    wait_for('another walreceiver', lambda: n2.receiver() not in (0, receiver), DEADLINE_S)
    assert n1.insert('acknowledged').answer().ok


def test_terminate_backend_refuses_a_walreceiver(servers):
    n1, n2 = servers.group(1)
    receiver = n2.receiver()
    answer = n2.session().ask(f'select pg_terminate_backend({receiver})')
    assert answer.rows == [('f',)] and [code for code, _ in answer.notices] == ['01000']
    assert n2.receiver() == receiver
    # A walsender is a backend like others.
    sender = n1.sender('n2')['pid']
    assert n1.value('select pg_terminate_backend(%s)', sender)
    wait_for('another walsender', lambda: n1.sender('n2').get('pid', sender) != sender, DEADLINE_S)


def test_conninfo_deleted_from_one_file_stands_in_the_other(servers):
    n1, n2 = servers.group(1, names='ANY 1 (n2)')
    conninfo = n2.settings['primary_conninfo']
    n2.write('postgresql.auto.conf', f"primary_conninfo = '{conninfo} connect_timeout=7'\n")
    n2.reloaded()
    n1.wait_streaming(n2)
    assert n2.setting('primary_conninfo')[1].endswith('postgresql.auto.conf')
    n2.write('postgresql.auto.conf', '')
    n2.reloaded()
    assert n2.setting('primary_conninfo') == (conninfo, str(n2.data / 'postgresql.conf'))
    n1.wait_streaming(n2)
    assert n1.insert('acknowledged').answer().ok
    n2.write('postgresql.auto.conf', "primary_conninfo = ''\n")
    n2.reloaded()
    n2.wait_receiver_gone()
    n1.hold_sync(n1.insert('late'))


def test_archive_feeds_a_standby_without_an_upstream(servers, bench):
    """What the old primary writes after the freeze arrives, until restore_command is empty too."""
    archive = bench.make_folder('archive')
    n1, n2 = servers.group(1, archive_mode='on', archive_command=f'cp %p {archive}/%f', restore_command=f'cp {archive}/%f %p')
    n2.freeze()
    n1.sql("insert into rows values ('archived')")
    n1.sql('select pg_switch_wal()')
    wait_for('the row', lambda: n2.has('archived'), DEADLINE_S)
    assert not n2.receiver()
    n2.reload(restore_command='')
    n1.sql("insert into rows values ('archived later')")
    file = n1.value('select pg_walfile_name(pg_switch_wal())')
    wait_for('the archived segment', (archive / file).exists, DEADLINE_S)
    holds_for('nothing newer', lambda: not n2.has('archived later'), 1)


def test_receiver_that_connects_to_a_silent_server_ends_at_once(servers):
    """A host that takes the connection and says nothing, as one that is frozen."""
    n1, n2 = servers.group(1)
    n1.signal(signal.SIGSTOP)  # connections are taken by the kernel
    n2.reload(**n2.upstream(n1, application_name='again'))
    wait_for('a walreceiver that is not connected',
             lambda: n2.receiver() and not n2.sql('select 1 from pg_stat_wal_receiver'), DEADLINE_S)
    n2.reload(primary_conninfo='')
    n2.wait_receiver_gone(AT_ONCE_S)
    n1.signal(signal.SIGCONT)


def test_standby_in_a_recovery_conflict_receives_what_it_cannot_replay(servers):
    """Received and acknowledged is not replayed: the position is the larger of both."""
    n1, n2 = servers.group(1, names='ANY 1 (n2)', max_standby_streaming_delay='-1')
    query = n1.conflict_on(n2)
    assert n1.insert('acknowledged').answer().ok
    received, replayed = n2.sql('select pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn()')[0]
    assert lsn(received) > lsn(replayed)
    assert n2.position() >= n1.flushed_by('n2')
    query.close()


def test_stopped_receiver_keeps_its_walsender_listed(servers):
    """pg_stat_replication shows a standby that does not answer until wal_sender_timeout; only its commits tell."""
    n1, n2 = servers.group(1, names='ANY 1 (n2)')
    receiver = n2.receiver()
    os.kill(receiver, signal.SIGSTOP)
    wait_for('a stopped walreceiver', lambda: proc.read(receiver).state == 'T', DEADLINE_S)
    client = n1.insert('waiting')
    n1.hold_sync(client)
    assert n1.sender('n2')['state'] == 'streaming' and n1.sender('n2')['sync_state'] == 'quorum'
    os.kill(receiver, signal.SIGCONT)
    assert client.answer().ok
