"""The article's YAML starts three nodes that replicate and tell the truth about themselves."""
import psycopg
import pytest

from lab.wait import wait_for


@pytest.mark.smoke
def test_the_articles_yaml_starts_three_nodes(cluster_of):
    cluster = cluster_of(3)
    leader = cluster.up()

    roles = sorted((m['name'], m['role']) for m in cluster.view()['members'])
    assert len(roles) == 3 and sorted(r for _, r in roles) == ['leader', 'replica', 'replica']
    assert len(cluster.system_identifiers()) == 1

    rows = {row['Member']: row for row in leader.list()}
    assert rows[leader.name]['Role'] == 'Leader'
    for replica in cluster.others(leader):
        assert rows[replica.name]['Role'] == 'Replica'
        assert rows[replica.name]['State'] in ('running', 'streaming')
        assert rows[replica.name]['TL'] == rows[leader.name]['TL']

    leader.sql('create table t (n int)')
    leader.sql('insert into t values (42)')
    cluster.wait_replayed()
    for replica in cluster.others(leader):
        assert replica.value('select n from t') == 42
        assert not replica.writable()


@pytest.mark.root
def test_the_articles_yaml_replicates_between_hosts_without_a_pg_hba(network, cluster_of):
    """The article says nothing of pg_hba: the members let each other in, nobody else."""
    cluster = cluster_of(3, network=network, more={'postgresql': {'pg_hba': None}})
    cluster.start()

    def streaming():
        members = cluster.view()['members']
        return len(members) == 3 and sorted(m['state'] for m in members) == ['running', 'streaming', 'streaming']
    wait_for('two streaming replicas', streaming, 90)
    with pytest.raises(psycopg.OperationalError, match='pg_hba'):
        cluster.leader().sql('select 1')
