"""Quorum mode under an operator's hands: what is asked for is done, and nothing that was acknowledged is missing."""
import time

import pytest

from lab.bench import ok
from lab.quorum import Load, cohort, quorum, record, up, wait_cohort
from lab.wait import holds_for, wait_for

SCOPE = 'myapp-cluster'


def configure(cluster, change):
    cluster.nodes[0].rest.patch_config(change)


@pytest.mark.smoke
def test_a_switchover_loses_nothing(cluster_of):
    cluster = cluster_of(3, more=quorum())
    old = up(cluster)
    to = cluster.others(old)[1]
    with Load.on(cluster) as load:
        load.warm_up(old)
        load.fault()
        assert cluster.switchover(to) is to
        load.wait_rows([to])
        load.tell('switchover')
        assert cluster.wait_healthy() is to
    load.check(to)


def test_twenty_switchovers_under_load(cluster_of):
    cluster = cluster_of(3, more=quorum())
    up(cluster)
    gaps = []
    with Load.on(cluster) as load:
        for _ in range(20):
            load.warm_up(cluster.leader())
            load.fault()
            new = cluster.switchover()
            load.wait_rows([new])
            wait_cohort(cluster, cluster.others(new))
            gaps.append(load.gap_s(load.moment))
    print('\ngaps: ' + ' '.join(f'{g:.3f}' for g in gaps))
    load.check(cluster.wait_healthy())


def test_a_restart_of_the_leader_is_no_failover(cluster_of):
    cluster = cluster_of(3, more=quorum())
    leader = up(cluster)
    before, postmaster = record(cluster)['term'], leader.postmaster_pid()
    with Load.on(cluster) as load:
        load.warm_up(leader)
        load.fault()
        ok(leader.ctl('restart', SCOPE, leader.name, '--force'))
        assert leader.postmaster_pid() not in (0, postmaster)
        assert cluster.wait_healthy() is leader
        wait_for('rows after the restart', lambda: load.acked_since(time.monotonic() - 0.5, leader), 10)
        load.tell('restart')
        assert record(cluster)['term'] == before
    load.check(leader)


def test_a_member_that_is_reinitialized_leaves_the_cohort_first(cluster_of):
    cluster = cluster_of(3, more=quorum())
    leader = up(cluster)
    made, stays = cluster.others(leader)
    was = record(cluster)['open']['members'][made.name]
    with Load.on(cluster) as load:
        load.warm_up(leader)
        load.fault()
        made.log.mark()
        leader.log.mark()
        ok(leader.ctl('reinit', SCOPE, made.name, '--force', '--wait'))
        wait_cohort(cluster, [made, stays])
        assert record(cluster)['open']['members'][made.name] != was, 'what it holds is of another incarnation'
        assert cluster.wait_healthy() is leader
        left = leader.log.lines(r"event=names\.loaded")[0]
        discarded = made.log.lines(r'(discard|clone)\S* .*event=job\.begin')[0]
        assert made.name not in left and left[:23] <= discarded[:23], f'{left} / {discarded}'
        assert load.gap_s(load.moment) < 2
    load.check(leader)


def test_parameters_are_changed_without_a_change_of_the_list(cluster_of):
    cluster = cluster_of(3, more=quorum())
    leader = up(cluster)
    names = leader.value('show synchronous_standby_names')
    with Load.on(cluster) as load:
        load.warm_up(leader)
        load.fault()
        ok(leader.ctl('edit-config', SCOPE, '-p', 'work_mem=7MB', '--force'))
        for node in cluster.nodes:
            wait_for(f'work_mem of {node.name}', lambda n=node: n.value('show work_mem') == '7MB', 10)
        ok(leader.ctl('reload', SCOPE, '--force'))
        holds_for('the list', lambda: leader.value('show synchronous_standby_names') == names, 3, every_s=0.2)
        assert load.gap_s(load.moment) < 2
    assert cluster.wait_healthy() is leader
    load.check(leader)


def test_no_failover_while_paused_and_one_after_it(cluster_of):
    cluster = cluster_of(3, more=quorum())
    old = up(cluster)
    others = cluster.others(old)
    with Load.on(cluster) as load:
        load.warm_up(old)
        ok(others[0].ctl('pause', SCOPE, '--wait'))
        load.fault()
        old.crash()
        holds_for('no new leader', lambda: not [n for n in others if n.writable()], 8, every_s=0.2)
        ok(others[0].ctl('resume', SCOPE))
        load.wait_rows(others, 30)
        old.start()
        new = cluster.wait_healthy()
    load.check(new)


def test_synchronous_mode_off_and_on_in_a_running_cluster(cluster_of):
    cluster = cluster_of(3, more=quorum())
    leader = up(cluster)
    with Load.on(cluster) as load:
        load.warm_up(leader)
        load.fault()
        ok(leader.ctl('edit-config', SCOPE, '-s', 'synchronous_mode=off', '--force'))
        wait_for('asynchronous mode', lambda: record(cluster).get('mode') != 'quorum', 30)
        wait_for('an empty list', lambda: leader.value('show synchronous_standby_names') == '', 15)
        assert leader.rest.status('/primary') == 200
        ok(leader.ctl('edit-config', SCOPE, '-s', 'synchronous_mode=quorum', '--force'))
        wait_cohort(cluster, cluster.others(leader))
        assert load.gap_s(load.moment) < 3
    assert cluster.wait_healthy() is leader
    load.check(leader)


def test_the_number_of_acknowledgements_changes_in_the_running_cluster(cluster_of):
    cluster = cluster_of(3, more=quorum())
    leader = up(cluster)
    with Load.on(cluster) as load:
        load.warm_up(leader)
        load.fault()
        for number in (2, 1):
            configure(cluster, {'synchronous_node_count': number})
            wait_for(f'{number} of two', lambda k=number: cohort(cluster) and record(cluster)['open']['k'] == k, 15)
            assert leader.value('show synchronous_standby_names').startswith(f'ANY {number} (')
        assert load.gap_s(load.moment) < 3
    load.check(leader)


def test_a_member_tagged_nosync_is_not_asked(cluster_of):
    cluster = cluster_of(3, more=quorum())
    leader = up(cluster)
    tagged, other = cluster.others(leader)
    with Load.on(cluster) as load:
        load.warm_up(leader)
        tagged.change_yml({'tags': {'nosync': True}})
        ok(tagged.ctl('reload', SCOPE, tagged.name, '--force'))
        wait_cohort(cluster, [other])
        tagged.change_yml({'tags': {'nosync': None}})
        ok(tagged.ctl('reload', SCOPE, tagged.name, '--force'))
        wait_cohort(cluster, [tagged, other])
    load.check(leader)


def test_a_member_tagged_nofailover_acknowledges_and_is_not_elected(cluster_of):
    cluster = cluster_of(3, more=quorum())
    old = up(cluster)
    tagged, other = cluster.others(old)
    tagged.change_yml({'tags': {'nofailover': True}})
    ok(tagged.ctl('reload', SCOPE, tagged.name, '--force'))
    wait_for('the tag', lambda: cluster.member(tagged.name).get('tags', {}).get('nofailover'), 40)
    time.sleep(1)
    with Load.on(cluster) as load:
        load.warm_up(old)
        load.fault()
        old.crash()
        load.wait_rows([other], 10)
        old.start()
        assert cluster.wait_healthy() is other
    load.check(other)
