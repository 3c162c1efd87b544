"""A cluster made by Debian's pg_createcluster comes under management: its configuration lies in a folder of its own."""
import shutil

import pytest

from lab.node import PASSWORDS, postgres_bin
from lab.wait import holds_for, wait_for

pytestmark = pytest.mark.skipif(not shutil.which('pg_createcluster'), reason='needs postgresql-common')

VERSION = postgres_bin().parts[-2]
KEPT = {'work_mem': '9216', 'maintenance_work_mem': str(77 * 1024)}
HBA = ['local all all trust', 'host all postgres all scram-sha-256', 'host replication replicator all scram-sha-256']


@pytest.fixture
def debian(cluster_of):
    """A cluster whose first node has a PostgreSQL of Debian's make, which does not run yet."""
    return Debian(cluster_of(3, more={'postgresql': {'pg_hba': HBA}}))


class Debian:
    def __init__(self, cluster):
        self.cluster, self.bench = cluster, cluster.bench
        self.node, *self.replicas = cluster.nodes
        self.root = self.bench.make_folder('etc')
        self.environment = {'PG_CLUSTER_CONF_ROOT': str(self.root)}
        self.conf = self.root / VERSION / 'main'
        self.call('pg_createcluster', VERSION, 'main', '-d', self.node.data, '-l', self.node.folder / 'postgresql.log',
                  '-s', self.node.folder, '-p', self.node.pg_port)
        self.bench.write(self.conf / 'conf.d' / 'ours.conf', "work_mem = '9MB'\n")
        with open(self.conf / 'postgresql.conf', 'a', encoding='utf-8') as file:
            file.write("maintenance_work_mem = '77MB'\n")

    def call(self, *arguments, stdin=None):
        done = self.bench.run(arguments, self.node.folder, environment=self.environment, stdin=stdin)
        assert done.returncode == 0, done

    def start(self):
        """As systemd would, and with the users that the node's YAML names."""
        self.call('pg_ctlcluster', VERSION, 'main', 'start')
        self.call('psql', '-Xqv', 'ON_ERROR_STOP=1', '-h', self.node.folder, '-p', str(self.node.pg_port), 'postgres', stdin=(
            f"alter role postgres password '{PASSWORDS['postgres']}';"
            f"create role replicator login replication password '{PASSWORDS['replicator']}';"
            'create table kept as select 7 as n;'))
        return self.node.postmaster_pid()

    def manage(self, **keys):
        self.node.environment = self.environment
        self.node.change_yml({'postgresql': keys})
        self.cluster.store.start()
        self.node.start()
        return self.cluster.wait_leader(60)

    def settings(self, node):
        return dict(node.sql("select name, setting from pg_settings where name in ('work_mem', 'maintenance_work_mem')"))


def test_a_running_debian_cluster_is_adopted_with_its_settings_and_cloned(debian):
    cluster, node, postmaster = debian.cluster, debian.node, debian.start()
    original = (debian.conf / 'postgresql.conf').read_text()
    assert debian.manage(config_dir=str(debian.conf)) is node
    wait_for('our pg_hba', lambda: (debian.conf / 'pg_hba.conf').read_text().count(HBA[1]), 15)
    assert node.postmaster_pid() == postmaster
    assert (debian.conf / 'postgresql.base.conf').read_text() == original
    assert debian.settings(node) == KEPT
    assert not (node.data / 'postgresql.conf').exists()

    # One with its configuration in a folder that is to be made, one with it in the data directory.
    debian.replicas[0].change_yml({'postgresql': {'config_dir': str(debian.replicas[0].folder / 'etc')}})
    for replica in debian.replicas:
        replica.start()
    assert cluster.wait_healthy() is node
    cluster.wait_replayed()
    assert [replica.value('select n from kept') for replica in debian.replicas] == [7, 7]

    done = node.ctl('restart', 'myapp-cluster', node.name, '--force')
    assert done.returncode == 0, done
    assert cluster.wait_healthy() is node
    assert node.postmaster_pid() not in (0, postmaster)
    assert debian.settings(node) == KEPT
    successor = cluster.switchover(debian.replicas[0])
    assert cluster.wait_healthy() is successor


def test_a_stopped_debian_cluster_is_started_with_its_settings(debian):
    debian.start()
    debian.call('pg_ctlcluster', VERSION, 'main', 'stop')
    assert debian.manage(config_dir=str(debian.conf)) is debian.node
    assert debian.settings(debian.node) == KEPT
    assert debian.node.value('select n from kept') == 7


def test_a_debian_cluster_without_config_dir_is_named(debian):
    """Its settings would be lost without a word."""
    debian.start()
    debian.call('pg_ctlcluster', VERSION, 'main', 'stop')
    debian.manage()
    line = debian.node.log.wait(r'config_dir.*event=config\.finding', 5)
    assert str(debian.conf) in line
    holds_for('the primary', debian.node.writable, 3)
