"""A real etcd of one or three members."""
import base64
import json
import shutil
import signal
import urllib.request

from lab import proc
from lab.wait import wait_for


def _b64(text):
    return base64.b64encode(text.encode()).decode()


class Member:
    def __init__(self, bench, name, address, netns, options):
        self.bench, self.name, self.netns, self.options = bench, name, netns, options
        self.folder = bench.make_folder(name)
        self.log = self.folder / 'etcd.log'
        self.client = f'{address}:{bench.port()}'
        self.peer = f'{address}:{bench.port()}'
        self.process = None

    def start(self, initial_cluster):
        # fsync off: etcd writes on every lease renewal, and no test is about losing the store's disk.
        self.process = self.bench.spawn(
            ['etcd', '--name', self.name, '--data-dir', self.folder / 'data', '--unsafe-no-fsync',
             '--listen-client-urls', f'http://{self.client}', '--advertise-client-urls', f'http://{self.client}',
             '--listen-peer-urls', f'http://{self.peer}', '--initial-advertise-peer-urls', f'http://{self.peer}',
             '--initial-cluster', initial_cluster, '--initial-cluster-state', 'new', '--log-level', 'warn', *self.options],
            self.folder, self.log, self.netns)

    def signal(self, number):
        proc.send([self.process.pid], number)

    def stop(self):
        """SIGTERM and the end."""
        self.signal(signal.SIGCONT)
        self.process.terminate()
        self.process.wait(20)

    def kill(self):
        self.process.kill()
        self.process.wait(20)


class Etcd:
    """The store. `addresses` and `netns` place the members; default: loopback. `options`: more of etcd's."""

    def __init__(self, bench, members=1, addresses=None, netns=None, options=()):
        addresses = addresses or ['127.0.0.1'] * members
        netns = netns or [None] * members
        self.bench = bench
        self.members = [Member(bench, f'etcd-{i + 1:02}', addresses[i], netns[i], options) for i in range(members)]
        self.initial_cluster = ','.join(f'{m.name}=http://{m.peer}' for m in self.members)

    @property
    def hosts(self):
        """As the YAML wants them: host:port,host:port."""
        return ','.join(m.client for m in self.members)

    def start(self):
        for member in self.members:
            member.start(self.initial_cluster)
        self.wait_healthy()

    def wait_healthy(self):
        for member in self.members:
            wait_for(f'healthy store member {member.name}', lambda m=member: self._healthy(m), 30)

    @staticmethod
    def _healthy(member):
        with urllib.request.urlopen(f'http://{member.client}/health', timeout=2) as answer:
            return json.load(answer)['health'] == 'true'

    def leader(self):
        """The member that leads now; LookupError if none does."""
        for member in self.members:
            try:
                status = self.call('/v3/maintenance/status', {}, member)
            except OSError:
                continue
            if status['leader'] == status['header']['member_id']:
                return member
        raise LookupError('no member of the store leads')

    def stop(self):
        for member in self.members:
            member.stop()

    def lose_everything(self):
        """Stopped, emptied, started: another store under the same address."""
        self.stop()
        for member in self.members:
            shutil.rmtree(member.folder / 'data')
        self.start()

    def freeze(self):
        """Still there, answers nothing: the kernel goes on accepting connections for it."""
        for member in self.members:
            member.signal(signal.SIGSTOP)

    def thaw(self):
        for member in self.members:
            member.signal(signal.SIGCONT)

    def call(self, path, body, member=None):
        """One request to the JSON gateway of a member; None: of the first that answers."""
        failure = None
        for member in [member] if member else self.members:
            try:
                request = urllib.request.Request(f'http://{member.client}{path}', json.dumps(body).encode())
                with urllib.request.urlopen(request, timeout=5) as answer:
                    return json.load(answer)
            except OSError as error:
                failure = error
        raise failure

    def keys(self, prefix):
        """{key: value} of everything below a prefix."""
        found = self.call('/v3/kv/range', {'key': _b64(prefix), 'range_end': _b64(prefix[:-1] + chr(ord(prefix[-1]) + 1))})
        return {base64.b64decode(kv['key']).decode(): base64.b64decode(kv.get('value', '')).decode()
                for kv in found.get('kvs', [])}

    def get(self, key):
        """The value of one key, None if it is absent."""
        kvs = self.call('/v3/kv/range', {'key': _b64(key)}).get('kvs')
        return base64.b64decode(kvs[0].get('value', '')).decode() if kvs else None

    def put(self, key, value):
        self.call('/v3/kv/put', {'key': _b64(key), 'value': _b64(value)})

    def delete(self, key):
        self.call('/v3/kv/deleterange', {'key': _b64(key)})
