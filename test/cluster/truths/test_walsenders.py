"""PostgreSQL counts walsenders by the name they give, not nodes; and which list each of them goes by."""
import os
import signal

from lab import proc
from lab.group import FENCE
from lab.server import DEADLINE_S
from lab.wait import wait_for


def conninfo(server, name):
    return f'host=127.0.0.1 port={server.port} user=postgres dbname=postgres application_name={name}'


def stream(server):
    """[(name, sync_state)] of all walsenders that stream."""
    return server.sql("select application_name, sync_state from pg_stat_replication where state = 'streaming' order by pid")


def wait_walsenders(server, expected):
    wait_for(f'walsenders {expected}', lambda: stream(server) == expected, DEADLINE_S)


def test_receivewal_with_a_members_name_acknowledges_for_it(servers, bench):
    """Its name in other letters will do."""
    n1, n2 = servers.group(1)
    n1.reload(synchronous_standby_names='ANY 2 (n2, n3)')
    client = n1.insert('waiting')
    n1.hold_sync(client)
    n2.spawn_tool('pg_receivewal', '--synchronous', '-D', bench.make_folder('wal'), '-d', conninfo(n1, 'N3'))
    wait_walsenders(n1, [('n2', 'quorum'), ('N3', 'quorum')])
    assert client.answer().ok


def test_recvlogical_with_a_members_name_acknowledges_for_it(servers):
    n1 = servers.one(wal_level='logical').start()
    n1.sql('create table rows (of text)')
    n1.sql("select pg_create_logical_replication_slot('logical', 'test_decoding')")
    n1.reload(synchronous_standby_names='ANY 1 (n2)')
    client = n1.insert('waiting')
    n1.hold_sync(client)
    n1.spawn_tool('pg_recvlogical', '--start', '-S', 'logical', '-F', '1', '-s', '1', '-f', n1.folder / 'changes',
                  '-d', conninfo(n1, 'n2'))
    wait_walsenders(n1, [('n2', 'quorum')])
    assert client.answer().ok


def test_basebackup_with_a_members_name_acknowledges_for_it(servers, bench):
    """Its second connection streams WAL, and reports a segment as flushed when it is complete."""
    n1 = servers.one().start()
    n1.sql('create table rows (of text)')
    n1.reload(synchronous_standby_names='ANY 1 (n3)')
    n1.spawn_tool('pg_basebackup', '-X', 'stream', '-c', 'fast', '-r', '1M', '-s', '1', '-D', bench.make_folder('copy'),
                  '-d', conninfo(n1, 'n3'))
    wait_walsenders(n1, [('n3', 'quorum')])
    client = n1.insert('waiting')
    n1.hold_sync(client, 0.3)
    n1.sql('select pg_switch_wal()')
    assert client.answer().ok
    assert n1.value("select count(*) from pg_stat_replication where state = 'backup'") == 1


def test_two_walsenders_of_one_name_count_as_two(servers):
    """Two nodes are asked for and one has it, twice."""
    n1, n2, n3 = servers.group(2)
    n3.freeze()
    n1.reload(synchronous_standby_names='ANY 2 (n2, n3)')
    client = n1.insert('waiting')
    n1.hold_sync(client)
    again = servers.one('again')
    again.follow(n1, application_name='n2')
    again.start()
    wait_walsenders(n1, [('n2', 'quorum'), ('n2', 'quorum')])
    n1.nudge()
    assert client.answer().ok
    assert not n3.has('waiting')


def test_slot_has_one_walsender(servers):
    """A second one with the same slot is refused, whoever comes first."""
    n1, n2 = servers.group(1, slots=True)
    sender = n1.sender('n2')['pid']
    again = servers.one('again')
    again.follow(n1, slot='slot_n2', application_name='n2')
    again.start()
    again.log.wait('replication slot "slot_n2" is active for PID', DEADLINE_S)
    assert n1.sender('n2')['pid'] == sender
    # It is refused for as long as the owner's connection seems to live.
    receiver = n2.receiver()
    os.kill(receiver, signal.SIGSTOP)
    again.log.mark()
    again.log.wait('replication slot "slot_n2" is active for PID', DEADLINE_S)
    os.kill(receiver, signal.SIGCONT)


def test_star_matches_everybody(servers, bench):
    n1, n2 = servers.group(1, names='ANY 1 (*)')
    n2.freeze()
    client = n1.insert('waiting')
    n1.hold_sync(client)
    n2.spawn_tool('pg_receivewal', '--synchronous', '-D', bench.make_folder('wal'), '-d', conninfo(n1, 'anybody'))
    wait_walsenders(n1, [('anybody', 'quorum')])
    assert client.answer().ok


def test_walsender_goes_by_the_list_it_has_read(servers):
    """All others know that n3 counts no more; its own walsender was not told, and releases."""
    n1, n2, n3 = servers.group(2, names='ANY 1 (n2, n3)')
    n2.freeze()
    client = n1.session()
    # Everybody but the walsender reads the new files: as a postmaster does that is half through its signals.
    n1.conf(synchronous_standby_names='ANY 1 (n2)')
    for pid in (client.pid, n1.pid_of('checkpointer')):
        os.kill(pid, signal.SIGHUP)
    wait_for('the session to have read', lambda: client.value('show synchronous_standby_names') == 'ANY 1 (n2)', DEADLINE_S)
    assert client.ask("insert into rows values ('by the old list')").ok
    os.kill(n1.sender('n3')['pid'], signal.SIGHUP)
    wait_for('the new list in the walsender', lambda: n1.sender('n3')['sync_state'] == 'async', DEADLINE_S)
    n1.hold_sync(client.send("insert into rows values ('by the new list')"))
    assert n3.has('by the old list')


def test_flush_beyond_a_marker_shows_that_the_walsender_has_read(servers):
    """
    A reload proved by a new connection, and the walsender still asleep. It cannot tell of a flush beyond what was written
    after that proof before it has read the new list. sync_priority is the walsender's own word, sync_state is not.
    """
    n1, _, n3 = servers.group(2, names='ANY 1 (n2, n3)')
    sender = n1.sender('n3')['pid']
    os.kill(sender, signal.SIGSTOP)
    wait_for('a stopped walsender', lambda: proc.read(sender).state == 'T', DEADLINE_S)
    n1.reload(synchronous_standby_names=FENCE)
    assert n1.sender('n3')['sync_priority'] == 1, 'the walsender has not read the new list'
    assert n1.sender('n3')['sync_state'] == 'sync', 'its word by the list of who asks'
    client = n1.insert('marker')
    n1.wait_sync(client)
    marker = n1.position()
    assert n1.flushed_by('n3') < marker
    os.kill(sender, signal.SIGCONT)
    wait_for('the marker flushed', lambda: n1.flushed_by('n3') >= marker, DEADLINE_S)
    assert n1.sender('n3')['sync_priority'] == 0
    assert n3.position() >= marker
    n1.hold_sync(client)


def test_ended_walsender_comes_back_with_the_new_list(servers):
    n1, n2 = servers.group(1, names='ANY 1 (n2)')
    sender = n1.sender('n2')['pid']
    os.kill(sender, signal.SIGSTOP)
    n1.reload(synchronous_standby_names=FENCE)
    assert n1.sender('n2')['sync_priority'] == 1
    assert n1.value('select pg_terminate_backend(%s)', sender)
    os.kill(sender, signal.SIGCONT)
    wait_for('another walsender', lambda: n1.sender('n2').get('pid', sender) != sender, DEADLINE_S)
    n1.wait_streaming(n2)
    assert n1.sender('n2')['sync_priority'] == 0
    n1.hold_sync(n1.insert('late'))


def test_slots_are_not_on_the_promoted_standby(servers):
    n1, n2 = servers.group(1, slots=True)
    n1.sql("select pg_create_physical_replication_slot('another', true)")
    n1.wait_streaming(n2)
    n1.stop()
    n2.promote()
    assert n2.sql('select slot_name from pg_replication_slots') == []


def test_slot_that_holds_too_much_is_lost_and_so_is_its_standby(servers):
    n1, n2 = servers.group(1, slots=True, max_slot_wal_keep_size='16MB', min_wal_size='32MB', max_wal_size='32MB')
    n2.stop()
    for _ in range(4):
        n1.nudge()
        n1.sql('select pg_switch_wal()')
    n1.sql('checkpoint')
    assert n1.value("select wal_status from pg_replication_slots where slot_name = 'slot_n2'") == 'lost'
    n2.start()
    n2.log.wait('requested WAL segment .* has already been removed|'
                'cannot read from replication slot|can no longer (get changes|access)', DEADLINE_S)
    assert n1.sender('n2').get('state') != 'streaming'
