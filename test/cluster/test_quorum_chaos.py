"""
Quorum mode under faults drawn by a seed, many at a time: whatever happens, nothing that was acknowledged is missing, and
when all is whole again the cluster heals by itself.

  pytest test_quorum_chaos.py --chaos-seeds 100-120 --chaos-seconds 60
"""
import random
import signal
import subprocess
import time

import pytest

from lab import proc
from lab.quorum import Load, quorum, up


def pytest_generate_tests(metafunc):
    if 'seed' in metafunc.fixturenames:
        first, _, last = metafunc.config.getoption('--chaos-seeds').partition('-')
        metafunc.parametrize('seed', range(int(first), int(last or first) + 1))


class Chaos:
    """Faults with an end. Each fault returns what undoes it, or None."""

    def __init__(self, cluster, network, draw):
        self.cluster, self.network, self.draw = cluster, network, draw
        self.under_way = []  # (due, undo)
        self.faults = [self.kill_host, self.kill_postmaster, self.kill_agent, self.kill_guard, self.stop_host, self.stop_agent,
                       self.stop_deciders, self.stop_postgres, self.stop_some_postgres, self.cut, self.stop_store,
                       self.switchover]

    def _node(self):
        """The leader every other time."""
        try:
            if self.draw.random() < 0.5:
                return self.cluster.leader()
        except LookupError:
            pass
        return self.draw.choice(self.cluster.nodes)

    def _stopped(self, pids):
        pids = [pid for pid in pids if pid]
        proc.send(pids, signal.SIGSTOP)
        return lambda: proc.send(pids, signal.SIGCONT)

    def kill_host(self, node):
        proc.kill_at_once(node.pids())
        return lambda: None

    def kill_postmaster(self, node):
        proc.send([pid for pid in [node.postmaster_pid()] if pid], signal.SIGKILL)

    def kill_agent(self, node):
        proc.send([pid for pid in [node.agent_pid()] if pid], signal.SIGKILL)

    def kill_guard(self, node):
        proc.send([node.guard_pid()], signal.SIGKILL)
        return lambda: None

    def stop_host(self, node):
        return self._stopped(node.pids())

    def stop_agent(self, node):
        return self._stopped([node.agent_pid()])

    def stop_deciders(self, node):
        return self._stopped([node.guard_pid(), node.agent_pid()])

    def stop_postgres(self, node):
        return self._stopped(node.postgres_pids())

    def stop_some_postgres(self, node):
        return self._stopped([pid for pid in node.postgres_pids() if self.draw.random() < 0.5])

    def cut(self, node):
        self.network.cut(node.name)
        return lambda: self.network.heal(node.name)

    def stop_store(self, _):
        self.cluster.store.freeze()
        return self.cluster.store.thaw

    def switchover(self, node):
        command, user = self.cluster.bench.command([str(a) for a in node.ctl_command('switchover', 'myapp-cluster', '--force')], node.netns)
        asked = subprocess.Popen(command, cwd=node.folder, env=self.cluster.bench.environment(node.folder), **user,
                                 stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        return lambda: (asked.kill(), asked.wait())

    def step(self):
        node, fault, lasts = self._node(), self.draw.choice(self.faults), self.draw.choice((0.2, 0.5, 1, 2, 4, 8))
        print(f'  {time.strftime("%H:%M:%S")} {fault.__name__} {node.name} for {lasts} s')
        undo = fault(node)
        if undo:
            self.under_way.append((time.monotonic() + lasts, undo))

    def due(self, everything=False):
        for at, undo in list(self.under_way):
            if everything or time.monotonic() >= at:
                self.under_way.remove((at, undo))
                undo()
        for node in self.cluster.nodes:
            if node.process.poll() is not None and (everything or self.draw.random() < 0.1):
                node.start()


@pytest.mark.root
def test_whatever_happens_nothing_acknowledged_is_missing(network, cluster_of, request, seed):
    draw = random.Random(seed)
    more = {'synchronous_mode_strict': draw.random() < 0.3, 'synchronous_node_count': draw.choice((1, 1, 2))}
    cluster = cluster_of(3, network=network, more=quorum(**more))
    leader = up(cluster)
    chaos = Chaos(cluster, network, draw)
    print(f'\nseed {seed}: {more}')
    with Load.on(cluster) as load:
        load.warm_up(leader)
        until = time.monotonic() + request.config.getoption('--chaos-seconds')
        while time.monotonic() < until:
            chaos.step()
            pause = time.monotonic() + draw.choice((0.1, 0.5, 1, 2, 3))
            while time.monotonic() < pause:
                chaos.due()
                time.sleep(0.05)
        chaos.due(everything=True)
        print(f'  {time.strftime("%H:%M:%S")} all is whole')
        load.fault()
        load.wait_rows(seconds=60)
        leader = cluster.wait_healthy()
    print(f'  {len(load.acks())} rows, {len({a.timeline for a in load.acks()})} timelines')
    load.check(leader)
