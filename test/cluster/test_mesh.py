"""What the agents tell each other, apart from the store: who hears whom, and for how long not."""
import re
import signal
import ssl

import pytest

from lab import proc
from lab.node import merged
from lab.rest import Rest
from lab.tls import Authority
from lab.wait import holds_for, wait_for

AGE = re.compile(r'^pgkeep_peer_age_seconds\{.*peer="([^"]+)"\} (\S+)$', re.M)
FRESH_S = 1  # ten heartbeats


def ages(node):
    """{peer: seconds} as this node has it now."""
    assert node.rest.status('/patroni?fresh=1') in (200, 503)  # a cycle, and with it a new snapshot
    return {name: float(age) for name, age in AGE.findall(node.rest.get('/metrics').text)}


def hear_each_other(nodes):
    names = {node.name for node in nodes}
    for node in nodes:
        seen = ages(node)
        if {name for name, age in seen.items() if age < FRESH_S} & names != names - {node.name}:
            return False
    return True


@pytest.mark.smoke
def test_agents_hear_each_other_and_who_stands_still_is_silent(cluster_of):
    cluster = cluster_of(3)
    leader = cluster.up()
    wait_for('three agents that hear each other', lambda: hear_each_other(cluster.nodes), 15)
    still, other = cluster.others(leader)
    stopped = [still.guard_pid(), still.agent_pid()]
    proc.send(stopped, signal.SIGSTOP)  # the guard as well: it would replace the agent
    try:
        wait_for('silence', lambda: min(ages(leader)[still.name], ages(other)[still.name]) > 3, 15)
        holds_for('the others hear each other', lambda: hear_each_other([leader, other]), 2)
    finally:
        proc.send(stopped, signal.SIGCONT)
    wait_for('three agents that hear each other again', lambda: hear_each_other(cluster.nodes), 10)
    assert cluster.leader() is leader


def test_a_new_agent_is_heard_at_once(cluster_of):
    cluster = cluster_of(2)
    leader = cluster.up()
    replica, = cluster.others(leader)
    wait_for('agents that hear each other', lambda: hear_each_other(cluster.nodes), 15)
    killed = replica.agent_pid()
    proc.send([killed], signal.SIGKILL)
    wait_for('another agent', lambda: replica.agent_pid() not in (0, killed), 2)
    wait_for('agents that hear each other', lambda: hear_each_other(cluster.nodes), 5)


def test_another_password_is_refused_and_both_say_so(cluster_of):
    def credentials(password):
        return {'restapi': {'authentication': {'username': 'operator', 'password': password}}}

    cluster = cluster_of(2, more=credentials('one'))
    leader = cluster.up()
    replica, = cluster.others(leader)
    wait_for('agents that hear each other', lambda: hear_each_other(cluster.nodes), 15)
    assert replica.stop() == 0
    replica.change_yml(credentials('another'))
    leader.log.mark()
    replica.log.mark()
    replica.start()
    for node in (leader, replica):
        node.log.wait('other credentials in restapi.authentication', 15)
    wait_for('silence', lambda: ages(leader)[replica.name] > 2, 15)


def test_agents_with_certificates_need_nothing_else(cluster_of, bench):
    authority = Authority(bench)
    cluster = cluster_of(2)
    for node in cluster.nodes:
        certificate, key = node.folder / 'rest.crt', node.folder / 'rest.key'
        authority.issue(node.name, certificate, key)
        node.change_yml({'restapi': {'certfile': str(certificate), 'keyfile': str(key), 'cafile': str(authority.certificate)}})
        node.rest = Rest(node.address, node.rest_port, ssl.create_default_context(cafile=authority.certificate))
    cluster.up()
    wait_for('agents that hear each other', lambda: hear_each_other(cluster.nodes), 15)
    for node in cluster.nodes:
        assert not node.log.lines('can speak as an agent of this cluster')

    stranger = Authority(bench, 'stranger')
    odd = cluster.nodes[1]
    stranger.issue(odd.name, odd.folder / 'odd.crt', odd.folder / 'odd.key')
    assert odd.stop() == 0
    odd.change_yml({'restapi': {'certfile': str(odd.folder / 'odd.crt'), 'keyfile': str(odd.folder / 'odd.key')}})
    odd.rest = Rest(odd.address, odd.rest_port, ssl.create_default_context(cafile=stranger.certificate))
    odd.start()
    odd.log.wait('no connection to the agent of', 15)
    wait_for('silence', lambda: ages(cluster.nodes[0])[odd.name] > 2, 15)
