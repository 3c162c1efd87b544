"""The store goes away and comes back."""
import json
import signal
import time

import pytest

from lab.cluster import PREFIX
from lab.wait import holds_for, wait_for
from lab.writer import Writers

CONFIG, INITIALIZE = PREFIX + 'config', PREFIX + 'initialize'
TTL_S = 30
AWAY_S = 60


def failsafe(on):
    return {'bootstrap': {'dcs': {'failsafe_mode': on}}}


@pytest.mark.parametrize('how', ['frozen', 'stopped'])
def test_without_failsafe_the_primary_is_demoted_in_time(cluster_of, how):
    cluster = cluster_of(3, more=failsafe(False))
    old = cluster.up()
    with Writers.on_each(cluster) as writers:
        wait_for('acknowledged rows', lambda: len(writers.acks(old)) > 20, 10)
        gone = time.monotonic()
        cluster.store.freeze() if how == 'frozen' else cluster.store.stop()
        # A lease that was renewed at the last moment lasts ttl; nothing may be acknowledged after that.
        wait_for('end of the last writable node', lambda: not cluster.writable_nodes(), TTL_S + 5)
        holds_for('nobody writable', lambda: not cluster.writable_nodes(), gone + AWAY_S - time.monotonic(), every_s=1)
        assert not [a for a in writers.acks() if a.acked > gone + TTL_S]
        cluster.store.thaw() if how == 'frozen' else cluster.store.start()
        cluster.wait_leader(TTL_S + 15)
        back = time.monotonic()
        wait_for('rows again', lambda: writers.acked_since(back), 10)
        cluster.wait_healthy()
    writers.check_one_primary()


@pytest.mark.parametrize('how', ['frozen', 'stopped'])
def test_with_failsafe_the_primary_goes_on_while_all_members_agree(cluster_of, how):
    cluster = cluster_of(3, more=failsafe(True))
    leader = cluster.up()
    wait_for('the failsafe key', lambda: len(leader.rest.get('/failsafe').json) == 3, 40)
    with Writers.on_each(cluster) as writers:
        wait_for('acknowledged rows', lambda: len(writers.acks(leader)) > 20, 10)
        gone = time.monotonic()
        cluster.store.freeze() if how == 'frozen' else cluster.store.stop()
        holds_for('the leader writable', leader.writable, AWAY_S, every_s=0.5)
        assert leader.status()['failsafe_mode_is_active']
        cluster.store.thaw() if how == 'frozen' else cluster.store.start()
        assert cluster.wait_healthy() is leader
        assert writers.gap_s(gone) < 2
    writers.check_one_primary()
    assert not writers.missing(leader)


def test_with_failsafe_a_missing_member_demotes_the_primary(cluster_of):
    """All have to agree: one that is not heard might be following somebody else."""
    cluster = cluster_of(3, more=failsafe(True))
    leader = cluster.up()
    wait_for('the failsafe key', lambda: len(leader.rest.get('/failsafe').json) == 3, 40)
    cluster.store.freeze()
    frozen = cluster.others(leader)[0].freeze()
    wait_for('end of the last writable node', lambda: not leader.writable(), TTL_S + 10)
    leader.thaw(frozen)
    cluster.store.thaw()
    cluster.wait_healthy()


def test_two_of_three_store_members_are_enough(cluster_of):
    cluster = cluster_of(3, store_members=3)
    leader = cluster.up()
    with Writers.on_each(cluster) as writers:
        wait_for('acknowledged rows', lambda: len(writers.acks(leader)) > 20, 10)
        for member in cluster.store.members:
            lost = time.monotonic()
            member.kill()
            holds_for('the leader', lambda: cluster.leader() is leader and leader.writable(), TTL_S + 5, every_s=1)
            assert writers.gap_s(lost) < 1
            member.start(cluster.store.initial_cluster)
            cluster.store.wait_healthy()
    writers.check_one_primary()
    assert cluster.wait_healthy() is leader


def test_a_store_member_that_accepts_and_says_nothing_does_not_pin_the_leader(cluster_of):
    cluster = cluster_of(3, store_members=3)
    leader = cluster.up()
    cluster.store.members[0].signal(signal.SIGSTOP)  # the first in everybody's list
    holds_for('the leader', lambda: cluster.leader() is leader and leader.writable(), 2 * TTL_S, every_s=1)
    cluster.store.members[0].signal(signal.SIGCONT)
    assert cluster.wait_healthy() is leader


def test_lost_keys_are_written_again(cluster_of):
    """Somebody deleted configuration and history by hand; the running cluster knows them."""
    cluster = cluster_of(2)
    leader = cluster.up()
    before = leader.rest.get('/config').json
    cluster.store.delete('/db/myapp-cluster/config')
    wait_for('the configuration again', lambda: leader.rest.get('/config').json == before
             and cluster.store.get('/db/myapp-cluster/config'), 40)
    cluster.store.delete('/db/myapp-cluster/initialize')
    wait_for('the system identifier again', lambda: cluster.store.get('/db/myapp-cluster/initialize'), 40)
    assert cluster.wait_healthy() is leader


def config_key(cluster):
    return json.loads(cluster.store.get(CONFIG) or 'null')


def settled(cluster):
    """A leader whose store, files and data all hold something that is in no YAML: (leader, config key)."""
    leader = cluster.up()
    cluster.configure({'loop_wait': 2, 'postgresql': {'parameters': {'work_mem': '7MB'}}})
    for node in cluster.nodes:
        wait_for(f'work_mem of {node.name}', lambda n=node: n.value('show work_mem') == '7MB', 5)
        wait_for('its copy', lambda n=node: 'work_mem' in (n.data / 'patroni.dynamic.json').read_text(), 5)
    leader.sql("create table kept as select 'early' as row")
    cluster.wait_replayed()
    return leader, config_key(cluster)


def test_a_store_that_lost_everything_gets_back_what_was_in_force(cluster_of):
    cluster = cluster_of(2)
    leader, config = settled(cluster)
    before = [node.postmaster_pid() for node in cluster.nodes]
    cluster.store.lose_everything()
    wait_for('the configuration', lambda: config_key(cluster) == config, 60)
    assert cluster.wait_healthy() is leader
    assert [node.postmaster_pid() for node in cluster.nodes] == before
    assert {node.value('show work_mem') for node in cluster.nodes} == {'7MB'}


def test_a_cluster_that_was_stopped_while_the_store_lost_everything_comes_back_whole(cluster_of):
    """Nobody knows who led last: whoever comes up first waits for a better one before it leads."""
    cluster = cluster_of(2)
    leader, config = settled(cluster)
    system = leader.value('select system_identifier from pg_control_system()')
    replica, = cluster.others(leader)
    assert replica.stop() == 0
    leader.sql("insert into kept values ('late')")
    assert leader.stop() == 0
    cluster.store.lose_everything()
    replica.log.mark()
    replica.start()
    replica.log.wait('the store knows no cluster: giving whoever led this one', 30)
    leader.start()
    assert cluster.wait_healthy() is leader
    cluster.wait_replayed()
    assert config_key(cluster) == config
    assert cluster.store.get(INITIALIZE) == str(system)
    for node in cluster.nodes:
        assert node.sql('select row from kept') == [('early',), ('late',)]
        wait_for(f'work_mem of {node.name}', lambda n=node: n.value('show work_mem') == '7MB', 5)
