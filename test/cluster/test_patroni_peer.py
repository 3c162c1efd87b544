"""pgkeep and Debian's Patroni as members of one cluster: failover both ways, takeover and the way back."""
import pytest

from lab.node import REWIND, merged
from lab.wait import wait_for
from lab.writer import Writers

pytestmark = pytest.mark.peer

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
