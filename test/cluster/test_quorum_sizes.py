"""Other numbers than three: two nodes with data and a witness without, five nodes of which two may be lost at once."""
import json
import time

from lab.bench import ok
from lab.node import Node
from lab.quorum import Load, cohort, quorum, record, up, wait_cohort
from lab.wait import holds_for, wait_for


def with_witness(cluster, name):
    """Its agent, of the cluster's YAML without what only a node with data has."""
    node = Node(cluster.bench, name, cluster.store.hosts, more={'postgresql': None, 'bootstrap': None, 'tags': None})
    node.change_yml({'pgkeep': {'witness': True, 'state_dir': str(node.folder / 'state')}})
    node.start()
    wait_for(f'the witness {name}', lambda: cluster.member(name), 20)
    return node


def test_two_nodes_and_a_witness(cluster_of):
    cluster = cluster_of(2, more=quorum())
    old = up(cluster)
    (other,) = cluster.others(old)
    witness = with_witness(cluster, 'arbiter')  # sorts first: it is the one that takes a term

    # It is a member that holds nothing: no slot, no part of the cohort, no candidate.
    assert (cluster.member('arbiter')['role'], cluster.member('arbiter')['state']) == ('witness', 'running')
    assert 'Witness' in ok(old.ctl('list'))
    assert 'arbiter' not in [row[0] for row in old.sql('select slot_name from pg_replication_slots')]
    assert cohort(cluster) == [other.name]

    def heard():
        return {m['member']: m for m in json.loads(ok(old.ctl('explain', '--now', '-f', 'json')))['members']}

    wait_for('the witness is heard', lambda: heard().get('arbiter', {}).get('heard_ms') is not None, 10)
    assert heard()['arbiter']['verdict'] == 'cannot'
    assert [witness.rest.status(p) for p in ('/primary', '/replica', '/read-only')] == [503] * 3
    assert ok(witness.ctl('list')) and not witness.postgres_pids()
    for path in ('/restart', '/reinitialize'):
        refused = witness.rest.call('POST', path, {})
        assert (refused.status, refused.text) == (503, 'a witness has no PostgreSQL')
    assert f'port={other.pg_port}' in ok(old.ctl('dsn', '-r', 'replica')), 'the first one that is no leader is the witness'
    restarted = ok(old.ctl('restart', 'myapp-cluster', '-r', 'replica', '--force'))
    assert f'restart on member {other.name}' in restarted and 'arbiter,' not in restarted, restarted
    wait_cohort(cluster, [other])
    checked = cluster.bench.run(['pgkeep', 'check', '-i', witness.yml], witness.folder)
    assert checked.returncode == 0, checked.stdout

    # The host of the leader is gone: the other one leads, and goes on alone, by a decision that is recorded.
    with Load.on(cluster) as load:
        load.warm_up(old)
        load.fault()
        old.crash()
        load.wait_rows([other], 15)
        load.tell('host of the leader, two nodes and a witness')
        wait_for('nobody but itself', lambda: cohort(cluster) == [] and record(cluster)['leader'] == other.name, 10)
        assert other.value('show synchronous_standby_names') == ''
        assert 'Commits wait for: 0 of nobody' in ok(other.ctl('list', '-e'))
        assert record(cluster)['coordinator'].startswith('arbiter#')
        old.start()
        assert cluster.wait_healthy() is other
        wait_cohort(cluster, [old])
    load.check(other)

    # Without its witness the cluster goes on as it is, and nobody takes a term.
    term, began = record(cluster)['term'], time.monotonic()
    witness.stop(deadline_s=10)
    assert time.monotonic() - began < 10
    holds_for('the leader', lambda: other.rest.status('/primary') == 200 and record(cluster)['term'] == term, 3,
              every_s=0.2)
    wait_for('the witness is gone from the list', lambda: not cluster.member('arbiter'), 40)


def test_five_nodes_lose_two_at_once_the_leader_among_them(cluster_of):
    """k = 2 of four: what was acknowledged is on three disks, and any three of the four settle it."""
    cluster = cluster_of(5, more=quorum(synchronous_node_count=2))
    old = up(cluster)
    wait_for('two of four', lambda: record(cluster)['open']['k'] == 2, 20)
    assert old.value('show synchronous_standby_names').startswith('ANY 2 (')
    lost, *left = cluster.others(old)
    with Load.on(cluster) as load:
        load.warm_up(old)
        load.fault()
        lost.crash()
        old.crash()
        load.wait_rows(left, 20)
        load.tell('the leader and one of four standbys, k = 2')
        new = cluster.leader()
        assert new in left
        # As many disks as before, with who is left: two of two.
        wait_for('two of the two', lambda: cohort(cluster) == sorted(n.name for n in left if n is not new) and
                 record(cluster)['open']['k'] == 2, 20)
        old.start()
        lost.start()
        assert cluster.wait_healthy() is new
        wait_cohort(cluster, cluster.others(new), 60)
    load.check(new)
