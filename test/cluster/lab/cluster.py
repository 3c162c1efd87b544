"""Nodes and their store, and the predicates of a healthy cluster."""
import json
import signal

import psycopg

from lab import proc
from lab.etcd import Etcd
from lab.node import Node, merged
from lab.wait import wait_for

SCOPE, NAMESPACE = 'myapp-cluster', '/db/'
PREFIX = f'{NAMESPACE}{SCOPE}/'

# A new node: initdb or a clone, a start, the first report. Generous, for a slow machine.
UP_S = 90


class Cluster:
    """
    `count` nodes db-01 … on a store of `store_members`. `flavours` (one, or one a node) says what runs
    them; `more` is laid over every node's YAML, more_of(name) over that. `store_options`: more of etcd's.
    """

    def __init__(self, bench, count=3, store_members=1, flavours='pgkeep', more=None, network=None, more_of=None,
                 store_options=()):
        self.bench, self.network = bench, network
        if isinstance(flavours, str):
            flavours = [flavours] * count
        names = [f'db-{i + 1:02}' for i in range(count)]
        stores = network.place([f's{i + 1}' for i in range(store_members)]) if network else [('127.0.0.1', None)] * store_members
        places = network.place(names) if network else [('127.0.0.1', None)] * count
        self.store = Etcd(bench, store_members, [a for a, _ in stores], [n for _, n in stores], store_options)
        self.nodes = [Node(bench, name, self.store.hosts, flavour, address, namespace,
                           merged(more or {}, more_of(name)) if more_of else more)
                      for name, flavour, (address, namespace) in zip(names, flavours, places)]

    def __getitem__(self, name):
        return next(node for node in self.nodes if node.name == name)

    def start(self):
        """Store first, then all nodes at the same moment: they race for the bootstrap."""
        self.store.start()
        for node in self.nodes:
            node.start()

    def up(self):
        """start(), and healthy. The leader."""
        self.start()
        return self.wait_healthy(UP_S)

    def stop(self):
        """Replicas first, as an operator would, so that nobody takes over."""
        for node in sorted(self.nodes, key=lambda n: n.writable()):
            if node.process and node.process.poll() is None:
                node.stop()

    # --- what the cluster says of itself

    def view(self):
        """GET /cluster of the first node that answers."""
        failure = LookupError('no node')
        for node in self.nodes:
            try:
                return node.rest.get('/cluster', deadline_s=2).json
            except (OSError, ValueError) as error:
                failure = error
        raise failure

    def member(self, name):
        return next((m for m in self.view()['members'] if m['name'] == name), None)

    def leader(self):
        """The node that the cluster names as its leader; LookupError if there is none."""
        leaders = [m['name'] for m in self.view()['members'] if m['role'] == 'leader']
        if len(leaders) != 1:
            raise LookupError(f'leaders: {leaders}')
        return self[leaders[0]]

    def others(self, node):
        return [n for n in self.nodes if n is not node]

    def wait_leader(self, deadline_s, other_than=None, among=None):
        """A leader that is open for writes and answers 200 on /primary. The node."""
        def check():
            node = self.leader()
            if node is other_than or among and node not in among:
                return None
            return node if node.rest.status('/primary') == 200 and node.writable() else None
        return wait_for('leader' + (f' other than {other_than.name}' if other_than else ''), check, deadline_s)

    def unhealthy(self, nodes=None):
        """
        Why the cluster (or these nodes of it) is not healthy; '' if it is: one leader open for writes,
        everybody else streaming from it on its timeline, over the slot that bears its name.
        """
        nodes = nodes or self.nodes
        view = {m['name']: m for m in self.view()['members']}
        leader = self.leader()
        if leader not in nodes or not leader.writable():
            return f'{leader.name} leads, but is not open for writes'
        timeline = view[leader.name].get('timeline')
        slots = dict(leader.sql('select slot_name, active from pg_replication_slots'))
        streaming = {row[0] for row in leader.sql("select application_name from pg_stat_replication where state = 'streaming'")}
        for node in nodes:
            if node is leader:
                continue
            member = view.get(node.name)
            if not member or member['state'] not in ('running', 'streaming') or member.get('timeline') != timeline:
                return f'{node.name}: {member}, the leader is on timeline {timeline}'
            if node.name not in streaming or not slots.get(node.name.replace('-', '_')):
                return f'{node.name} does not stream over its slot: {streaming}, {slots}'
        return ''

    def wait_healthy(self, deadline_s=UP_S, nodes=None):
        """The leader of a healthy cluster."""
        last = ['']

        def check():
            last[0] = self.unhealthy(nodes)
            return None if last[0] else self.leader()
        try:
            return wait_for('healthy cluster', check, deadline_s)
        except AssertionError as late:
            raise AssertionError(f'{late} ({last[0]})') from None

    def wait_replayed(self, nodes=None, deadline_s=30):
        """Every node has replayed what the leader has written by now."""
        leader = self.leader()
        target = leader.value('select pg_current_wal_lsn()')
        for node in nodes or self.others(leader):
            wait_for(f'{node.name} at {target}', lambda n=node: n.value(
                'select pg_last_wal_replay_lsn() >= %s::pg_lsn', target), deadline_s)

    def wait_position_published(self, leader, deadline_s=40):
        """The store knows all that the leader has written by now; its renewals carry it."""
        position = leader.value("select pg_current_wal_lsn() - '0/0'::pg_lsn")
        wait_for(f'position {position} in the store', lambda: json.loads(
            self.store.get(PREFIX + 'status') or '{}').get('optime', 0) >= position, deadline_s)

    # --- what is done to it

    def switchover(self, candidate=None, via=None):
        """By the command line, as an operator does it. The new leader, open for writes."""
        old = self.leader()
        via = via or old
        arguments = ['switchover', '--force'] + (['--candidate', candidate.name] if candidate else [])
        if via.flavour == 'patroni':
            arguments += ['--leader', old.name]
        done = via.ctl(*arguments)
        assert done.returncode == 0, f'{done.args}: {done.stdout}{done.stderr}'
        return self.wait_leader(30, other_than=old)

    @staticmethod
    def stop_sending(leader, to):
        """
        From now on these nodes get no WAL, until the leader is crashed. The senders are stopped, not the
        receivers: what is in a socket already would arrive when a receiver goes on.
        """
        rows = leader.sql('select application_name, pid from pg_stat_replication')
        proc.send([pid for name, pid in rows if name in [n.name for n in to]], signal.SIGSTOP)

    def configure(self, change):
        """PATCH /config on any node."""
        return self.nodes[0].rest.patch_config(change)

    def writable_nodes(self):
        return [node for node in self.nodes if node.writable()]

    def system_identifiers(self):
        return {node.value('select system_identifier from pg_control_system()') for node in self.nodes}

    def sql_is_down(self, node):
        """True if nobody can open a session there."""
        try:
            node.sql('select 1', deadline_s=2)
        except psycopg.Error:
            return True
        return False
