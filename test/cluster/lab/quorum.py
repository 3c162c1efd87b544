"""Quorum mode as a test sees it: configuration, the record in the store, and where the time of a failover went."""
import json
import re
import time
from datetime import datetime

from lab.cluster import PREFIX
from lab.node import REWIND, merged
from lab.wait import wait_for
from lab.writer import Writers

# What a failover goes through, in the agents' words.
STEPS = re.compile(r'^(\S+ \S+) \w+: (.*) event=(postgres\.died|guard\.postmaster_\w+|record\.changed|promise\.given|freeze\.begin|'
                   r'freeze\.shown|freeze\.not_shown|job\.begin|job\.end|job\.done|standby\.follow|names\.loaded|names\.not_loaded|'
                   r'marker\.\w+|leader\.\w+|action\.refused|ha\.state)$')


def quorum(**dcs):
    """`more` for cluster_of()."""
    return merged(REWIND, {'bootstrap': {'dcs': {'synchronous_mode': 'quorum', 'failover_profile': 'fast', **dcs}}})


def record(cluster):
    return json.loads(cluster.store.get(PREFIX + 'pgkeep') or '{}')


def cohort(cluster):
    """Whose acknowledgement counts; None while that changes, or nobody is open."""
    r = record(cluster)
    if r.get('phase') != 'open' or 'joint' in r:
        return None
    return sorted(r.get('open', {}).get('members', {}))


def wait_cohort(cluster, nodes, seconds=30):
    names = sorted(n.name for n in nodes)
    try:
        wait_for(f'the cohort {names}', lambda: cohort(cluster) == names, seconds)
    except AssertionError as late:
        raise AssertionError(f'{late}; the record: {record(cluster)}') from None


def up(cluster):
    """up(), and everybody else is of the cohort. The leader."""
    leader = cluster.up()
    wait_cohort(cluster, cluster.others(leader))
    return leader


class Load(Writers):
    """One writer a node, and the moment of a fault."""

    @classmethod
    def on(cls, cluster, rate=50):
        return cls.on_each(cluster, rate)

    def warm_up(self, leader):
        wait_for('acknowledged rows', lambda: len(self.acks(leader)) > 20, 10)

    def fault(self):
        """Now."""
        self.moment, self.wall = time.monotonic(), time.time()

    def wait_rows(self, nodes=None, seconds=15):
        """Acknowledged rows that were sent after the fault, on one of these nodes. Seconds from the fault to the first."""
        names = [n.name for n in nodes or self.cluster.nodes]
        wait_for(f'acknowledged rows on {names}',
                 lambda: [a for a in self.acked_since(self.moment) if a.node in names], seconds)
        return min(a.acked for a in self.acked_since(self.moment) if a.node in names) - self.moment

    def tell(self, what, until_s=4):
        """Print what the agents did in the first seconds after the fault."""
        print(f'\n{what}: no row for {self.gap_s(self.moment):.3f} s')
        lines = []
        for node in self.cluster.nodes:
            for line in node.log.text().splitlines():
                found = STEPS.match(line)
                if not found:
                    continue
                at = datetime.strptime(found[1], '%Y-%m-%d %H:%M:%S,%f').timestamp() - self.wall
                if -0.05 <= at <= until_s:
                    lines.append(f'  {at:6.3f} {node.name} {found[3]:18} {found[2][:150]}')
        print('\n'.join(sorted(lines)))

    def check(self, leader):
        """After the end of the load: nothing that was acknowledged is missing, on any node."""
        self.check_one_primary()
        self.cluster.wait_replayed()
        for node in self.cluster.nodes:
            missing = self.missing(node)
            assert not missing, f'{node.name} lacks {missing[:3]} … of {len(missing)}'
        wait_cohort(self.cluster, self.cluster.others(leader))
