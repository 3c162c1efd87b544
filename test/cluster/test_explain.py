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
    wait_cohort(cluster, cluster.others(leader))
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


@pytest.mark.smoke
def test_a_failover_is_told_afterwards(cluster_of):
    cluster = cluster_of(3, more=quorum())
    old = cluster.up()
    others = cluster.others(old)
    wait_cohort(cluster, others)
    assert 'no failover or switchover of cluster myapp-cluster is on record' in refused(old.ctl('explain'))
    plan = asked(others[0], 'plan', '--if-lost', old.name)
    old.crash()
    new = cluster.wait_leader(15, other_than=old)
    assert new.name in [plan['winner'], *plan['or']]

    def told():
        done = new.ctl('explain', '-f', 'json')
        report = json.loads(done.stdout) if done.returncode == 0 else {}
        return report if {'lost', 'coordinator'} <= set(report) else None

    report = wait_for('the report', told, 20)
    assert (report['kind'], report['mode']) == ('failover', 'quorum')
    assert (report['old_leader'], report['new_leader']) == (old.name, new.name)
    assert report['coordinator'] in [n.name for n in others]
    assert report['reason'].startswith(f'{old.name} is silent')
    assert report['lost']['proved'] and report['lost']['text'].startswith('nothing: proved')
    suspected = [s['node'] for s in report['seen'] if s.get('suspicion', {}).get('whom') == old.name]
    assert suspected and old.name not in suspected
    votes = {b['name']: b for b in report['ballots']}
    assert all(votes[n.name]['frozen'] and votes[n.name]['lsn'] and 'frozen_ms' in votes[n.name] for n in others)
    assert votes[old.name]['why_not'] == 'is silent' and not votes[old.name]['frozen']
    assert f'{new.name} has it' in report['decided']
    assert set(report['phases']) == {'detect', 'freeze', 'choose', 'promote', 'marker', 'open'}
    assert report['total_ms'] == sum(report['phases'].values()) < 15000
    story = ok(new.ctl('explain', str(report['term'])))
    assert f': {old.name} -> {new.name}' in story and 'Lost: nothing: proved' in story and 'Votes' in story
    assert f'{old.name} has not come back yet' in story
    assert f"there are those of {report['term']}" in refused(new.ctl('explain', '99'))
    assert new.rest.get(f"/failovers/{report['term']}").json['decided'] == report['decided']
    assert [r['term'] for r in new.rest.get('/failovers').json] == [report['term']]
    assert new.rest.get('/failovers/99').status == 404
    wait_for('the reason in the history',
             lambda: any(f'failover: {old.name} is silent' in str(line[2]) for line in new.rest.get('/history').json), 10)
    assert f'failover: {old.name} is silent' in ok(new.ctl('history'))

    old.start()
    cluster.wait_healthy()
    back = wait_for('what became of the old leader', lambda: told().get('returned'), 20)
    assert back['node'] == old.name and back['how'] in ('start', 'rewind', 'clone') and back['unacknowledged']
    assert f'{old.name} came back by {back["how"]}' in ok(new.ctl('explain'))


def test_a_switchover_is_told_afterwards(cluster_of):
    cluster = cluster_of(3, more=quorum())
    old = cluster.up()
    wait_cohort(cluster, cluster.others(old))
    new = cluster.others(old)[0]
    ok(old.ctl('switchover', '--candidate', new.name, '--force'))

    def told():
        done = new.ctl('explain', '-f', 'json')
        report = json.loads(done.stdout) if done.returncode == 0 else {}
        return report if {'lost', 'coordinator', 'returned'} <= set(report) else None

    report = wait_for('the report', told, 30)
    assert (report['kind'], report['old_leader'], report['new_leader']) == ('switchover', old.name, new.name)
    assert {'stop', 'promote', 'open'} <= set(report['phases']) and 'detect' not in report['phases']
    assert report['returned']['how'] == 'start' and report['returned'].get('extra_bytes', 0) == 0


def test_an_asynchronous_failover_tells_the_bound(cluster_of):
    cluster = cluster_of(2, more={'bootstrap': {'dcs': {'ttl': 20, 'loop_wait': 2, 'retry_timeout': 3}}})
    old = cluster.up()
    old.crash()
    new = cluster.wait_leader(60, other_than=old)

    def told():
        done = new.ctl('explain', '-f', 'json')
        return json.loads(done.stdout) if done.returncode == 0 else None

    report = wait_for('the report', told, 30)
    assert (report['kind'], report['mode'], report['new_leader']) == ('failover', 'asynchronous', new.name)
    assert not report['lost']['proved'] and report['lost']['bytes'] == 0
    assert report['phases']['detect'] > 5000
    assert json.loads(ok(new.ctl('plan', '--if-lost', new.name, '-f', 'json')))['possible'] is False
