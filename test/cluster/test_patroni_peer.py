"""pgkeep and Debian's Patroni as members of one cluster: failover both ways, takeover and the way back."""
import json
import os
import signal

import pytest

from lab.bench import ok
from lab.cluster import PREFIX
from lab.node import REWIND, merged
from lab.quorum import quorum, record, up, wait_cohort
from lab.wait import wait_for
from lab.writer import Writers

pytestmark = pytest.mark.peer

SCOPE = 'myapp-cluster'
TTL_S = 30
LEASE_AND_ELECTION_S = TTL_S + 15
# Patroni 3.0.2 does not adjust timings itself; without a rule that holds it would warn only, but the
# mixed cluster shall run under one that both take literally.
TIMINGS = merged(REWIND, {'bootstrap': {'dcs': {'ttl': 30, 'loop_wait': 5, 'retry_timeout': 10}}})


def mixed(cluster_of, flavours):
    cluster = cluster_of(3, flavours=flavours, more=TIMINGS)
    cluster.store.start()
    cluster.nodes[0].start()
    cluster.wait_leader(90)
    for node in cluster.nodes[1:]:
        node.start()
    assert cluster.wait_healthy() is cluster.nodes[0]
    return cluster


def views_agree(cluster):
    """Both programs show the same members, roles and timelines."""
    views = []
    for node in cluster.nodes:
        views.append(sorted((m['name'], m['role'], m.get('timeline')) for m in node.rest.get('/cluster').json['members']))
    return all(view == views[0] for view in views)


def test_patroni_leads_and_pgkeep_takes_over(cluster_of):
    cluster = mixed(cluster_of, ['patroni', 'pgkeep', 'pgkeep'])
    old = cluster.nodes[0]
    wait_for('the same view everywhere', lambda: views_agree(cluster), 30)
    with Writers.on_each(cluster) as writers:
        wait_for('acknowledged rows', lambda: len(writers.acks(old)) > 20, 10)
        old.crash()
        new = cluster.wait_leader(LEASE_AND_ELECTION_S, other_than=old)
        wait_for('rows on the new leader', lambda: writers.acks(new), 10)
        old.start()
        assert cluster.wait_healthy() is new
    writers.check_one_primary()
    wait_for('the same view everywhere', lambda: views_agree(cluster), 30)


def test_pgkeep_leads_and_patroni_takes_over(cluster_of):
    cluster = mixed(cluster_of, ['pgkeep', 'patroni', 'pgkeep'])
    old, patroni, other = cluster.nodes
    other.change_yml({'tags': {'nofailover': True}})
    assert other.rest.call('POST', '/reload').status == 202
    wait_for('the tag', lambda: cluster.member(other.name).get('tags', {}).get('nofailover'), 40)
    with Writers.on_each(cluster) as writers:
        wait_for('acknowledged rows', lambda: len(writers.acks(old)) > 20, 10)
        old.crash()
        assert cluster.wait_leader(LEASE_AND_ELECTION_S, other_than=old) is patroni
        wait_for('rows on the new leader', lambda: writers.acks(patroni), 10)
        old.start()
        assert cluster.wait_healthy() is patroni
    writers.check_one_primary()


def test_switchover_there_and_back_by_either_program(cluster_of):
    cluster = mixed(cluster_of, ['patroni', 'pgkeep', 'pgkeep'])
    patroni, ours = cluster.nodes[:2]
    with Writers.on_primary(cluster, rate=100) as writers:
        wait_for('acknowledged rows', lambda: len(writers.acks()) > 20, 10)
        assert cluster.switchover(ours, via=patroni) is ours
        assert cluster.wait_healthy() is ours
        assert cluster.switchover(patroni, via=ours) is patroni
        assert cluster.wait_healthy() is patroni
    writers.check_one_primary()
    assert not writers.missing(patroni)


def test_each_programs_list_shows_the_others_members(cluster_of):
    cluster = mixed(cluster_of, ['patroni', 'pgkeep', 'pgkeep'])
    for node in cluster.nodes[:2]:
        rows = {row['Member']: row for row in node.list()}
        assert set(rows) == {n.name for n in cluster.nodes}
        assert rows[cluster.nodes[0].name]['Role'] == 'Leader'


def test_configuration_changed_through_one_reaches_the_other(cluster_of):
    cluster = mixed(cluster_of, ['patroni', 'pgkeep', 'pgkeep'])
    for via, value in ((cluster.nodes[0], '6MB'), (cluster.nodes[1], '7MB')):
        via.rest.patch_config({'postgresql': {'parameters': {'work_mem': value}}})
        for node in cluster.nodes:
            wait_for(f'work_mem {value} on {node.name}', lambda n=node, v=value: n.value('show work_mem') == v, 30)


def become(node, flavour, more):
    """Another program on the same node, with the same YAML. PostgreSQL is not asked."""
    node.stop()
    node.flavour = flavour
    node.more = more
    node.write_yml()
    node.start()


def test_takeover_in_place_and_the_way_back_without_a_restart_of_postgres(cluster_of):
    cluster = cluster_of(3, flavours='patroni', more=TIMINGS)
    leader = cluster.up()
    postmasters = {node.name: node.postmaster_pid() for node in cluster.nodes}
    writers = Writers.on_primary(cluster, rate=100)
    with writers:
        wait_for('acknowledged rows', lambda: len(writers.acks()) > 20, 10)
        for flavour in ('pgkeep', 'patroni'):
            done = leader.ctl('pause', 'myapp-cluster', '--wait')
            assert done.returncode == 0, done
            for node in cluster.nodes:
                become(node, flavour, node.more)
                wait_for(f'REST of {node.name}', lambda n=node: n.status()['state'] == 'running', 30)
            done = leader.ctl('resume', 'myapp-cluster', '--wait')
            assert done.returncode == 0, done
            assert cluster.wait_healthy() is leader
            assert {node.name: node.postmaster_pid() for node in cluster.nodes} == postmasters
    writers.check_one_primary()
    assert not writers.missing(leader)
    # And it still heals itself afterwards.
    leader.crash()
    cluster.wait_leader(LEASE_AND_ELECTION_S, other_than=leader)


def detach(node, *arguments):
    return node.bench.run(['pgkeep', '-c', node.yml, 'detach', *arguments], node.folder)


def config_text(node):
    return (node.data / 'postgresql.conf').read_text()


def test_detach_takes_the_fence_away_before_patroni_comes_back(cluster_of):
    cluster = cluster_of(3, more=merged(TIMINGS, quorum()))
    leader = up(cluster)
    late, other = cluster.others(leader)
    leader.sql('create table kept as select 1 as i')
    cluster.wait_replayed()
    # A node that is down while quorum mode ends keeps the fence in its files.
    late.crash()
    assert '__fence__' in config_text(late) and 'pgkeep.sync.conf' in config_text(late)
    done = detach(late)
    assert done.returncode == 1 and 'quorum mode' in done.stderr, done
    assert '__fence__' in config_text(late)
    done = detach(leader)
    assert done.returncode == 1 and 'pgkeep runs on this node' in done.stderr, done

    ok(leader.ctl('edit-config', SCOPE, '-s', 'synchronous_mode=off', '--force'))
    wait_for('asynchronous mode', lambda: record(cluster).get('mode') != 'quorum', 30)
    done = detach(late, '-f', 'json')
    assert done.returncode == 0, done
    assert json.loads(done.stdout)['changed'], done
    for gone in ('__fence__', 'pgkeep.sync.conf', 'primary_conninfo'):
        assert gone not in config_text(late)
    assert ok(detach(late)) == 'Nothing is left to remove\n'

    ok(leader.ctl('pause', SCOPE, '--wait'))
    postmaster = leader.postmaster_pid()
    for node in (leader, other):
        node.stop()
        ok(detach(node))
        become(node, 'patroni', node.more)
    become(late, 'patroni', late.more)
    ok(leader.ctl('resume', SCOPE, '--wait'))
    assert cluster.wait_healthy() is leader
    assert leader.postmaster_pid() == postmaster
    with Writers.on_each(cluster) as writers:
        wait_for('acknowledged rows', lambda: len(writers.acks(leader)) > 20, 10)
        assert cluster.switchover(late) is late
        wait_for('rows on the one that had the fence', lambda: len(writers.acks(late)) > 20, 15)
        assert cluster.wait_healthy() is late
    writers.check_one_primary()
    assert not writers.missing(late)


def test_detach_of_a_former_primary_makes_it_a_standby_first(cluster_of):
    cluster = cluster_of(3, more=merged(TIMINGS, quorum()))
    old = up(cluster)
    old.crash()
    new = cluster.wait_leader(60, other_than=old)
    assert not (old.data / 'standby.signal').exists()
    ok(new.ctl('edit-config', SCOPE, '-s', 'synchronous_mode=off', '--force'))
    wait_for('asynchronous mode', lambda: record(cluster).get('mode') != 'quorum', 30)
    done = detach(old)
    assert done.returncode == 0 and 'standby.signal was made' in done.stdout, done
    assert (old.data / 'standby.signal').exists() and '__fence__' not in config_text(old)
    # Patroni sees to the rest.
    old.flavour = 'patroni'
    old.write_yml()
    old.start()
    assert cluster.wait_healthy() is new


def sync_key(cluster):
    return json.loads(cluster.store.get(PREFIX + 'sync') or '{}')


def listed(cluster):
    return sync_key(cluster).get('sync_standby') or ''


SYNC = merged(TIMINGS, {'bootstrap': {'dcs': {'synchronous_mode': True, 'failover_profile': 'fast'}}})


@pytest.mark.parametrize('winner', [1, 2], ids=['patroni', 'pgkeep'])
def test_beside_patroni_who_is_in_sync_takes_over_and_nothing_is_lost(cluster_of, winner):
    cluster = cluster_of(3, flavours=['pgkeep', 'patroni', 'pgkeep'], more=SYNC,
                         more_of=lambda name: {'tags': {'nosync': True}} if name == f'db-0{4 - winner}' else {})
    cluster.store.start()
    old = cluster.nodes[0]
    old.start()
    cluster.wait_leader(90)
    for node in cluster.nodes[1:]:
        node.start()
    assert cluster.wait_healthy() is old
    to = cluster.nodes[winner]
    wait_for('the rules of Patroni', lambda: record(cluster).get('mode') == 'patroni', 30)
    wait_for(f'{to.name} in the sync key', lambda: listed(cluster) == to.name, 30)
    assert old.value('show synchronous_standby_names') == f'ANY 1 ("{to.name}")'
    with Writers.on_each(cluster) as writers:
        wait_for('acknowledged rows', lambda: len(writers.acks(old)) > 20, 10)
        old.crash()
        assert cluster.wait_leader(LEASE_AND_ELECTION_S, other_than=old) is to
        wait_for('rows on the new leader', lambda: writers.acks(to), 30)
        old.start()
        assert cluster.wait_healthy() is to
        wait_for('the old leader in the sync key', lambda: listed(cluster) == old.name, 60)
        assert sync_key(cluster)['leader'] == to.name
    writers.check_one_primary()
    assert not writers.missing(to)
    # And back: from Patroni, which dies as leader; from pgkeep by a switchover.
    with Writers.on_each(cluster) as writers:
        wait_for('acknowledged rows', lambda: len(writers.acks(to)) > 20, 10)
        if to.flavour == 'patroni':
            to.crash()
            assert cluster.wait_leader(LEASE_AND_ELECTION_S, other_than=to) is old
            to.start()
        else:
            assert cluster.switchover(old) is old
        wait_for('rows on the old leader', lambda: writers.acks(old), 30)
        assert cluster.wait_healthy() is old
    writers.check_one_primary()
    assert not writers.missing(old)


def test_a_member_of_patroni_ends_quorum_mode_and_its_end_brings_it_back(cluster_of):
    cluster = cluster_of(3, more=merged(TIMINGS, quorum()))
    leader = up(cluster)
    guest, other = cluster.others(leader)
    with Writers.on_each(cluster) as writers:
        wait_for('acknowledged rows', lambda: len(writers.acks(leader)) > 20, 10)
        become(guest, 'patroni', guest.more)
        wait_for('the rules of Patroni', lambda: record(cluster).get('mode') == 'patroni', 60)
        wait_for('somebody in the sync key', lambda: listed(cluster), 60)
        assert cluster.wait_healthy() is leader
        before = len(writers.acks(leader))
        wait_for('more rows', lambda: len(writers.acks(leader)) > before + 20, 15)
        become(guest, 'pgkeep', guest.more)
        wait_for('quorum mode', lambda: record(cluster).get('mode') == 'quorum', 60)
        wait_cohort(cluster, [guest, other], 60)
        before = len(writers.acks(leader))
        wait_for('more rows', lambda: len(writers.acks(leader)) > before + 20, 15)
        # No lease is waited for any more.
        leader.crash()
        new = cluster.wait_leader(15, other_than=leader)
        wait_for('rows on the new leader', lambda: writers.acks(new), 15)
    writers.check_one_primary()
    assert not writers.missing(new)


def test_beside_patroni_an_agent_that_dies_leaves_the_list_in_force(cluster_of):
    cluster = cluster_of(2, flavours=['pgkeep', 'patroni'], more=SYNC)
    cluster.store.start()
    leader, guest = cluster.nodes
    leader.start()
    cluster.wait_leader(90)
    guest.start()
    assert cluster.wait_healthy() is leader
    wait_for(f'{guest.name} in the sync key', lambda: listed(cluster) == guest.name, 60)
    names = f'ANY 1 ("{guest.name}")'
    postmaster = leader.postmaster_pid()
    with Writers.on_each(cluster) as writers:
        wait_for('acknowledged rows', lambda: len(writers.acks(leader)) > 20, 10)
        for _ in range(3):
            agent = leader.agent_pid()
            os.kill(agent, signal.SIGKILL)
            wait_for('another agent', lambda a=agent: leader.agent_pid() not in (0, a), 15)
            before = len(writers.acks(leader))
            wait_for('more rows', lambda b=before: len(writers.acks(leader)) > b + 20, 30)
            wait_for('the list', lambda: leader.value('show synchronous_standby_names') == names, 15)
            assert listed(cluster) == guest.name and leader.postmaster_pid() == postmaster
        leader.crash()
        assert cluster.wait_leader(LEASE_AND_ELECTION_S, other_than=leader) is guest
    writers.check_one_primary()
    assert not writers.missing(guest)
