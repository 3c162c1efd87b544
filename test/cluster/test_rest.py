"""
The REST API: one list of requests, put to Debian's Patroni and to pgkeep, codes and JSON keys compared;
and what pgkeep's must be beyond that: open to health checks whatever is stuck.
"""
import signal
import socket
import ssl
import threading
import time

import pytest

from lab import proc
from lab.bench import Bench
from lab.cluster import Cluster
from lab.rest import Answer, Rest
from lab.wait import wait_for

HEALTH = ('/', '/primary', '/master', '/leader', '/read-write', '/replica', '/replica?lag=1MB', '/replica?lag=64kB',
          '/replica?lag=nonsense', '/replica?tag_none=1', '/read-only', '/standby-leader', '/standby_leader', '/sync',
          '/synchronous', '/async', '/asynchronous', '/async?lag=100MB', '/async?lag=0', '/read-only-sync',
          '/read-only-synchronous', '/quorum', '/read-only-quorum', '/health', '/nonsense', '/nonsense/deeper',
          '/replica?lag=', '/replica?lag=0', '/replica?lag=1', '/replica?lag=1.5GB',
          '/replica?lag=16%20kB', '/replica?lag=1TB', '/replica?lag=1XB', '/replica?lag=1MB&lag=0',
          '/replica?tag_none=', '/primary?tag_none=1', '/read-only?lag=1MB', '/read-only?tag_none=1',
          '/health?tag_none=1', '/primary/', '/a-replica-of-mine')
READS = HEALTH + ('/liveness', '/readiness', '/patroni', '/cluster', '/history', '/config', '/failsafe', '/metrics')
PAST, FAR = '2001-01-01T00:00:00+00:00', '2099-01-01T00:00:00+00:00'
# (method, path, body): none of them changes anything that lasts.
WRITES = (
    ('POST', '/nonsense', {}), ('PUT', '/nonsense', {}), ('DELETE', '/nonsense', None), ('PATCH', '/nonsense', {}),
    ('POST', '/reload', {}),
    ('PATCH', '/config', '{'), ('PATCH', '/config', []), ('PATCH', '/config', {}),
    ('PUT', '/config', '{'),
    ('DELETE', '/restart', None), ('DELETE', '/switchover', None),
    ('POST', '/restart', '{'), ('POST', '/restart', []), ('POST', '/restart', {'nonsense': 1}),
    ('POST', '/restart', {'schedule': 'tomorrow'}), ('POST', '/restart', {'schedule': PAST}),
    ('POST', '/restart', {'postgres_version': 'old'}), ('POST', '/restart', {'timeout': 'long'}),
    ('POST', '/restart', {'role': 'nonsense'}), ('POST', '/restart', {'restart_pending': True}),
    ('POST', '/restart', {'schedule': FAR}), ('POST', '/restart', {'schedule': FAR}), ('DELETE', '/restart', None),
    ('POST', '/switchover', '{'), ('POST', '/switchover', {}), ('POST', '/switchover', {'leader': 'nobody'}),
    ('POST', '/switchover', {'leader': 'db-01', 'candidate': 'nobody'}),
    ('POST', '/switchover', {'leader': 'db-01', 'scheduled_at': 'tomorrow'}),
    ('POST', '/switchover', {'leader': 'db-01', 'scheduled_at': PAST}),
    ('POST', '/switchover', {'leader': 'db-01', 'scheduled_at': FAR}), ('DELETE', '/switchover', None),
    ('POST', '/failover', {}), ('POST', '/failover', {'candidate': 'nobody'}),
    ('POST', '/reinitialize', '{'), ('POST', '/reinitialize', []),
    ('POST', '/failsafe', {'name': 'db-09', 'conn_url': 'x', 'api_url': 'x'}), ('POST', '/failsafe', '{'),
    ('PATCH', '/config', ''), ('PATCH', '/config', 'null'), ('PATCH', '/config', '"text"'), ('PATCH', '/config', b'\xff'),
    ('PUT', '/config', ''), ('PUT', '/config', []), ('POST', '/restart', 'null'), ('POST', '/failover', '{'),
    ('POST', '/failover', []), ('POST', '/switchover', []), ('POST', '/switchover', ''),
    ('POST', '/restart/deeper', {'nonsense': 1}), ('POST', '/', {}), ('GET', '/restart', None), ('PUT', '/restart', {}),
    ('DELETE', '/config', None), ('PUT', '/switchover', {}), ('DELETE', '/failover', None),
)
# Sent without a Content-Length.
ENDLESS = (('PATCH', '/config'), ('PUT', '/config'), ('POST', '/switchover'), ('POST', '/failover'),
           ('POST', '/failsafe'), ('POST', '/reload'), ('DELETE', '/restart'), ('DELETE', '/switchover'))
# Where pgkeep follows Patroni 4 and not 3.0.2: (method, path, body) or path alone, and why.
NEWER = {
    '/readiness': 'Patroni 4 looks at the lag of a replica',
    '/read-only-quorum': 'not known to 3.0.2, which takes it for /read-only',
}


def shape(value):
    """Keys all the way down; of a list, those of its first member."""
    if isinstance(value, dict):
        return {key: shape(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [shape(value[0])] if value else []
    return None


def lacks(ours, theirs, where=''):
    """Keys of theirs that ours has not."""
    if isinstance(theirs, dict):
        if not isinstance(ours, dict):
            return [f'{where}: no object']
        missing = [f'{where}.{key}' for key in theirs if key not in ours]
        return missing + [m for key in theirs if key in ours for m in lacks(ours[key], theirs[key], f'{where}.{key}')]
    if isinstance(theirs, list) and theirs and isinstance(ours, list) and ours:
        return lacks(ours[0], theirs[0], where + '[]')
    return []


def without_length(node, method, path):
    with socket.create_connection((node.address, node.rest_port), timeout=30) as connection:
        connection.sendall(f'{method} {path} HTTP/1.0\r\n\r\n'.encode())
        line = connection.makefile('rb').readline()
    return Answer(int(line.split()[1]), {}, b'')


def answers(cluster):
    """{(role, method, path, body): Answer} of every request, on a leader named db-01 and its replica."""
    got = {}
    leader = cluster.leader()
    for role, node in (('leader', leader), ('replica', cluster.others(leader)[0])):
        for path in READS:
            got[role, 'GET', path, None] = node.rest.get(path)
        for path in HEALTH:
            for method in ('HEAD', 'OPTIONS'):
                got[role, method, path, None] = node.rest.call(method, path)
        for number, (method, path, body) in enumerate(WRITES):
            got[role, method, path, f'{number}: {body}'] = node.rest.call(method, path, body, deadline_s=30)
        for method, path in ENDLESS:
            got[role, method, path, 'no length'] = without_length(node, method, path)
    return got


@pytest.fixture(scope='module')
def both():
    """The answers of Debian's Patroni and of pgkeep."""
    got = {}
    for flavour in ('patroni', 'pgkeep'):
        place = Bench(f'rest-{flavour}')
        try:
            cluster = Cluster(place, 2, flavours=flavour)
            cluster.store.start()
            cluster.nodes[0].start()
            cluster.wait_leader(90)
            cluster.nodes[1].start()
            leader = cluster.wait_healthy()
            # The status is a picture that is renewed every second.
            wait_for('the replica in the status', lambda: leader.status().get('replication'), 10)
            got[flavour] = answers(cluster)
        except BaseException:
            place.keep(flavour)
            raise
        finally:
            place.close()
    return got


@pytest.mark.peer
def test_every_request_gets_patronis_code(both):
    different = [f'{request}: Patroni {theirs.status}, pgkeep {both["pgkeep"][request].status}'
                 for request, theirs in both['patroni'].items()
                 if theirs.status != both['pgkeep'][request].status and request[2] not in NEWER]
    assert not different, '\n'.join(different)


@pytest.mark.peer
def test_every_json_answer_has_patronis_keys(both):
    missing = []
    for request, theirs in both['patroni'].items():
        if not theirs.headers.get('Content-Type', '').startswith('application/json') or request[1] != 'GET':
            continue
        missing += [f'{request}: {m}' for m in lacks(shape(both['pgkeep'][request].json), shape(theirs.json))]
    assert not missing, '\n'.join(missing)


@pytest.mark.peer
def test_metrics_have_patronis_names(both):
    def names(answer):
        return {line.split()[2] for line in answer.text.splitlines() if line.startswith('# TYPE')}
    # 3.0.2 says master where 4 says primary.
    theirs = {name.replace('_master', '_primary') for name in names(both['patroni']['leader', 'GET', '/metrics', None])}
    assert theirs - names(both['pgkeep']['leader', 'GET', '/metrics', None]) == set()


@pytest.mark.peer
def test_head_and_options_answer_with_a_bare_status(both):
    for request, answer in both['pgkeep'].items():
        if request[1] in ('HEAD', 'OPTIONS'):
            assert answer.body == b'' and not answer.headers, request


def make_certificate(bench):
    """A key and the certificate of 127.0.0.1 that goes with it."""
    folder = bench.make_folder('tls')
    key, cert = folder / 'rest.key', folder / 'rest.crt'
    done = bench.run(['openssl', 'req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2', '-subj', '/CN=localhost',
                      '-addext', 'subjectAltName=IP:127.0.0.1', '-keyout', key, '-out', cert], folder)
    assert done.returncode == 0, done
    return key, cert


def refusals(place, flavour, restapi, callers):
    """{(caller, method, path): status or "refused"} of a node with this restapi section, that a caller asks."""
    cluster = Cluster(place, 1, flavours=flavour, more={'restapi': restapi})
    node = cluster.nodes[0]
    cluster.store.start()
    node.start()
    got = {}
    for caller, how in callers.items():
        rest = Rest(node.address, node.rest_port, **how)
        for method, path, body in (('GET', '/patroni', None), ('GET', '/config', None), ('POST', '/reload', {}),
                                   ('PATCH', '/config', {}), ('PATCH', '/config', '{'), ('DELETE', '/restart', None),
                                   ('POST', '/failsafe', {}), ('POST', '/nonsense', {})):
            def ask():
                return rest.call(method, path, body).status
            if caller == next(iter(callers)) and path == '/patroni':
                wait_for('an interface that answers', ask, 60)
            try:
                got[caller, method, path, str(body)] = ask()
            except OSError:
                got[caller, method, path, str(body)] = 'refused'
    return got


@pytest.mark.peer
@pytest.mark.parametrize('kind', ['password', 'allowlist', 'optional', 'required'])
def test_who_may_do_what_is_as_with_patroni(bench, kind):
    key, cert = make_certificate(bench)
    unknown, known = (ssl.create_default_context(cafile=cert) for _ in range(2))
    known.load_cert_chain(cert, key)
    password = {'authentication': {'username': 'admin', 'password': 'secret'}}
    right, wrong = {'user': ('admin', 'secret')}, {'user': ('admin', 'wrong')}
    tls = {'certfile': str(cert), 'keyfile': str(key), 'cafile': str(cert), **password}
    over_tls = {'known': {'tls': known, **right}, 'known without password': {'tls': known},
                'unknown': {'tls': unknown, **right}}
    restapi, callers = {
        'password': (password, {'right': right, 'wrong': wrong, 'none': {}, 'empty': {'user': ('', '')}}),
        'allowlist': ({'allowlist': ['192.0.2.0/24'], **password}, {'right': right, 'none': {}}),
        'optional': ({'verify_client': 'optional', **tls}, over_tls),
        'required': ({'verify_client': 'required', **tls}, over_tls),
    }[kind]
    got = {}
    for flavour in ('patroni', 'pgkeep'):
        place = Bench(f'access-{kind}-{flavour}')
        try:
            got[flavour] = refusals(place, flavour, restapi, callers)
        finally:
            place.close()
    assert got['pgkeep'] == got['patroni']
    assert set(got['pgkeep'].values()) & {401, 403, 'refused'}


def test_primary_says_yes_only_when_postgres_is_open_for_writes(cluster_of):
    """Sampled fast over a switchover: 200 on /primary, then a write that works."""
    cluster = cluster_of(2)
    old = cluster.up()
    old.sql('create table sample (n int)')
    candidate = cluster.others(old)[0]
    asked = threading.Thread(target=old.rest.call, args=('POST', '/switchover', {
        'leader': old.name, 'candidate': candidate.name}), kwargs={'deadline_s': 60})
    asked.start()
    wait_for('200 on /primary', lambda: candidate.rest.status('/primary') == 200, 30, every_s=0.002)
    candidate.sql('insert into sample values (1)', deadline_s=1)
    assert old.rest.status('/primary') == 503
    asked.join(60)
    assert not asked.is_alive()


def test_health_checks_are_answered_while_postgres_is_stuck(cluster_of):
    cluster = cluster_of(1)
    node = cluster.up()
    pids = node.postgres_pids()
    proc.send(pids, signal.SIGSTOP)
    try:
        for path in ('/patroni', '/health', '/liveness', '/cluster', '/metrics'):
            began = time.monotonic()
            node.rest.get(path)
            assert time.monotonic() - began < 0.5, path
    finally:
        proc.send(pids, signal.SIGCONT)


def test_health_checks_are_answered_while_the_store_is_stuck(cluster_of):
    cluster = cluster_of(1)
    node = cluster.up()
    cluster.store.freeze()
    try:
        for path in ('/patroni', '/health', '/liveness', '/cluster', '/config', '/metrics'):
            began = time.monotonic()
            node.rest.get(path)
            assert time.monotonic() - began < 0.5, path
    finally:
        cluster.store.thaw()


def test_a_hundred_silent_connections_do_not_slow_an_answer(two_nodes):
    _, leader = two_nodes
    silent = []
    try:
        for _ in range(100):
            silent.append(socket.create_connection((leader.address, leader.rest_port), timeout=2))
        for _ in range(20):
            began = time.monotonic()
            assert leader.rest.status('/primary') == 200
            assert time.monotonic() - began < 0.5
    finally:
        for connection in silent:
            connection.close()


def test_a_hundred_silent_tls_connections_do_not_slow_an_answer(cluster_of, bench):
    key, cert = make_certificate(bench)
    cluster = cluster_of(1, more={'restapi': {'certfile': str(cert), 'keyfile': str(key)},
                                  'ctl': {'cacert': str(cert)}})
    node = cluster.nodes[0]
    context = ssl.create_default_context(cafile=cert)
    node.rest = Rest(node.address, node.rest_port, tls=context)
    cluster.store.start()
    node.start()
    cluster.wait_leader(90)
    silent = []
    try:
        for _ in range(100):
            silent.append(socket.create_connection((node.address, node.rest_port), timeout=2))
        for _ in range(20):
            began = time.monotonic()
            assert node.rest.status('/primary') == 200
            assert time.monotonic() - began < 0.5
    finally:
        for connection in silent:
            connection.close()
    assert node.list()


def test_members_and_the_command_line_show_their_certificates(cluster_of, bench):
    key, cert = make_certificate(bench)
    cluster = cluster_of(2, more={
        'restapi': {'certfile': str(cert), 'keyfile': str(key), 'cafile': str(cert), 'verify_client': 'required'},
        'ctl': {'cacert': str(cert), 'certfile': str(cert), 'keyfile': str(key)}})
    with_certificate = ssl.create_default_context(cafile=cert)
    with_certificate.load_cert_chain(cert, key)
    for node in cluster.nodes:
        node.rest = Rest(node.address, node.rest_port, tls=with_certificate)
    leader = cluster.up()
    with pytest.raises(OSError):
        Rest(leader.address, leader.rest_port, tls=ssl.create_default_context(cafile=cert)).get('/patroni')
    candidate = cluster.others(leader)[0]
    assert cluster.switchover(candidate) is candidate
    assert cluster.wait_healthy() is candidate
    done = candidate.ctl('restart', 'myapp-cluster', leader.name, '--force')
    assert done.returncode == 0 and f'Success: restart on member {leader.name}' in done.stdout, done


def test_writing_needs_the_password_where_there_is_one(cluster_of):
    cluster = cluster_of(1, more={'restapi': {'authentication': {'username': 'admin', 'password': 'rest-secret'}}})
    node = cluster.up()
    assert node.rest.call('POST', '/reload', {}).status == 401
    assert Rest(node.address, node.rest_port, user=('admin', 'wrong')).call('POST', '/reload', {}).status == 401
    assert Rest(node.address, node.rest_port, user=('admin', 'rest-secret')).call('POST', '/reload', {}).status == 202
    assert node.rest.get('/patroni').status == 200
    assert 'rest-secret' not in node.log.text()


def test_writing_is_for_the_allowlist_only(cluster_of):
    cluster = cluster_of(1, more={'restapi': {'allowlist': ['192.0.2.1']}})
    node = cluster.up()
    assert node.rest.call('POST', '/reload', {}).status == 403
    assert node.rest.get('/patroni').status == 200


def test_status_tells_the_truth(two_nodes):
    cluster, leader = two_nodes
    replica = cluster.others(leader)[0]
    ours, theirs = leader.status(), replica.status()
    assert ours['state'] == theirs['state'] == 'running'
    assert ours['role'] == 'primary' and theirs['role'] == 'replica'
    assert ours['server_version'] == leader.value("select current_setting('server_version_num')::int")
    assert ours['database_system_identifier'] == str(leader.value('select system_identifier from pg_control_system()'))
    assert [r['application_name'] for r in ours['replication']] == [replica.name]
    assert theirs['replication_state'] == 'streaming'
    assert ours['timeline'] == theirs['timeline']
    assert abs(ours['xlog']['location'] - leader.value("select pg_current_wal_lsn() - '0/0'")) < 1 << 20
    assert ours['patroni']['name'] == leader.name and ours['patroni']['scope'] == 'myapp-cluster'


def test_a_member_tagged_noloadbalance_is_healthy_but_takes_no_readers(cluster_of):
    cluster = cluster_of(2)
    leader = cluster.up()
    replica, = cluster.others(leader)
    paths = ('/replica', '/read-only', '/health', '/liveness', '/readiness')

    def answers():
        return [replica.rest.status(path) for path in paths]

    def tag(value):
        replica.change_yml({'tags': {'noloadbalance': value}})
        assert replica.rest.call('POST', '/reload').status == 202
    assert answers() == [200] * 5
    tag(True)
    wait_for('503 for readers', lambda: answers() == [503, 503, 200, 200, 200], 10)
    wait_for('the tag in the list', lambda: {row['Member']: row.get('Tags') for row in leader.list()} == {
        leader.name: None, replica.name: {'noloadbalance': True}}, 10)
    assert cluster.wait_healthy() is leader
    tag(None)
    wait_for('200 again', lambda: answers() == [200] * 5, 10)
