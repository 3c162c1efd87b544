"""What the command line shows, and how it is called: list, topology, history, version, dsn, query, remove."""
import json
import re

import pytest
import yaml

from lab.bench import ok, refused
from lab.node import PASSWORDS
from lab.stub import PREFIX as STUB_PREFIX
from lab.wait import wait_for

CLUSTER = 'myapp-cluster'
FAR = '2099-01-01T00:00:00+00:00'
AWARE = 'Yes I am aware'


# --- list, topology


def test_list_in_every_format(two_nodes):
    cluster, leader = two_nodes
    replica = cluster.others(leader)[0]
    pretty = ok(leader.ctl('list'))
    identifier = leader.value('select system_identifier from pg_control_system()')
    assert pretty.startswith(f'+ Cluster: {CLUSTER} ({identifier}) -')
    for text in ('Member', 'Host', 'Role', 'State', 'TL', leader.name, replica.name, 'Leader', 'Replica',
                 f'{leader.address}:{leader.pg_port}'):
        assert text in pretty
    rows = json.loads(ok(leader.ctl('list', '-f', 'json')))
    assert [row['Member'] for row in rows] == sorted(n.name for n in cluster.nodes)
    text = ok(leader.ctl('list', '--format=yaml'))
    assert yaml.safe_load(text) == rows
    assert text.startswith('- Cluster: myapp-cluster\n  Host: '), 'keys in the order of the alphabet'
    assert ok(leader.ctl('list', '-f', 'yml')) == text
    tsv = [line.split('\t') for line in ok(leader.ctl('list', '-ftsv')).splitlines()]
    assert tsv[0] == ['Cluster', 'Member', 'Host', 'Role', 'State', 'TL',
                      'Receive LSN', 'Receive Lag', 'Replay LSN', 'Replay Lag']
    by_name = {line[1]: dict(zip(tsv[0], line)) for line in tsv[1:]}
    assert set(by_name) == {leader.name, replica.name}
    for row in rows:
        same = {key: str(value) for key, value in row.items() if not key.endswith('LSN')}
        assert same.items() <= by_name[row['Member']].items()


def test_extended_list_has_every_column(two_nodes):
    _, leader = two_nodes
    more = ['Pending restart', 'Pending restart reason', 'Scheduled restart', 'Tags']
    plain, extended = (ok(leader.ctl('list', *options, '-f', 'tsv')).splitlines()[0].split('\t') for options in ((), ('-e',)))
    assert extended == plain + more
    assert json.loads(ok(leader.ctl('list', '-e', '-f', 'json')))[0].keys() <= set(plain), 'programs are not told of nothing'


def test_columns_appear_where_somebody_has_something_to_say(stubs):
    stubs.members[1].publish(tags={'nofailover': True, 'clonefrom': True}, pending_restart=True,
                             pending_restart_reason={'shared_buffers': {'old_value': '128MB', 'new_value': '96MB'}},
                             scheduled_restart={'schedule': FAR, 'postgres_version': '16.1'})
    assert json.loads(ok(stubs.ctl('list', '-f', 'json')))[1].items() >= {
        'Pending restart': '*', 'Pending restart reason': 'shared_buffers: 128MB->96MB',
        'Scheduled restart': f'{FAR} if version < 16.1', 'Tags': {'nofailover': True, 'clonefrom': True}}.items()
    assert ok(stubs.ctl('list', '-f', 'tsv')).splitlines()[2].endswith(
        f'\t*\tshared_buffers: 128MB->96MB\t{FAR} if version < 16.1\t{{clonefrom: true, nofailover: true}}')
    pretty = ok(stubs.ctl('list'))
    assert re.search(r'\| clonefrom: true  \|\n.*\| nofailover: true \|\n', pretty), 'a line for each tag'


def test_timestamp_stands_above_the_list(two_nodes):
    _, leader = two_nodes
    first, second = ok(leader.ctl('list', '-t')).splitlines()[:2]
    assert re.fullmatch(r'\d{4}-\d\d-\d\d \d\d:\d\d:\d\d', first)
    assert second.startswith('+ Cluster: ')


def test_several_clusters_are_listed(stubs):
    out = ok(stubs.ctl('list', 'stub', 'other'))
    assert '+ Cluster: stub (7000000000000000000) ' in out and '+ Cluster: other (uninitialized) ' in out
    assert ok(stubs.ctl('list', 'other', '-f', 'json')) == '[]\n'


def test_configuration_and_store_can_be_named_in_many_ways(stubs):
    listed = ok(stubs.ctl('list'))
    bench, folder, yml, dcs = stubs.bench, stubs.folder, stubs.yml, f'etcd3://{stubs.store.hosts}'
    for arguments in ((f'-c{yml}',), ('--config-file', yml), (f'--config-file={yml}',), ('-k', '-c', yml)):
        assert ok(bench.run(['pgkeep', *arguments, 'list'], folder)) == listed
    assert ok(bench.run(['pgkeep', 'list'], folder, environment={'PATRONICTL_CONFIG_FILE': str(yml)})) == listed
    for option in ('-d', '--dcs', '--dcs-url'):
        assert ok(bench.run(['pgkeep', option, dcs, 'list', 'stub'], folder)) == listed
    assert ok(bench.run(['pgkeep', 'list', 'stub'], folder, environment={'DCS_URL': dcs})) == listed
    assert ok(bench.run(['pgkeep', 'list'], folder, environment={
        'PATRONI_SCOPE': 'stub', 'PATRONI_ETCD3_HOSTS': stubs.store.hosts})) == listed
    (folder / '.config' / 'patroni').mkdir(parents=True)
    bench.write(folder / '.config' / 'patroni' / 'patronictl.yaml', yml.read_text(), 0o644)
    for path in (folder / '.config', folder / '.config' / 'patroni'):
        bench.own(path)
    assert ok(bench.run(['pgkeep', 'list'], folder)) == listed
    assert 'uninitialized' in ok(bench.run(['pgkeep', '-d', f'{dcs}/elsewhere', 'list', 'stub'], folder))


def test_topology_shows_who_follows_whom(two_nodes):
    cluster, leader = two_nodes
    lines = ok(leader.ctl('topology')).splitlines()
    leader_line = next(i for i, line in enumerate(lines) if leader.name in line)
    replica_line = next(i for i, line in enumerate(lines) if cluster.others(leader)[0].name in line)
    assert leader_line < replica_line
    assert f'+ {cluster.others(leader)[0].name}' in lines[replica_line]


def test_show_config_is_yaml_of_the_dynamic_configuration(two_nodes):
    _, leader = two_nodes
    assert yaml.safe_load(ok(leader.ctl('show-config'))) == leader.rest.get('/config').json


def test_history_has_a_line_for_each_timeline(cluster_of):
    cluster = cluster_of(2)
    leader = cluster.up()
    new = cluster.switchover()
    cluster.wait_healthy()
    rows = wait_for('history', lambda: json.loads(ok(leader.ctl('history', '-f', 'json'))), 15)
    assert rows[-1]['TL'] == 1
    assert rows[-1]['New Leader'] == new.name


def test_patronictl_is_the_same_program(two_nodes):
    _, leader = two_nodes
    done = leader.bench.run(['patronictl', '-c', leader.yml, 'list', '-f', 'json'], leader.folder)
    assert len(json.loads(ok(done))) == 2


# --- dsn, version, history


def test_dsn_of_a_role_and_of_a_member(two_nodes):
    cluster, leader = two_nodes
    replica = cluster.others(leader)[0]
    for node, arguments in ((leader, ()), (leader, ('-r', 'primary')), (replica, ('--role=replica',)),
                            (replica, ('-m', replica.name))):
        assert ok(leader.ctl('dsn', *arguments)) == f'host={node.address} port={node.pg_port}\n'
    assert 'Can not find a suitable member' in refused(leader.ctl('dsn', '-m', 'nobody'))
    assert 'mutually exclusive' in refused(leader.ctl('dsn', '-m', leader.name, '-r', 'any'))


def test_version_of_the_program_and_of_the_members(two_nodes):
    cluster, leader = two_nodes
    replica = cluster.others(leader)[0]
    assert re.fullmatch(r'pgkeep version \S+\n', ok(leader.ctl('version')))
    told = ok(leader.bench.run(['patronictl', 'version'], leader.folder))
    assert re.fullmatch(r'patronictl version 4\.\S+ \(pgkeep \S+\)\n', told)
    server = leader.value('show server_version').split()[0]
    for names, nodes in (((), cluster.nodes), ((replica.name,), [replica])):
        lines = ok(leader.ctl('version', CLUSTER, *names)).splitlines()
        assert [line.split(' pgkeep ')[0] for line in lines[2:]] == [
            f'{node.name}: Patroni {node.status()["patroni"]["version"]} PostgreSQL {server}' for node in nodes]


def test_version_of_a_member_that_is_down(stubs):
    stubs.members[0].close()
    done = stubs.ctl('version', 'stub', 's1')
    assert done.returncode == 1 and 's1: failed to get version: ' in done.stdout, done


def test_history_in_every_format(stubs):
    header = ['TL', 'LSN', 'Reason', 'Timestamp', 'New Leader']
    assert ok(stubs.ctl('history', '-f', 'tsv')) == '\t'.join(header) + '\n'
    stubs.store.put(STUB_PREFIX + 'history', f'[[1,25623960,"no recovery target specified","{FAR}","s2"],[2,25624000,"x"]]')
    first, second = json.loads(ok(stubs.ctl('history', '-f', 'json')))
    assert first == dict(zip(header, [1, 25623960, 'no recovery target specified', FAR, 's2']))
    assert second == dict(zip(header, [2, 25624000, 'x', '', ''])), 'older versions wrote less'
    assert yaml.safe_load(ok(stubs.ctl('history', '-f', 'yaml'))) == [first, second]
    assert f'|  1 | 25623960 | no recovery target specified | {FAR} | s2         |' in ok(stubs.ctl('history'))


# --- query


@pytest.fixture
def query(two_nodes):
    """query(arguments …, stdin=…): on the shared cluster, as its superuser. The CompletedProcess."""
    _, leader = two_nodes

    def run(*arguments, stdin=None, user='postgres'):
        return leader.ctl('query', *arguments, '-U', user, stdin=stdin, environment={'PGPASSWORD': PASSWORDS[user]})
    return run


@pytest.mark.parametrize('role, recovery', [('primary', 'False'), ('leader', 'False'), ('replica', 'True'), ('standby', 'True')])
def test_query_runs_on_the_role_that_is_asked_for(query, role, recovery):
    out = ok(query('-r', role, '-d', 'postgres', '--command', 'select pg_is_in_recovery() as r'))
    assert out == f'r\n{recovery}\n'


def test_query_runs_on_the_member_that_is_asked_for(two_nodes, query):
    cluster, _ = two_nodes
    for node in cluster.nodes:
        out = ok(query('-m', node.name, '-d', 'postgres', '-c', "select current_setting('port') as port"))
        assert out == f'port\n{node.pg_port}\n'


def test_query_from_a_file_and_from_standard_input(two_nodes, query):
    _, leader = two_nodes
    file = leader.bench.write(leader.folder / 'q.sql', 'select 6 * 7 as answer;\n')
    for done in (query('-f', file, '-d', 'postgres'), query('-f', '-', '-d', 'postgres', stdin='select 6 * 7 as answer')):
        assert ok(done) == 'answer\n42\n'


def test_query_goes_to_the_database_and_user_that_are_named(query):
    sql = 'select current_database() as d, current_user as u'
    assert ok(query('-d', 'template1', '-c', sql)) == 'd\tu\ntemplate1\tpostgres\n'
    assert ok(query('-d', 'postgres', '-c', sql, user='replicator')) == 'd\tu\npostgres\treplicator\n'


def test_query_in_every_format(query):
    def out(*options):
        return ok(query('-d', 'postgres', '-c', "select 1 as a, null as b, 'x' as c, 1.5::float8 as d", *options))
    assert out() == out('--format', 'tsv') == 'a\tb\tc\td\n1\tNone\tx\t1.5\n'
    assert out('--delimiter', ';') == 'a;b;c;d\n1;None;x;1.5\n'
    row = [{'a': 1, 'b': None, 'c': 'x', 'd': 1.5}]
    assert json.loads(out('--format', 'json')) == yaml.safe_load(out('--format', 'yaml')) == row
    assert '| 1 | None | x | 1.5 |' in out('--format', 'pretty')


def test_query_without_rows_prints_none(query):
    done = query('-d', 'postgres', '-c', 'set work_mem to default')
    assert ok(done) == '' and done.stderr == 'SET\n'


@pytest.mark.parametrize('arguments, shown, said', [
    (('-c', 'select nothing_at_all'), 'ERROR, SQLSTATE: 42703', 'column "nothing_at_all" does not exist'),
    (('-c', 'select 1', '-m', 'nobody'), 'No connection to member nobody', 'No connection to member nobody'),
    (('-c', 'select 1', '-d', 'nowhere'), 'ERROR, SQLSTATE: ', 'database "nowhere" does not exist'),
    (('-c', 'select 1', '-r', 'standby-leader'), 'No connection to role ', "No connection to role 'standby-leader' is"),
], ids=['statement', 'member', 'database', 'role'])
def test_query_that_fails(query, arguments, shown, said):
    done = query('-d', 'postgres', *arguments)
    assert shown in done.stdout, 'where patronictl has it'
    assert said in refused(done)
    assert json.loads(query('-d', 'postgres', *arguments, '--format', 'json').stdout)[0].keys() == {'timestamp', 'error'}


def test_query_needs_one_statement_and_one_place(query):
    assert 'You need to specify either --command or --file' in refused(query())
    assert '--file and --command are mutually exclusive' in refused(query('-c', 'select 1', '-f', '-'))
    assert '--role and --member are mutually exclusive' in refused(query('-c', 'select 1', '-r', 'any', '-m', 'db-01'))
    assert '/no/such.sql' in refused(query('-f', '/no/such.sql'))


def test_watched_query_goes_to_whoever_is_there(two_nodes):
    _, leader = two_nodes
    arguments = ('query', '-w', '0.2', '-U', 'postgres', '-d', 'postgres', '-c', "select 'pid', pg_backend_pid() as pid")
    with leader.ctl_terminal(*arguments, environment={'PGPASSWORD': PASSWORDS['postgres']}) as terminal:
        pid = int(terminal.see(r'pid\t(\d+)\r\n').group(1))
        assert int(terminal.see(r'pid\t(\d+)\r\n').group(1)) == pid, 'one connection for all looks'
        leader.value('select pg_terminate_backend(%s)', pid)
        terminal.see('ERROR, SQLSTATE: .*terminating connection due to administrator command')
        assert int(terminal.see(r'pid\t(\d+)\r\n').group(1)) != pid
        terminal.interrupt()
        assert terminal.end() < 0


# --- remove


@pytest.mark.parametrize('answers, said', [
    ('another\n', 'Cluster names specified do not match'),
    ('stub\nyes\n', f'You did not exactly type "{AWARE}"'),
    (f'stub\n{AWARE}\ns2\n', 'You did not specify the current leader of the cluster'),
    (f'stub\n{AWARE}\n', 'Aborted!'),
], ids=['name', 'phrase', 'leader', 'nobody'])
def test_remove_needs_three_answers(stubs, answers, said):
    before = stubs.store.keys(STUB_PREFIX)
    assert said in refused(stubs.ctl('remove', 'stub', stdin=answers))
    assert stubs.store.keys(STUB_PREFIX) == before


def test_remove_takes_one_cluster_out_of_the_store(stubs):
    stubs.store.put('/service/stub2/config', '{}')
    done = stubs.ctl('remove', 'stub', stdin=f'stub\n{AWARE}\ns1\n')
    assert ok(done).endswith(
        'Please confirm the cluster name to remove: '
        f'You are about to remove all information in DCS for stub, please type: "{AWARE}": '
        'This cluster currently is healthy. Please specify the leader name to continue: ')
    assert stubs.store.keys('/service/') == {'/service/stub2/config': '{}'}
    stubs.store.delete(STUB_PREFIX + 'leader')
    ok(stubs.ctl('remove', 'stub2', stdin=f'stub2\n{AWARE}\n'))
    assert stubs.store.keys('/service/') == {}, 'without a leader it is not asked for'


# --- what cannot be done


@pytest.mark.parametrize('arguments, said', [
    (('switchover', '--candidate', 'nobody', '--force'), 'Member nobody does not exist'),
    (('switchover', '--leader', 's2', '--force'), 'Member s2 is not the leader'),
    (('failover', '--force'), 'Failover could be performed only to a specific candidate'),
    (('failover', '--candidate', 's1', '--force'), 'Member s1 is already the leader'),
    (('restart', 'stub', 'nobody', '--force'), 'nobody is not a member of cluster'),
    (('restart', 'stub', 's2', '-r', 'leader', '--force'), 'No leader among provided members'),
    (('restart', 'elsewhere', '--force'), "elsewhere cluster doesn't have any members"),
    (('reload', 'stub', 'nobody', '--force'), 'nobody is not a member of cluster'),
    (('flush', 'stub', 'nobody', 'restart', '--force'), 'nobody is not a member of cluster'),
    (('reinit', 'stub', 's1', '--force'), 'No replica among provided members'),
    (('reinit', 'stub', '--force'), 'Name the members to reinitialize'),
    (('switchover', 'elsewhere'), 'This cluster has no leader'),
    (('-c', '/no/such.yml', 'list'), 'Provided config file /no/such.yml not existing'),
    (('-d', 'redis://h', 'list'), 'Unknown dcs scheme: redis'),
    (('-d', 'etcd3://127.0.0.1:1', 'list', 'stub'), 'store: '),
])
def test_what_cannot_be_done_exits_with_1_and_says_why(stubs, arguments, said):
    assert said in refused(stubs.ctl(*arguments))


@pytest.mark.parametrize('arguments, said', [
    ((), 'Commands:'),
    (('nope',), "No such command 'nope'."),
    (('--nope', 'list'), 'No such option: --nope'),
    (('list', '--nope'), 'No such option: --nope'),
    (('list', '-f', 'xml'), "'xml' is not one of 'pretty', 'tsv', 'json', 'yaml'"),
    (('list', '-w', 'often'), "'often' is no number of seconds"),
    (('restart', '-r', 'king'), "'king' is not one of"),
    (('flush', 'stub'), "Missing argument '{restart|switchover}'"),
    (('dsn', 'stub', 'more'), 'Got unexpected extra argument (more)'),
    (('dsn', '-m'), "Option '-m' requires an argument."),
])
def test_wrong_call_exits_with_2_and_shows_the_usage(stubs, arguments, said):
    done = stubs.ctl(*arguments)
    assert done.returncode == 2 and said in done.stderr + done.stdout, done
    assert 'Usage: pgkeep ' in done.stderr + done.stdout
