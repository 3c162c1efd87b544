"""A clone that takes its time shows how far it is."""
from lab.wait import wait_for


def test_progress_of_a_clone_is_in_rest_the_list_and_the_log(cluster_of):
    # So slow that it can be looked at: a new database has more than 20 MB.
    cluster = cluster_of(2, more={'postgresql': {'basebackup': [{'max-rate': '2M'}]}})
    leader, replica = cluster.nodes
    cluster.store.start()
    leader.start()
    assert cluster.wait_leader(60) is leader
    replica.start()

    def progress():
        return replica.status()['pgkeep'].get('clone') or {}
    first = wait_for('a clone half done', lambda: (p := progress()).get('total', 0) > 20e6 and p['done'] > p['total'] / 4 and p, 60)
    assert first['from'] == leader.name and first['done'] < first['total']
    assert replica.status()['state'] == 'creating replica'
    listed = wait_for('a percentage in the list', lambda: [
        line for line in leader.ctl('list').stdout.splitlines() if replica.name in line and '%' in line], 10)[0]
    assert 'creating replica' in listed
    wait_for('more of it', lambda: first['done'] < progress()['done'] <= first['total'], 30)
    assert cluster.member(replica.name)['clone']['total'] == first['total']

    assert cluster.wait_healthy() is leader
    assert not progress() and 'clone' not in cluster.member(replica.name)
    assert len(replica.log.lines(rf'cloning from {leader.name} by basebackup: \d+% of \d+ MB .*event=clone\.progress')) > 3
