"""Dynamic configuration: one copy in the store, at work on every node at once."""
import json

from lab.cluster import PREFIX
from lab.node import postgres_bin
from lab.wait import holds_for, wait_for


def setting(node, name):
    return node.value('select setting from pg_settings where name = %s', name)


def test_bootstrap_dcs_is_the_first_dynamic_configuration_and_later_edits_of_it_are_not(cluster_of):
    cluster = cluster_of(2)
    leader = cluster.up()
    config = json.loads(cluster.store.get(PREFIX + 'config'))
    assert config == {'ttl': 30, 'loop_wait': 10, 'retry_timeout': 30, 'maximum_lag_on_failover': 1048576}
    leader.change_yml({'bootstrap': {'dcs': {'ttl': 60}}})
    assert leader.rest.call('POST', '/reload').status == 202
    holds_for('the configuration', lambda: leader.rest.get('/config').json['ttl'] == 30, 5)


def test_changed_parameter_reaches_every_node_by_a_watch(cluster_of):
    cluster = cluster_of(3)
    cluster.up()
    cluster.configure({'postgresql': {'parameters': {'work_mem': '7MB'}}})
    for node in cluster.nodes:
        # Much less than loop_wait: nobody waits for a tick.
        wait_for(f'work_mem on {node.name}', lambda n=node: setting(n, 'work_mem') == '7168', 3)
    cluster.configure({'postgresql': {'parameters': {'work_mem': None}}})
    for node in cluster.nodes:
        wait_for(f'the default on {node.name}', lambda n=node: setting(n, 'work_mem') == '4096', 3)


def test_parameter_that_needs_a_restart_is_shown_as_pending_with_its_reason(cluster_of):
    cluster = cluster_of(2)
    leader = cluster.up()
    cluster.configure({'postgresql': {'parameters': {'shared_buffers': '96MB'}}})
    for node in cluster.nodes:
        member = wait_for(f'pending restart of {node.name}', lambda n=node: cluster.member(n.name) if cluster.member(
            n.name).get('pending_restart') else None, 15)
        assert 'shared_buffers' in member['pending_restart_reason']
        assert node.status()['pending_restart'] is True
    done = leader.ctl('restart', 'myapp-cluster', '--pending', '--force')
    assert done.returncode == 0, done
    cluster.wait_healthy()
    for node in cluster.nodes:
        assert setting(node, 'shared_buffers') == '12288'
        wait_for('no pending restart', lambda n=node: not cluster.member(n.name).get('pending_restart'), 15)


def test_pending_restart_goes_away_when_the_change_is_taken_back(cluster_of):
    cluster = cluster_of(1)
    node = cluster.up()
    cluster.configure({'postgresql': {'parameters': {'shared_buffers': '96MB'}}})
    wait_for('pending restart', lambda: cluster.member(node.name).get('pending_restart'), 15)
    cluster.configure({'postgresql': {'parameters': {'shared_buffers': None}}})
    wait_for('no pending restart', lambda: not cluster.member(node.name).get('pending_restart'), 15)


def test_lowered_max_connections_is_taken_by_the_leader_first(cluster_of):
    """A standby with less than its primary does not start: PostgreSQL's rule, kept without the operator's help."""
    cluster = cluster_of(2)
    leader = cluster.up()
    replica = cluster.others(leader)[0]
    cluster.configure({'postgresql': {'parameters': {'max_connections': 50}}})
    wait_for('pending restart', lambda: cluster.member(replica.name).get('pending_restart'), 15)
    assert replica.rest.call('POST', '/restart', {}, deadline_s=60).status == 200
    cluster.wait_healthy()
    assert setting(replica, 'max_connections') == '100'
    assert leader.rest.call('POST', '/restart', {}, deadline_s=60).status == 200
    wait_for('the replica to see it', lambda: setting(leader, 'max_connections') == '50', 15)
    cluster.wait_healthy()
    assert replica.rest.call('POST', '/restart', {}, deadline_s=60).status == 200
    cluster.wait_healthy()
    assert setting(replica, 'max_connections') == '50'


def test_raised_max_connections_is_taken_by_standbys_first_and_works_in_either_order(cluster_of):
    cluster = cluster_of(2)
    leader = cluster.up()
    cluster.configure({'postgresql': {'parameters': {'max_connections': 150}}})
    wait_for('pending restart', lambda: all(cluster.member(n.name).get('pending_restart') for n in cluster.nodes), 15)
    done = leader.ctl('restart', 'myapp-cluster', '--pending', '--force')
    assert done.returncode == 0, done
    cluster.wait_healthy()
    assert [setting(node, 'max_connections') for node in cluster.nodes] == ['150', '150']


def test_local_parameter_wins_over_the_dynamic_one_but_shared_ones_only_come_from_the_store(cluster_of):
    cluster = cluster_of(1, more={'postgresql': {'parameters': {'work_mem': '9MB', 'max_connections': 77}}})
    node = cluster.up()
    cluster.configure({'postgresql': {'parameters': {'work_mem': '8MB'}}})
    holds_for('the local value', lambda: setting(node, 'work_mem') == '9216', 5)
    assert setting(node, 'max_connections') == '100'


def test_patch_merges_and_null_removes(two_nodes):
    cluster, leader = two_nodes
    before = leader.rest.get('/config').json
    assert cluster.configure({'postgresql': {'parameters': {'work_mem': '5MB'}}})['postgresql']['parameters'] == {'work_mem': '5MB'}
    wait_for('the rest as it was', lambda: leader.rest.get('/config').json == {
        **before, 'postgresql': {'parameters': {'work_mem': '5MB'}}}, 5)
    after = cluster.configure({'postgresql': None})
    assert 'postgresql' not in after and after == before


def test_put_replaces_the_whole(two_nodes):
    cluster, leader = two_nodes
    before = leader.rest.get('/config').json
    answer = leader.rest.call('PUT', '/config', {**before, 'member_slots_ttl': '1min'})
    assert answer.status == 200
    wait_for('the new configuration', lambda: leader.rest.get('/config').json['member_slots_ttl'] == '1min', 5)
    assert leader.rest.call('PUT', '/config', before).status == 200
    wait_for('the old configuration', lambda: leader.rest.get('/config').json == before, 5)


def test_nonsense_in_the_store_keeps_the_last_good_configuration(cluster_of):
    cluster = cluster_of(1)
    node = cluster.up()
    node.log.mark()
    cluster.store.put(PREFIX + 'config', '{"ttl": ')
    node.log.wait('(?i)config', 15)
    holds_for('the primary', node.writable, 5)
    cluster.store.put(PREFIX + 'config', '{"ttl": 30, "loop_wait": 10, "retry_timeout": 10}')
    wait_for('the new configuration', lambda: node.rest.get('/config').json.get('retry_timeout') == 10, 15)


def test_reload_while_the_config_key_is_gone_keeps_what_is_in_force(cluster_of):
    cluster = cluster_of(2)
    leader = cluster.up()
    replica = cluster.others(leader)[0]
    cluster.configure({'postgresql': {'parameters': {'work_mem': '7MB'}}})
    wait_for('work_mem', lambda: setting(replica, 'work_mem') == '7168', 5)
    before = json.loads(cluster.store.get(PREFIX + 'config'))
    frozen = leader.freeze()  # it would write the key again at once
    try:
        cluster.store.delete(PREFIX + 'config')
        replica.log.mark()
        assert replica.rest.call('POST', '/reload').status == 202
        replica.log.wait(r'event=config\.reloaded', 10)
        holds_for('work_mem', lambda: setting(replica, 'work_mem') == '7168', 3)
    finally:
        leader.thaw(frozen)
    wait_for('the key', lambda: cluster.store.get(PREFIX + 'config') is not None, 15)
    assert json.loads(cluster.store.get(PREFIX + 'config')) == before
    assert cluster.wait_healthy() is leader


def test_pg_hba_is_written_and_reloaded(cluster_of):
    cluster = cluster_of(1)
    node = cluster.up()
    rules = ['local all all trust', 'host all postgres all trust', 'host all someone 127.0.0.1/32 reject',
             'host replication replicator all trust']
    node.change_yml({'postgresql': {'pg_hba': rules}})
    assert node.rest.call('POST', '/reload').status == 202
    wait_for('the rule', lambda: node.value("select count(*) from pg_hba_file_rules where user_name = '{someone}'") == 1, 15)
    written = (node.data / 'pg_hba.conf').read_text()
    assert all(rule in written for rule in rules)


def test_member_slot_outlives_its_member_for_member_slots_ttl(cluster_of):
    cluster = cluster_of(2, more={'bootstrap': {'dcs': {'member_slots_ttl': '15s'}}})
    leader = cluster.up()
    replica = cluster.others(leader)[0]
    slot = replica.name.replace('-', '_')
    assert replica.stop() == 0
    wait_for('its member key to be gone', lambda: cluster.member(replica.name) is None, 45)
    assert leader.value('select count(*) from pg_replication_slots where slot_name = %s', slot) == 1
    wait_for('the slot to be dropped', lambda: not leader.value(
        'select count(*) from pg_replication_slots where slot_name = %s', slot), 60)
    replica.start()
    assert cluster.wait_healthy() is leader


def test_slots_stand_ready_on_every_node_that_may_lead(cluster_of):
    cluster = cluster_of(3)
    leader = cluster.up()
    for node in cluster.nodes:
        expected = {n.name.replace('-', '_') for n in cluster.nodes if n is not node}
        wait_for(f'slots on {node.name}', lambda n=node, e=expected: {row[0] for row in n.sql(
            'select slot_name from pg_replication_slots')} >= e - {leader.name.replace('-', '_')}, 30)


def test_callbacks_are_called_with_action_role_and_scope(cluster_of, bench):
    out = bench.folder / 'called'
    out.touch()
    out.chmod(0o666)
    script = bench.write(bench.folder / 'callback', f'#!/bin/sh\necho "$@" >>{out}\n', 0o755)
    cluster = cluster_of(2, more={'postgresql': {'callbacks': {name: str(script) for name in (
        'on_start', 'on_stop', 'on_restart', 'on_reload', 'on_role_change')}}})
    cluster.up()

    def called(*words):
        return any(line.split()[0] == words[0] and line.split()[1] in words[1:] and line.split()[2] == 'myapp-cluster'
                   for line in out.read_text().splitlines())
    wait_for('on_start of a primary', lambda: called('on_start', 'primary', 'master'), 10)
    wait_for('on_start of a replica', lambda: called('on_start', 'replica'), 10)
    cluster.switchover()
    wait_for('on_role_change to primary', lambda: called('on_role_change', 'primary', 'master', 'promoted'), 10)
    cluster.wait_healthy()
    wait_for('on_role_change to replica', lambda: called('on_role_change', 'replica', 'demoted')
             or called('on_start', 'replica'), 20)

    # A restart is one event, not a stop and a start.
    replica, = cluster.others(cluster.wait_healthy())
    stops = out.read_text().count('on_stop')
    assert replica.rest.call('POST', '/restart', {}, deadline_s=60).status == 200
    wait_for('on_restart of a replica', lambda: called('on_restart', 'replica'), 10)
    assert out.read_text().count('on_stop') == stops


def test_pre_promote_that_fails_keeps_a_node_from_leading(cluster_of, bench):
    refuse = bench.write(bench.folder / 'refuse', '#!/bin/sh\nexit 1\n', 0o755)
    cluster = cluster_of(3)
    old = cluster.up()
    barred, other = cluster.others(old)
    barred.change_yml({'postgresql': {'pre_promote': str(refuse)}})
    assert barred.rest.call('POST', '/reload').status == 202
    barred.log.wait('(?i)reload', 10)
    old.crash()
    assert cluster.wait_leader(75, other_than=old) is other
    assert not barred.writable()


def test_post_bootstrap_is_run_once_with_a_connection_to_the_new_cluster(cluster_of, bench):
    out = bench.folder / 'told'
    out.touch()
    out.chmod(0o666)
    script = bench.write(bench.folder / 'post', f'#!/bin/sh\npsql -XAtc "create table by_post (n int)" "$1" && echo ran >>{out}\n', 0o755)
    cluster = cluster_of(2, more={'bootstrap': {'post_bootstrap': str(script)}})
    leader = cluster.up()
    assert leader.value('select count(*) from by_post') == 0
    assert out.read_text() == 'ran\n'
    assert 'superuser-secret' not in leader.log.text()


def test_post_bootstrap_that_fails_cancels_the_cluster(cluster_of, bench):
    script = bench.write(bench.folder / 'post', '#!/bin/sh\nexit 3\n', 0o755)
    cluster = cluster_of(1, more={'bootstrap': {'post_bootstrap': str(script)}})
    cluster.start()
    node = cluster.nodes[0]
    node.log.wait('(?i)post_?-?bootstrap.*(3|fail)', 60)
    wait_for('no initialize key', lambda: cluster.store.get(PREFIX + 'initialize') in (None, ''), 30)
    assert not node.writable()


def test_custom_bootstrap_restores_a_backup(cluster_of, bench):
    """`bootstrap.method`: a cluster that begins with a base backup of another one."""
    source = cluster_of(1)
    first = source.up()
    first.sql('create table kept as select 7 as n')
    backup = bench.folder / 'backup'
    copied = bench.run([postgres_bin() / 'pg_basebackup', '-d', first.conninfo('replicator'), '-D', bench.make_folder('copy') / 'base',
                        '--checkpoint=fast'], bench.folder / 'copy')
    assert copied.returncode == 0, copied
    (bench.folder / 'copy' / 'base').rename(backup)
    source.stop()
    script = bench.write(bench.folder / 'restore', f'#!/bin/sh\nfor a in "$@"; do case $a in --datadir=*) d=${{a#*=}} ;; esac; done\n'
                         f'mkdir -p "$d" && cp -a {backup}/. "$d"\n', 0o755)
    (bench.folder / 'db-01').rename(bench.folder / 'source')
    (bench.folder / 'etcd-01').rename(bench.folder / 'source-etcd')
    cluster = cluster_of(2, more={'bootstrap': {'method': 'restore', 'restore': {'command': str(script)}}})
    leader = cluster.up()
    assert leader.value('select n from kept') == 7
    cluster.wait_replayed()


def test_replica_made_by_a_command_of_ones_own(cluster_of, bench):
    out = bench.folder / 'told'
    out.touch()
    out.chmod(0o666)
    script = bench.write(bench.folder / 'copy', f'''#!/bin/sh
for a in "$@"; do case $a in --datadir=*) d=${{a#*=}} ;; --connstring=*) c=${{a#*=}} ;; --depth=*) echo "$a" >>{out} ;; esac; done
exec {postgres_bin()}/pg_basebackup -D "$d" -d "$c" -X stream --checkpoint=fast
''', 0o755)
    cluster = cluster_of(2, more={'postgresql': {'create_replica_methods': ['mine', 'basebackup'],
                                                 'mine': {'command': str(script), 'depth': 3}}})
    cluster.up()
    assert out.read_text().split() == ['--depth=3']


def test_cascading_replica_streams_from_the_member_it_names(cluster_of):
    cluster = cluster_of(3)
    leader = cluster.up()
    middle, end = cluster.others(leader)
    end.change_yml({'tags': {'replicatefrom': middle.name}})
    assert end.rest.call('POST', '/reload').status == 202
    wait_for('the cascade', lambda: middle.value(
        "select count(*) from pg_stat_replication where application_name = %s and state = 'streaming'", end.name) == 1, 60)
    leader.sql('create table down_the_line as select 1 as n')
    cluster.wait_replayed()
    assert end.value('select n from down_the_line') == 1


def test_member_that_does_not_stream_has_neither_slot_nor_upstream(cluster_of):
    cluster = cluster_of(2)
    leader, other = cluster.nodes
    other.change_yml({'tags': {'nostream': True}})
    cluster.store.start()
    leader.start()
    assert cluster.wait_leader(90) is leader
    other.start()
    wait_for('a standby', lambda: other.rest.status('/replica') == 200, 90)
    assert setting(other, 'primary_conninfo') == setting(other, 'primary_slot_name') == ''
    holds_for('no slot of it', lambda: leader.value('select count(*) from pg_replication_slots') == 0, 5)
    assert leader.value('select count(*) from pg_stat_replication') == 0


def test_history_has_no_more_lines_than_max_timelines_history(cluster_of):
    cluster = cluster_of(2, more={'bootstrap': {'dcs': {'max_timelines_history': 2}}})
    cluster.up()

    def lines():
        return json.loads(cluster.store.get(PREFIX + 'history') or '[]')
    for timeline in range(1, 4):
        leader = cluster.switchover()
        wait_for(f'the end of timeline {timeline}', lambda t=timeline: lines()[-1][0] == t, 15)
        assert lines()[-1][4] == leader.name
        cluster.wait_healthy()
    assert [line[0] for line in lines()] == [2, 3]
    # Of those that were cut off PostgreSQL itself still knows.
    assert len((leader.data / 'pg_wal' / '00000004.history').read_text().splitlines()) >= 3
