"""One node: its YAML, its processes, its PostgreSQL, its command line."""
import json
import os
import shutil
import signal
import subprocess
from pathlib import Path

import psycopg
import yaml

from lab import netns, proc
from lab.logfile import Log
from lab.rest import Rest
from lab.wait import wait_for

ARTICLE = Path(__file__).with_name('article.yml').read_text()
PASSWORDS = {'postgres': 'superuser-secret', 'replicator': 'replication-secret'}
FLAVOURS = {
    # How a node is started, the control program, and what a flavour's YAML must have beside the article's.
    'pgkeep': (['pgkeep', 'run'], ['pgkeep']),
    'patroni': (['/usr/bin/patroni'], ['/usr/bin/patronictl']),
}


# Without it a primary that has more than its successor waits for an operator (Patroni's default).
REWIND = {'bootstrap': {'dcs': {'postgresql': {'use_pg_rewind': True}}}}


def merged(base, change):
    """`base` with `change` laid over it. None removes a key, and goes on doing so in a later merge."""
    if not isinstance(base, dict) or not isinstance(change, dict):
        return change
    result = dict(base)
    for key, value in change.items():
        result[key] = merged(result.get(key), value)
    return result


def present(value):
    """Without the keys that are None."""
    if isinstance(value, dict):
        return {key: present(inner) for key, inner in value.items() if inner is not None}
    return value


def postgres_bin():
    """Debian keeps PostgreSQL's programs off PATH."""
    versions = sorted(Path('/usr/lib/postgresql').glob('*/bin/postgres'), key=lambda p: int(p.parts[4]))
    return versions[-1].parent if versions else Path(shutil.which('postgres')).parent


class Node:
    """
    `more` is laid over the article's YAML (None removes a key). `address` and `namespace` place the node;
    default: loopback. A node is known by `name`; everything of it lies in `folder`.
    """

    def __init__(self, bench, name, store_hosts, flavour='pgkeep', address='127.0.0.1', namespace=None, more=None):
        self.bench, self.name, self.flavour = bench, name, flavour
        self.address, self.netns, self.store_hosts = address, namespace, store_hosts
        self.folder = bench.make_folder(name)
        self.data = self.folder / 'data'
        self.yml = self.folder / 'node.yml'
        self.log = Log(self.folder / 'node.log')
        self.pg_port = bench.port()
        self.rest_port = bench.port(following=1)  # agents talk to each other on the port after it
        self.more = more or {}
        self.environment = {}  # of the program, beyond what every server of a test gets
        self.process = None
        self.rest = Rest(address, self.rest_port)
        self.write_yml()

    # --- configuration

    def article(self):
        """The article's text with this node's addresses, ports, folders and passwords."""
        text = ARTICLE
        for old, new in (('name: db-01 ', f'name: {self.name} '),
                         ('0.0.0.0:8008', f'{self.address}:{self.rest_port}'),
                         ('10.0.2.10:8008', f'{self.address}:{self.rest_port}'),
                         ('etcd-01:2379,etcd-02:2379,etcd-03:2379', self.store_hosts),
                         ('0.0.0.0:5432', f'{self.address}:{self.pg_port}'),
                         ('10.0.2.10:5432', f'{self.address}:{self.pg_port}'),
                         ('/var/lib/postgresql/16/main', str(self.data)),
                         ('{{ replication_password }}', PASSWORDS['replicator']),
                         ('{{ postgres_password }}', PASSWORDS['postgres'])):
            assert text.count(old) == 1, f'{old!r} is not once in the article'
            text = text.replace(old, new)
        return text

    def _needed(self):
        """What this machine or flavour needs beyond the article's keys."""
        more = {}
        sockets = Path('/var/run/postgresql')
        if not (sockets.is_dir() and (sockets.owner() == self.bench.user.pw_name or not self.bench.root and
                                      os.access(sockets, os.W_OK))):
            more = {'postgresql': {'parameters': {'unix_socket_directories': str(self.folder)}}}
        if self.netns:  # the test is a client from another host: the defaults would not let it in
            more = merged(more, {'postgresql': {'pg_hba': [
                'local all all trust', f'host all all {netns.NET}.0/24 scram-sha-256',
                f'host replication replicator {netns.NET}.0/24 scram-sha-256']}})
        if self.flavour == 'patroni':
            more = merged(more, {'postgresql': {'bin_dir': str(postgres_bin()), 'pgpass': str(self.folder / 'pgpass')}})
        return more

    def write_yml(self):
        """The article's text untouched where nothing else is asked for."""
        text = self.article()
        more = merged(self._needed(), self.more)
        if more:
            text = yaml.safe_dump(present(merged(yaml.safe_load(text), more)), sort_keys=False)
        self.bench.write(self.yml, text)

    def change_yml(self, change):
        self.more = merged(self.more, change)
        self.write_yml()

    # --- processes

    def start(self):
        assert self.process is None or self.process.poll() is not None, f'{self.name} is running'
        self.process = self.bench.spawn([*FLAVOURS[self.flavour][0], self.yml], self.folder, self.log.path, self.netns,
                                        self.environment)

    def processes(self):
        """Guard, agent, PostgreSQL and all they started, whoever is their parent now."""
        return proc.below(self.folder, [self.process.pid] if self.process else [])

    def pids(self):
        return [p.pid for p in self.processes()]

    def guard_pid(self):
        """`pgkeep run` becomes the guard. Its other children of that name are the postmaster's parents."""
        return self.process.pid

    def agent_pid(self):
        """The process that decides; 0 while there is none."""
        if self.flavour == 'patroni':
            return self.process.pid
        return next((p.pid for p in self.processes() if p.program == 'pgkeep' and p.parent == self.process.pid), 0)

    def postmaster_pid(self):
        """The running postmaster; 0 if there is none."""
        try:
            pid = int((self.data / 'postmaster.pid').read_text().split('\n', 1)[0])
        except (OSError, ValueError):
            return 0
        process = proc.read(pid)
        return pid if process and process.state != 'Z' and process.folder == str(self.data) else 0

    def postgres_pids(self):
        """Every process of the instance, also those that outlived their postmaster."""
        return [p.pid for p in self.processes() if p.program == 'postgres' and p.folder == str(self.data)]

    def stop(self, deadline_s=60):
        """SIGTERM and the end. Its exit status."""
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(deadline_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(f'{self.name} did not end within {deadline_s} s after SIGTERM') from None

    def crash(self):
        """The host is gone: every process at the same moment."""
        proc.kill_at_once(self.pids())
        self.process.wait(5)

    def freeze(self):
        """SIGSTOP everything. The pids, for thaw()."""
        pids = self.pids()
        proc.send(pids, signal.SIGSTOP)
        return pids

    @staticmethod
    def thaw(pids):
        proc.send(pids, signal.SIGCONT)

    def wait_exit(self, deadline_s):
        """The exit status of a node that ends by itself."""
        wait_for(f'end of {self.name}', lambda: self.process.poll() is not None, deadline_s)
        return self.process.returncode

    def wait_postgres_gone(self, deadline_s):
        wait_for(f'no PostgreSQL process of {self.name}', lambda: not self.postgres_pids(), deadline_s)

    # --- what it says

    def conninfo(self, user='postgres', **more):
        return psycopg.conninfo.make_conninfo(host=self.address, port=self.pg_port, user=user, dbname='postgres',
                                              password=PASSWORDS[user], connect_timeout=3, **more)

    def sql(self, query, *arguments, deadline_s=10):
        """All rows of one statement, [] for one without rows."""
        options = f'-c statement_timeout={int(deadline_s * 1000)}'
        with psycopg.connect(self.conninfo(options=options), autocommit=True) as connection:
            cursor = connection.execute(query, arguments or None)
            return cursor.fetchall() if cursor.description else []

    def value(self, query, *arguments):
        return self.sql(query, *arguments)[0][0]

    def writable(self):
        """Is PostgreSQL here open for writes? False also if it cannot be asked."""
        try:
            return not self.value("select pg_is_in_recovery() or current_setting('transaction_read_only')::bool")
        except psycopg.Error:
            return False

    def status(self):
        """The body of GET /patroni."""
        return self.rest.get('/patroni').json

    def ctl_command(self, *arguments):
        """The control program's command line with this node's YAML."""
        return [*FLAVOURS[self.flavour][1], '-c', self.yml, *arguments]

    def ctl(self, *arguments, deadline_s=90, stdin=None, environment=None):
        """The control program with this node's YAML. The CompletedProcess."""
        return self.bench.run(self.ctl_command(*arguments), self.folder, deadline_s, self.netns, environment, stdin)

    def ctl_terminal(self, *arguments, environment=None):
        """The same on a Terminal."""
        return self.bench.terminal(self.ctl_command(*arguments), self.folder, self.netns, environment)

    def list(self):
        """What `list -f json` says, one dict a member."""
        done = self.ctl('list', '-f', 'json')
        assert done.returncode == 0, done
        return json.loads(done.stdout)
