"""
What people and programs see of quorum mode, with Patroni's names: the sync key, health checks, roles, metrics, the list;
and what of PostgreSQL's own settings breaks the promise is reported.
"""
import json

import pytest

from lab.cluster import PREFIX
from lab.node import REWIND, merged
from lab.quorum import cohort
from lab.wait import wait_for


def synchronous(mode='quorum', **more):
    return merged(REWIND, {'bootstrap': {'dcs': {'synchronous_mode': mode, 'failover_profile': 'fast', **more}}})


def sync_key(cluster):
    text = cluster.store.get(PREFIX + 'sync')
    return json.loads(text) if text else None


def wait_sync(cluster, leader, names, seconds=30):
    """Listed for show: so many votes as `quorum` asks for nobody of Patroni's gets."""
    wanted = {'leader': leader.name, 'quorum': len(names), 'sync_standby': ','.join(sorted(names)) or None}
    wait_for(f'{wanted} in the sync key, not {sync_key(cluster)}', lambda: sync_key(cluster) == wanted, seconds)


@pytest.mark.smoke
def test_each_interface_tells_who_is_of_the_quorum(cluster_of):
    cluster = cluster_of(3, more=synchronous())
    leader = cluster.up()
    standbys = cluster.others(leader)
    wait_sync(cluster, leader, [n.name for n in standbys])
    for node in standbys:
        wait_for(f'/quorum of {node.name}', lambda n=node: n.rest.status('/quorum') == 200, 10)
        assert node.rest.get('/patroni').json['quorum_standby'] is True
        assert 'sync_standby' not in node.rest.get('/patroni').json
        statuses = {p: node.rest.status(p) for p in ('/read-only-quorum', '/replica', '/sync', '/read-only-sync', '/async')}
        assert statuses == {'/read-only-quorum': 200, '/replica': 200, '/sync': 503, '/read-only-sync': 503, '/async': 503}
        assert (node.rest.metric('patroni_quorum_standby'), node.rest.metric('patroni_sync_standby')) == (1, 0)
        assert cluster.member(node.name)['role'] == 'quorum_standby'
    assert leader.rest.status('/quorum') == 503
    assert leader.rest.status('/read-only-quorum') == 200
    assert (leader.rest.metric('pgkeep_cohort_members'), leader.rest.metric('pgkeep_cohort_k')) == (2, 1)
    ours = leader.rest.get('/patroni').json['pgkeep']
    assert (ours['mode'], ours['phase'], ours['cohort']['k']) == ('quorum', 'open', 1)
    listed = leader.ctl('list', '-e')
    assert listed.stdout.count('Quorum Standby') == 2, listed.stdout
    names = ', '.join(sorted(n.name for n in standbys))
    assert f'Mode: quorum, term: {ours["term"]}, phase: open' in listed.stdout
    assert f'Commits wait for: 1 of {names}' in listed.stdout

    # Who leaves the cohort leaves the copy of it, who comes back is there again.
    gone, stays = standbys
    gone.stop()
    wait_sync(cluster, leader, [stays.name])
    gone.start()
    wait_sync(cluster, leader, [n.name for n in standbys], 60)

    # A failover, and the copy names the new leader.
    leader.crash()
    new = cluster.wait_leader(30, other_than=leader)
    other = next(n for n in standbys if n is not new)
    wait_sync(cluster, new, [other.name])

    # Off: the key goes with the mode.
    leader.start()
    wait_sync(cluster, new, [n.name for n in cluster.others(new)], 60)
    new.rest.patch_config({'synchronous_mode': 'off'})
    wait_for('no sync key', lambda: sync_key(cluster) is None, 30)
    wait_for('/async', lambda: other.rest.status('/async') == 200, 10)


def test_mode_on_shows_synchronous_standbys_and_refuses_other_candidates(cluster_of):
    cluster = cluster_of(3, more=synchronous(mode='on'))
    leader = cluster.up()
    wait_for('one synchronous standby', lambda: cohort(cluster), 30)
    sync = cluster[cohort(cluster)[0]]
    assert sync_key(cluster) == {'leader': leader.name, 'quorum': 0, 'sync_standby': None}
    plain = next(n for n in cluster.others(leader) if n is not sync)
    wait_for('/sync', lambda: sync.rest.status('/sync') == 200, 10)
    assert sync.rest.get('/patroni').json['sync_standby'] is True
    assert (sync.rest.status('/read-only-sync'), sync.rest.status('/quorum'), sync.rest.status('/async')) == (200, 503, 503)
    assert (plain.rest.status('/sync'), plain.rest.status('/async')) == (503, 200)
    assert cluster.member(sync.name)['role'] == 'sync_standby'
    assert 'Sync Standby' in leader.ctl('list').stdout

    refused = leader.rest.call('POST', '/switchover', {'leader': leader.name, 'candidate': plain.name})
    assert (refused.status, refused.text) == (412, 'candidate name does not match with sync_standby')
    cluster.switchover(candidate=sync)
    assert cluster.leader() is sync
