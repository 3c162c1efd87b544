#!/usr/bin/python3
"""
How long nobody can write: pgkeep and Patroni on the same machine, the same YAML, alternating.

    outage.py [--reps N] [--event NAME]...

Events, with the article's timings (ttl 30):
  restart     kill -9 of the postmaster, primary_start_timeout 300: started again in place
  postmaster  kill -9 of the postmaster, primary_start_timeout 0: a standby takes over
  switchover  by the tool's own command
  host        kill -9 of agent, guard and PostgreSQL (--event only: half a minute each)

Outage: the largest gap between two acknowledged writes after the event, by a client that knows all nodes. A figure is
a ratio to the peer's of the same run; the absolute numbers belong to this machine and its load. Acknowledged rows that
are missing after a restart or a switchover end the run with an error; after a failover they are counted.
"""
import argparse
import signal
import statistics
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / 'cluster'))

from lab import proc  # noqa: E402
from lab.bench import Bench  # noqa: E402
from lab.cluster import Cluster  # noqa: E402
from lab.node import REWIND, merged  # noqa: E402
from lab.wait import wait_for  # noqa: E402
from lab.writer import Writers  # noqa: E402

EVENTS = ('restart', 'postmaster', 'switchover', 'host')
START_TIMEOUT = {'restart': 300, 'postmaster': 0}
QUIET_S = 2  # writes flow again for that long: the outage is over
LIMIT_S = 90


def strike(event, cluster, leader):
    if event == 'switchover':
        cluster.switchover()
    elif event == 'host':
        leader.crash()
    else:
        proc.send([leader.postmaster_pid()], signal.SIGKILL)


def outage_s(event, cluster):
    leader = cluster.wait_healthy(LIMIT_S)
    leader.sql('drop table if exists ledger')  # each run numbers its rows from one
    with Writers.on_primary(cluster) as writers:
        wait_for('acknowledged rows', lambda: len(writers.acks()) > 100, 15)
        struck = time.monotonic()
        strike(event, cluster, leader)
        wait_for('writes after the event',
                 lambda: writers.acked_since(struck + 0.02) and
                 writers.acks()[-1].acked - writers.acked_since(struck + 0.02)[0].acked > QUIET_S and
                 (event == 'switchover' or writers.gap_s(struck) > 0.05), LIMIT_S)
        gap = writers.gap_s(struck)
    if event == 'host':
        leader.start()
    now = cluster.wait_healthy(LIMIT_S)
    missing = writers.missing(now)
    if missing and event in ('restart', 'switchover'):
        raise SystemExit(f'{event}: {len(missing)} acknowledged rows are missing')
    if missing:  # asynchronous replication: what had not been shipped when the primary fell
        print(f'{event:<11} {cluster.nodes[0].flavour:<8} {len(missing)} acknowledged rows were not replicated yet', flush=True)
    return gap


def measure(event, clusters, reps):
    gaps = {name: [] for name in clusters}
    if event in START_TIMEOUT:
        for cluster in clusters.values():
            cluster.configure({'primary_start_timeout': START_TIMEOUT[event]})
    for _ in range(reps):
        for name, cluster in clusters.items():
            gaps[name].append(outage_s(event, cluster))
    for name, found in gaps.items():
        print(f'{event:<11} {name:<8} n={len(found)} median {statistics.median(found):6.2f} s'
              f'   min {min(found):6.2f}   max {max(found):6.2f}', flush=True)
    ratio = statistics.median(gaps['pgkeep']) / statistics.median(gaps['patroni'])
    print(f'{event:<11} pgkeep / patroni {ratio:.2f}', flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('--reps', type=int, default=5)
    parser.add_argument('--event', action='append', choices=EVENTS)
    arguments = parser.parse_args()
    places, clusters = [], {}
    try:
        for flavour in ('pgkeep', 'patroni'):
            place = Bench(f'bench-{flavour}')
            places.append(place)
            clusters[flavour] = Cluster(place, 3, flavours=flavour, more=merged(REWIND, {}))
            clusters[flavour].up()
        for event in arguments.event or EVENTS[:3]:
            measure(event, clusters, arguments.reps)
    finally:
        for place in places:
            place.close()


if __name__ == '__main__':
    main()
