"""What the cluster says of itself: who could be promoted, what would happen if, and what happened and why."""
import json

import pytest

from lab.bench import ok, refused
from lab.wait import wait_for
from test_quorum import quorum, wait_cohort


def asked(node, *arguments):
    return json.loads(ok(node.ctl(*arguments, '-f', 'json')))


def four(cluster_of):
    """A leader and three standbys, one of which must not lead."""
    cluster = cluster_of(4, more=quorum())
    leader = cluster.up()
    *others, never = cluster.others(leader)
    never.change_yml({'tags': {'nofailover': True}})
    ok(leader.ctl('reload', 'myapp-cluster', never.name, '--force'))
    wait_cohort(cluster, [n.name for n in cluster.others(leader)])
    return cluster, leader, others, never


@pytest.mark.smoke
def test_who_could_be_promoted_and_what_if(cluster_of):
    cluster, leader, others, never = four(cluster_of)

    def verdicts():
        answer = asked(others[0], 'explain', '--now')
        return answer, {m['member']: m for m in answer['members']}

    wait_for('the tag is known', lambda: verdicts()[1][never.name]['nofailover'], 20)
    now, by_name = verdicts()
    assert (now['mode'], now['leader'], now['possible']) == ('quorum', leader.name, True)
    assert by_name[leader.name]['verdict'] == 'leads'
    assert (by_name[never.name]['verdict'], by_name[never.name]['why']) == ('cannot', 'is tagged nofailover')
    assert all(by_name[n.name]['verdict'] == 'can' and by_name[n.name]['acknowledges'] for n in others)
    pretty = ok(leader.ctl('explain', '--now'))
    assert 'Verdict' in pretty and 'is tagged nofailover' in pretty and 'Somebody could take over' in pretty

    plan = asked(leader, 'plan', '--if-lost', leader.name)
    assert plan['possible'] and plan['risk'] == 'nothing that was acknowledged is lost'
    assert sorted([plan['winner'], *plan['or']]) == sorted(n.name for n in others)
    assert 'any is as good' in ok(leader.ctl('plan', '--if-lost', leader.name))
    plan = asked(leader, 'plan', '--if-lost', others[0].name)
    assert plan['possible'] and plan['winner'] is None and 'commits go on' in plan['risk']
    assert 'no node db-99 is known' in refused(leader.ctl('plan', '--if-lost', 'db-99'))
    assert "Missing option '--if-lost'" in leader.ctl('plan').stderr

    others[0].crash()
    others[1].crash()
    wait_for('nobody could be promoted', lambda: not asked(leader, 'plan', '--if-lost', leader.name)['possible'], 10)
    assert 'Nobody could take over' in ok(leader.ctl('explain', '--now'))
