"""
A network of namespaces on this machine that can be cut. Root only.

Every host has a namespace of its own on a bridge that itself lives in one; nothing of it can be reached
from outside. The test enters the client's namespace, and so do the threads it starts from then on.
"""
import ctypes
import itertools
import os
import shutil
import subprocess
from pathlib import Path

_LIBC = ctypes.CDLL(None, use_errno=True)
CLONE_NEWNET = 0x40000000
_HOME = os.open('/proc/self/ns/net', os.O_RDONLY | os.O_CLOEXEC)  # where this process began
_NUMBER = itertools.count(1)
# A range for documentation and private labs; it exists inside the namespaces only.
NET = '10.99.7'


def enter(name):
    """Move the calling thread into a namespace; None: back to the machine's own."""
    namespace = os.open(f'/run/netns/{name}', os.O_RDONLY | os.O_CLOEXEC) if name else _HOME
    try:
        if _LIBC.setns(namespace, CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), f'entering network namespace {name}')
    finally:
        if name:
            os.close(namespace)


def _ip(*arguments):
    done = subprocess.run(['ip', *arguments], capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode == 0, f'ip {" ".join(arguments)}: {done.stderr.strip()}'


class Network:
    """Hosts by name; the client is a host too. Used as a context."""

    silent = f'{NET}.250'  # an address that nobody has

    def __init__(self):
        self._tag = f'pgk{os.getpid()}-{next(_NUMBER)}'
        self._hosts = {}

    def _namespace(self, host):
        return f'{self._tag}-{host}'

    def __enter__(self):
        switch = self._namespace('switch')
        _ip('netns', 'add', switch)
        _ip('-n', switch, 'link', 'add', 'bridge', 'type', 'bridge')
        _ip('-n', switch, 'link', 'set', 'bridge', 'up')
        self.place(['client'])
        enter(self._namespace('client'))
        return self

    def __exit__(self, *_):
        enter(None)
        for host in [*self._hosts, 'switch']:
            shutil.rmtree(Path('/etc/netns') / self._namespace(host), ignore_errors=True)
            _ip('netns', 'del', self._namespace(host))

    def place(self, hosts):
        """New hosts. [(address, namespace)], for Node and Etcd."""
        switch = self._namespace('switch')
        for host in hosts:
            namespace, link = self._namespace(host), f'to-{host}'
            address = f'{NET}.{len(self._hosts) + 1}'
            self._hosts[host] = address
            _ip('netns', 'add', namespace)
            _ip('-n', namespace, 'link', 'set', 'lo', 'up')
            _ip('-n', switch, 'link', 'add', link, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', namespace)
            _ip('-n', switch, 'link', 'set', link, 'master', 'bridge', 'up')
            _ip('-n', namespace, 'addr', 'add', f'{address}/24', 'dev', 'eth0')
            _ip('-n', namespace, 'link', 'set', 'eth0', 'up')
        return [(self._hosts[host], self._namespace(host)) for host in hosts]

    def name(self, names, server):
        """
        What programs on these hosts look names up in: a file of `names` (host: name), which may be rewritten, and then
        a name server. Before the first program is started there.
        """
        for host in self._hosts:
            folder = Path('/etc/netns') / self._namespace(host)
            folder.mkdir(parents=True, exist_ok=True)
            (folder / 'hosts').write_text(''.join(f'{self._hosts[h]} {n}\n' for h, n in names.items()))
            (folder / 'resolv.conf').write_text(f'nameserver {server}\n')
            (folder / 'nsswitch.conf').write_text('hosts: files dns\n')

    def cut(self, host):
        """Pull the plug: packets vanish, nobody is told."""
        _ip('-n', self._namespace('switch'), 'link', 'set', f'to-{host}', 'down')

    def heal(self, host):
        _ip('-n', self._namespace('switch'), 'link', 'set', f'to-{host}', 'up')

    def part(self, host, other, but_port=None):
        """Nothing passes between the two any more, in silence; `but_port`: a TCP port of `host` that `other` still reaches."""
        address = self._hosts[other]
        passes = f'tcp {{}}port != {but_port} drop' if but_port else 'drop'
        rules = f'add table ip parted\n' \
                f'add chain ip parted in {{ type filter hook input priority 0; }}\n' \
                f'add chain ip parted out {{ type filter hook output priority 0; }}\n' \
                f'add rule ip parted in ip saddr {address} {passes.format("d")}\n' \
                f'add rule ip parted out ip daddr {address} {passes.format("s")}\n'
        self._nft(host, rules)

    def deaf(self, host):
        """Nothing arrives at this host any more, the client's packets neither; what it sends does arrive."""
        self._nft(host, 'add table ip parted\n'
                        'add chain ip parted in { type filter hook input priority 0; policy drop; }\n'
                        'add rule ip parted in iif lo accept\n')

    def mute(self, host):
        """Nothing that this host sends arrives anywhere any more."""
        self._nft(host, 'add table ip parted\n'
                        'add chain ip parted out { type filter hook output priority 0; policy drop; }\n'
                        'add rule ip parted out oif lo accept\n')

    def lose(self, host, percent):
        """So many packets to this host are lost, and so many from it."""
        self._nft(host, 'add table ip parted\n'
                        'add chain ip parted in { type filter hook input priority 0; }\n'
                        'add chain ip parted out { type filter hook output priority 0; }\n'
                        f'add rule ip parted in iif != lo numgen random mod 100 < {percent} drop\n'
                        f'add rule ip parted out oif != lo numgen random mod 100 < {percent} drop\n')

    def part_only(self, host, other, packets):
        """What of `packets` (words of nft: 'tcp dport 5432') `host` is sent by `other`, or sends to it, vanishes."""
        address = self._hosts[other]
        self._nft(host, f'add table ip parted\n'
                        f'add chain ip parted in {{ type filter hook input priority 0; }}\n'
                        f'add chain ip parted out {{ type filter hook output priority 0; }}\n'
                        f'add rule ip parted in ip saddr {address} {packets} drop\n'
                        f'add rule ip parted out ip daddr {address} {packets} drop\n')

    def join(self, host):
        """What was parted from this host is not any more."""
        self._nft(host, 'delete table ip parted\n')

    def _nft(self, host, rules):
        done = subprocess.run(['ip', 'netns', 'exec', self._namespace(host), 'nft', '-f', '-'], input=rules,
                              capture_output=True, text=True, timeout=20, check=False)
        assert done.returncode == 0, f'nft: {done.stderr.strip()}'
