"""check and init: what is wrong with a configuration or a machine, and a first configuration that is not wrong."""
import re
import subprocess

import pytest
import yaml

from lab.bench import ok
from lab.cluster import PREFIX
from lab.node import postgres_bin


def test_check_names_every_wrong_key_at_once(bench, cluster_of):
    cluster = cluster_of(1, more={'postgresql': {'listen': '127.0.0.1:99999'}, 'restapi': {'connect_address': 'nowhere:port'}, 'scoope': 'x'})
    node = cluster.nodes[0]
    for command in (['pgkeep', 'check', node.yml], ['patroni', '--validate-config', node.yml]):
        done = bench.run(command, node.folder)
        assert done.returncode != 0
        out = done.stdout + done.stderr
        assert 'postgresql.listen' in out and 'restapi.connect_address' in out and 'scoope' in out


def test_check_names_all_that_is_wrong_with_the_machine_at_once(bench, cluster_of):
    cluster = cluster_of(1, more={'postgresql': {'bin_dir': '/nowhere', 'data_dir': '/proc/nowhere/data'}})
    node = cluster.nodes[0]
    done = bench.run(['pgkeep', 'check', node.yml], node.folder)
    assert done.returncode != 0
    out = done.stdout + done.stderr
    assert '/nowhere' in out and '/proc/nowhere' in out
    assert cluster.store.members[0].client in out, 'the store that nobody has started'


def findings(done):
    """{key: (level, text)} of a check's output; each names the file and the line that the key stands in."""
    found = {}
    for line in done.stdout.splitlines():
        match = re.match(r'(error|warning) +\S+node\.yml:\d+: ([\w.-]+): (.*)', line)
        if match:
            found[match[2]] = match[1], match[3]
    return found


@pytest.mark.smoke
def test_check_names_every_program_that_is_missing(bench, cluster_of):
    no_program = bench.write(bench.folder / 'script', '#!/bin/sh\n')
    cluster = cluster_of(1, more={
        'bootstrap': {
            'method': 'pitr', 'pitr': {'command': '/nowhere/pitr --now'}, 'unused': {'command': '/nowhere/unused'},
            'post_bootstrap': '/nowhere/post',
            'dcs': {'postgresql': {'parameters': {'archive_command': '/nowhere/archive %p',
                                                  'archive_cleanup_command': 'test -e "$X" && /nowhere/clean'}}}},
        'postgresql': {
            'pre_promote': str(no_program), 'before_stop': '/nowhere/before',
            'callbacks': {'on_start': 'no-such-program up', 'on_stop': '/bin/true', 'on_reload': "'open quote"},
            'create_replica_methods': ['wal_g', 'plain'], 'wal_g': {'command': '/nowhere/wal-g fetch'},
            'plain': {'command': '/nowhere/plain'},
            'bin_name': {'pg_rewind': 'pg_rewind-custom'},
            'recovery_conf': {'restore_command': '/nowhere/restore %f'}}})
    cluster.store.start()
    node = cluster.nodes[0]
    found = findings(bench.run(['pgkeep', 'check', node.yml], node.folder))
    missing = 'No such file or directory'
    assert found == {
        'bootstrap.pitr.command': ('error', f'/nowhere/pitr: {missing}'),
        'bootstrap.unused.command': ('warning', f'/nowhere/unused: {missing}'),
        'bootstrap.post_bootstrap': ('error', f'/nowhere/post: {missing}'),
        'bootstrap.dcs.postgresql.parameters.archive_command': ('warning', f'/nowhere/archive: {missing}'),
        'postgresql.pre_promote': ('error', f'{no_program}: is not executable'),
        'postgresql.before_stop': ('warning', f'/nowhere/before: {missing}'),
        'postgresql.callbacks.on_start': ('warning', 'no-such-program: no such program in PATH'),
        'postgresql.callbacks.on_reload': ('warning', 'command "\'open quote": a quote or backslash is left open'),
        'postgresql.wal_g.command': ('warning', f'/nowhere/wal-g: {missing}'),
        'postgresql.plain.command': ('warning', f'/nowhere/plain: {missing}'),
        'postgresql.create_replica_methods': ('error', 'none of them can be executed: the node cannot clone'),
        'postgresql.bin_name.pg_rewind': ('error', 'pg_rewind-custom is not installed beside postgres'),
        'postgresql.recovery_conf.restore_command': ('warning', f'/nowhere/restore: {missing}'),
    }


def test_check_refuses_strict_mode_where_postgres_does_not_keep_it(bench, cluster_of):
    programs = bench.folder / 'bin'
    programs.mkdir()
    for program in postgres_bin().iterdir():
        if program.name != 'postgres':
            (programs / program.name).symlink_to(program)
    script = bench.write(programs / 'postgres', '#!/bin/sh\necho "postgres (PostgreSQL) 15.12"\n')
    script.chmod(0o755)
    dcs = {'synchronous_mode': 'quorum', 'synchronous_mode_strict': True}
    cluster = cluster_of(1, more={'bootstrap': {'dcs': dcs}, 'postgresql': {'bin_dir': str(programs)}})
    cluster.store.start()
    node = cluster.nodes[0]
    level, text = findings(bench.run(['pgkeep', 'check', node.yml], node.folder))['bootstrap.dcs.synchronous_mode_strict']
    assert level == 'error' and '15.12' in text and 'fixed in 15.13' in text
    script.write_text('#!/bin/sh\necho "postgres (PostgreSQL) 15.13"\n')
    assert findings(bench.run(['pgkeep', 'check', node.yml], node.folder)) == {}


def certificate(bench, name, *options):
    """A key and a certificate that goes with it."""
    key, cert = bench.folder / f'{name}.key', bench.folder / f'{name}.crt'
    made = subprocess.run(['openssl', 'req', '-x509', '-newkey', 'rsa:2048', '-days', '2', '-subj', '/CN=localhost',
                           '-keyout', key, '-out', cert, *(options or ['-nodes'])], capture_output=True, check=False)
    assert made.returncode == 0, made
    bench.own(key)
    bench.own(cert)
    return str(key), str(cert)


@pytest.mark.smoke
def test_check_names_every_file_and_folder_that_is_not_as_it_has_to_be(bench, cluster_of):
    (key, cert), (other_key, _), (locked_key, locked_cert) = (
        certificate(bench, 'one'), certificate(bench, 'other'), certificate(bench, 'locked', '-passout', 'pass:secret'))
    noise = str(bench.write(bench.folder / 'noise', 'no certificate\n'))
    cluster = cluster_of(1, more={
        'restapi': {'certfile': cert, 'keyfile': other_key, 'cafile': noise},
        'ctl': {'certfile': locked_cert, 'keyfile': locked_key, 'cacert': '/nowhere/ca'},
        'etcd3': {'cert': cert, 'key': '/nowhere/etcd.key', 'cacert': cert},
        'postgresql': {
            'custom_conf': '/nowhere/custom.conf', 'pgpass': str(bench.folder),
            'authentication': {'replication': {'sslcert': cert, 'sslkey': key, 'sslrootcert': '/nowhere/root.crt'}},
            'parameters': {'unix_socket_directories': f'/proc/nowhere, {"/tmp/" + 100 * "x"}, @abstract'}}})
    cluster.store.start()
    node = cluster.nodes[0]
    done = bench.run(['pgkeep', 'check', node.yml], node.folder)
    found = findings(done)
    missing = 'No such file or directory'
    sockets = found.pop('postgresql.parameters.unix_socket_directories')
    assert sockets[0] == 'error' and f'{100 * "x"}/.s.PGSQL.' in sockets[1] and 'too long' in sockets[1]
    assert 'unix_socket_directories: /proc/nowhere: does not exist, and cannot be made' in done.stdout
    assert found == {
        'restapi.keyfile': ('error', f'{other_key}: is not the key of the certificate {cert}'),
        'restapi.cafile': ('error', f'{noise}: holds no certificate in PEM form'),
        'ctl.keyfile': ('error', f'{locked_key}: holds no private key in PEM form, or one that needs a password'),
        'ctl.cacert': ('error', f'/nowhere/ca: {missing}'),
        'etcd3.key': ('error', f'/nowhere/etcd.key: {missing}'),
        'postgresql.custom_conf': ('error', f'/nowhere/custom.conf: {missing}'),
        'postgresql.pgpass': ('error', f'{bench.folder}: is no file'),
        'postgresql.authentication.replication.sslrootcert': ('error', f'/nowhere/root.crt: {missing}'),
    }


@pytest.mark.smoke
def test_check_opens_a_key_with_its_password(bench, cluster_of):
    key, cert = certificate(bench, 'locked', '-passout', 'pass:secret')
    cluster = cluster_of(1, more={'restapi': {'certfile': cert, 'keyfile': key, 'keyfile_password': 'secret'}})
    cluster.store.start()
    node = cluster.nodes[0]
    assert set(findings(bench.run(['pgkeep', 'check', node.yml], node.folder))) == set()
    node.change_yml({'restapi': {'keyfile_password': 'wrong'}})
    found = findings(bench.run(['pgkeep', 'check', node.yml], node.folder))
    assert 'that the password opens' in found['restapi.keyfile'][1]


def test_check_passes_the_articles_yaml(cluster_of):
    cluster = cluster_of(1)
    cluster.store.start()
    node = cluster.nodes[0]
    ok(node.bench.run(['pgkeep', 'check', node.yml], node.folder))


def test_first_configuration_passes_its_own_check(bench):
    folder = bench.make_folder('init')
    done = bench.run(['patroni', '--generate-sample-config'], folder)
    assert yaml.safe_load(ok(done))['postgresql']
    ok(bench.run(['pgkeep', 'init', '--yes', '--host', '127.0.0.1', '--data-dir', folder / 'data', 'n1.yml'], folder))
    done = bench.run(['pgkeep', 'check', 'n1.yml'], folder)
    wrong = [line for line in (done.stdout + done.stderr).splitlines() if line.startswith('error')]
    assert not [line for line in wrong if 'store: ' not in line], wrong  # nobody has started one


def test_second_nodes_configuration_is_the_firsts_but_for_what_is_its_own(bench):
    folder = bench.make_folder('init')
    ok(bench.run(['pgkeep', 'init', '--yes', '--scope', 's', '--name', 'n1', '--host', '127.0.0.1', '--data-dir',
                  folder / 'd1', 'n1.yml'], folder))
    first = yaml.safe_load((folder / 'n1.yml').read_text())
    first['etcd3'].update(protocol='https', cacert='/etc/ca.pem', username='u', password='secret')
    first['restapi']['authentication'] = {'username': 'a', 'password': 'b'}
    first['tags'] = {'nofailover': True}
    bench.write(folder / 'n1.yml', yaml.safe_dump(first))
    ok(bench.run(['pgkeep', 'init', '--yes', '--from', 'n1.yml', '--name', 'n2', '--host', '127.0.0.2', '--port', '5433',
                  '--data-dir', folder / 'd2', 'n2.yml'], folder))
    second = yaml.safe_load((folder / 'n2.yml').read_text())
    assert (folder / 'n2.yml').stat().st_mode & 0o777 == 0o600
    assert second['name'] == 'n2' and 'tags' not in second
    assert second['postgresql']['listen'] == second['postgresql']['connect_address'] == '127.0.0.2:5433'
    assert second['restapi']['connect_address'] == '127.0.0.2:8008'
    assert second['postgresql']['data_dir'] == str(folder / 'd2')
    for same in ('scope', 'namespace', 'etcd3', 'bootstrap'):
        assert second[same] == first[same]
    assert second['restapi']['authentication'] == first['restapi']['authentication']
    assert second['postgresql']['authentication'] == first['postgresql']['authentication']


def test_check_names_what_the_cluster_asks_for_and_cannot_get(cluster_of):
    cluster = cluster_of(1)
    cluster.store.start()
    node = cluster.nodes[0]
    cluster.store.put(PREFIX + 'config', '{"ttl": 30, "standby_cluster": {"host": "127.0.0.1"}}')
    done = node.bench.run(['pgkeep', 'check', node.yml], node.folder)
    assert done.returncode != 0
    assert 'standby_cluster' in done.stdout + done.stderr
