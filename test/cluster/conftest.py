"""Fixtures. A test gets a bench of its own and asks `cluster_of` for what it needs on it."""
import os
import re
import signal

import pytest

from lab.bench import Bench
from lab.cluster import Cluster
from lab.group import Pristine, Servers
from lab.netns import Network
from lab.node import postgres_bin
from lab.stub import StubCluster


def pytest_addoption(parser):
    parser.addoption('--flavour', default='pgkeep', choices=('pgkeep', 'patroni'),
                     help='what runs the nodes of tests that do not say: pgkeep, or Debian\'s Patroni to try the tests themselves')
    parser.addoption('--pgbin', metavar='FOLDER',
                     help="PostgreSQL's programs for the bare servers of truths/; default: the newest installed")
    parser.addoption('--chaos-seeds', metavar='FIRST[-LAST]', default='1-3', help='of test_quorum_chaos.py')
    parser.addoption('--chaos-seconds', type=float, default=30, help='how long each seed makes trouble')


def pytest_configure():
    """A terminated run ends its servers like an interrupted one."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)


def pytest_collection_modifyitems(items):
    for item in items:
        if item.get_closest_marker('root') and os.getuid() != 0:
            item.add_marker(pytest.mark.skip(reason='needs root: network namespaces, mounts'))
        if item.get_closest_marker('peer') and not os.path.exists('/usr/bin/patroni'):
            item.add_marker(pytest.mark.skip(reason="needs Debian's patroni (tools/deps cluster)"))


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    report = outcome.get_result()
    if report.failed:
        item.stash.setdefault(FAILURES, []).append(report.longreprtext)


FAILURES = pytest.StashKey()


@pytest.fixture
def bench(request):
    """The test's place. After a failure its logs and configurations are kept in $PGKEEP_ARTIFACTS."""
    place = Bench(re.sub(r'[^\w.-]+', '-', request.node.name))
    try:
        yield place
    finally:
        failures = request.node.stash.get(FAILURES, [])
        kept = place.keep('\n'.join(failures)) if failures else None
        place.close()
        if kept:
            print(f'\nkept: {kept}')


@pytest.fixture
def cluster_of(bench, request):
    """cluster_of(3, more={…}): a Cluster on the bench, not yet started."""
    def make(count=3, **arguments):
        arguments.setdefault('flavours', request.config.getoption('--flavour'))
        return Cluster(bench, count, **arguments)
    return make


@pytest.fixture(scope='session')
def pristine(request):
    """What initdb makes, once."""
    made = Pristine(request.config.getoption('--pgbin') or postgres_bin())
    try:
        yield made
    finally:
        made.close()


@pytest.fixture
def servers(bench, pristine):
    """Bare PostgreSQL servers on the bench."""
    made = Servers(bench, pristine)
    try:
        yield made
    finally:
        made.close()


@pytest.fixture
def stubs(bench):
    """A StubCluster of two members."""
    made = StubCluster(bench)
    try:
        yield made
    finally:
        made.close()


@pytest.fixture
def network():
    """A Network whose client is this test."""
    with Network() as made:
        yield made


@pytest.fixture(scope='module')
def two_nodes(request):
    """(cluster, leader) shared by the tests of a file that change nothing that lasts."""
    place = Bench(f'{request.module.__name__}-shared')
    cluster = Cluster(place, 2, flavours=request.config.getoption('--flavour'))
    try:
        yield cluster, cluster.up()
    finally:
        failed = request.session.testsfailed
        if failed:
            place.keep(f'{failed} failures in this session')
        place.close()
