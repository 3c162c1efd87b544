"""
Clients that write, remember what was acknowledged, and prove what is missing.

Every acknowledged row is remembered with when it was sent, when it was acknowledged (monotonic clock), the
node that took it and that node's timeline. A timeline belongs to one promotion, so two nodes that accept
writes at one moment show as a write on an older timeline that was sent after a newer one had already
acknowledged, or as one timeline with two nodes.
"""
import socket
import threading
import time
from typing import NamedTuple

import psycopg

from lab import netns

TABLE = 'create table if not exists ledger (id text primary key, node text not null)'
INSERT = """insert into ledger values (%s, %s)
            returning ('x' || substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8))::bit(32)::int"""
# A statement that takes longer is cut off by closing its socket: a stopped server never answers.
STATEMENT_S = 3
# Between attempts while a server refuses.
RETRY_S = 0.02


class Ack(NamedTuple):
    id: str
    node: str
    timeline: int
    sent: float
    acked: float


class Writer(threading.Thread):
    """
    One client with one connection at a time. `conninfo` may name several hosts with
    target_session_attrs=read-write. `rate` is writes a second; None: as fast as it goes.
    """

    def __init__(self, name, conninfo, node_of, rate=None, namespace=None):
        super().__init__(name=f'writer-{name}', daemon=True)
        self.acks, self.errors = [], []
        self._label, self._conninfo, self._node_of = name, conninfo, node_of
        self._rate, self._namespace = rate, namespace
        self._ended = threading.Event()
        self._connection, self._began = None, None  # of the statement under way

    def run(self):
        if self._namespace:
            netns.enter(self._namespace)
        number, connection = 0, None
        due = time.monotonic()
        while not self._ended.is_set():
            try:
                if connection is None:
                    connection = psycopg.connect(self._conninfo, autocommit=True)
                number += 1
                self._write(connection, f'{self._label}.{number}')
            except (psycopg.Error, OSError) as error:
                self.errors.append((time.monotonic(), str(error).strip()))
                if connection:
                    connection.close()
                connection = None
                self._ended.wait(RETRY_S)
            if self._rate:
                due = max(due + 1 / self._rate, time.monotonic() - 1)
                self._ended.wait(max(0, due - time.monotonic()))
        if connection:
            connection.close()

    def _write(self, connection, row):
        node = self._node_of(connection.info.port)
        sent = time.monotonic()
        self._connection, self._began = connection, sent
        try:
            timeline = connection.execute(INSERT, (row, node)).fetchone()[0]
        finally:
            self._connection = None
        self.acks.append(Ack(row, node, timeline, sent, time.monotonic()))

    def cut_if_stuck(self):
        connection, began = self._connection, self._began
        if connection is None or time.monotonic() - began < STATEMENT_S:
            return
        try:
            with socket.socket(fileno=connection.fileno()) as s:
                s.shutdown(socket.SHUT_RDWR)
                s.detach()
        except (OSError, psycopg.Error):
            pass  # it has just ended by itself

    def stop(self):
        self._ended.set()


class Writers:
    """
    Writers on a cluster, as a context: on_each() has one on every node, on_primary() follows the primary.
    Make the table first (on the leader) by prepare().
    """

    def __init__(self, cluster, writers):
        self.cluster, self.writers = cluster, writers
        self._ended = threading.Event()
        self._watch = threading.Thread(target=self._cut_stuck, daemon=True)

    @staticmethod
    def prepare(cluster):
        cluster.leader().sql(TABLE)

    @classmethod
    def on_each(cls, cluster, rate=50):
        """One writer a node, in the node's own network namespace if it has one."""
        names = {node.pg_port: node.name for node in cluster.nodes}
        return cls(cluster, [Writer(n.name, n.conninfo(), names.get, rate, n.netns) for n in cluster.nodes])

    @classmethod
    def on_primary(cls, cluster, rate=200):
        """One writer that knows all nodes and wants the writable one."""
        names = {node.pg_port: node.name for node in cluster.nodes}
        first = cluster.nodes[0]
        conninfo = psycopg.conninfo.make_conninfo(
            first.conninfo(), host=','.join(n.address for n in cluster.nodes),
            port=','.join(str(n.pg_port) for n in cluster.nodes), target_session_attrs='read-write')
        return cls(cluster, [Writer('client', conninfo, names.get, rate)])

    def __enter__(self):
        self.prepare(self.cluster)
        self._watch.start()
        for writer in self.writers:
            writer.start()
        return self

    def __exit__(self, *_):
        for writer in self.writers:
            writer.stop()
        for writer in self.writers:
            writer.join(STATEMENT_S + 10)
            assert not writer.is_alive(), f'{writer.name} does not end'
        self._ended.set()

    def _cut_stuck(self):
        while not self._ended.wait(0.2):
            for writer in self.writers:
                writer.cut_if_stuck()

    def acks(self, node=None):
        """Acknowledged so far, in the order of acknowledgement."""
        found = [a for writer in self.writers for a in list(writer.acks) if node is None or a.node == node.name]
        return sorted(found, key=lambda a: a.acked)

    def acked_since(self, moment, node=None):
        return [a for a in self.acks(node) if a.sent >= moment]

    def gap_s(self, moment):
        """The longest time without an acknowledgement that ended after a moment."""
        times = [a.acked for a in self.acks()]
        return max((b - a for a, b in zip(times, times[1:]) if b > moment), default=float('inf'))

    def check_one_primary(self):
        """No two nodes accepted writes at one moment (see the head of this file)."""
        owners = {}
        for ack in self.acks():
            owner = owners.setdefault(ack.timeline, ack.node)
            assert owner == ack.node, f'timeline {ack.timeline} was written by {owner} and {ack.node}: {ack}'
        newest = None
        for ack in self.acks():
            if newest and ack.timeline < newest.timeline:
                assert ack.sent < newest.acked, f'{ack} was accepted after {newest} had been'
            if newest is None or ack.timeline > newest.timeline:
                newest = ack  # the first acknowledgement of its timeline: acks are in that order

    def missing(self, node):
        """Acknowledged rows that a node does not have."""
        there = {row[0] for row in node.sql('select id from ledger', deadline_s=30)}
        return [a for a in self.acks() if a.id not in there]
