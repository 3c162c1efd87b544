"""What the agent writes down: its form, its level, and where."""
import json
import re
import signal

import pytest

from lab.logfile import Log
from lab.wait import wait_for

LEVELS = ('DEBUG', 'INFO', 'WARNING', 'ERROR', 'CRITICAL')
# Patroni's default: %(asctime)s %(levelname)s: %(message)s
TEXT = re.compile(rf'\d{{4}}-\d\d-\d\d \d\d:\d\d:\d\d,\d{{3}} ({"|".join(LEVELS)}): \S')


@pytest.fixture
def logging(cluster_of, bench):
    """logging(**keys): a leader whose agent logs into a file with these keys below `log`; the file."""
    def make(**keys):
        folder = bench.make_folder('logs')
        node = cluster_of(1, more={'log': {'dir': str(folder), **keys}}).up()
        return node, Log(folder / 'patroni.log')
    return make


def set_log(node, **keys):
    node.change_yml({'log': keys})
    assert node.rest.call('POST', '/reload').status == 202


def check_json(lines):
    assert lines
    for line in lines:
        fields = json.loads(line)
        assert set(fields) - {'event'} == {'asctime', 'levelname', 'message'}, line
        assert fields['levelname'] in LEVELS and fields['message']
        assert re.fullmatch(r'\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}', fields['asctime'])


def test_every_line_is_a_json_object_where_type_is_json(logging):
    node, log = logging(type='json', level='DEBUG')
    set_log(node, **{'a "quoted\\ key': 1})
    log.wait('quoted.*config.finding|config.finding.*quoted', 10)
    check_json(log.text().splitlines())
    log.mark()
    set_log(node, type='plain')
    log.wait(r' INFO: configuration reloaded event=config\.reloaded', 10)


def test_every_line_of_text_has_time_and_level(logging):
    node, log = logging(level='DEBUG')
    set_log(node, no_such_key=1)
    log.wait(r' WARNING: .*no_such_key', 10)
    lines = log.text().splitlines()
    assert not [line for line in lines if not TEXT.match(line)]
    assert {TEXT.match(line)[1] for line in lines} >= {'INFO', 'WARNING'}


def test_lines_below_the_level_are_left_out(logging):
    node, log = logging(level='WARNING', no_such_key=1)
    assert log.lines(' WARNING: ') and not log.lines(' INFO: ')
    set_log(node, level='INFO')
    log.wait(' INFO: configuration reloaded', 10)


def test_the_file_is_rotated_and_no_more_than_file_num_are_kept(logging):
    node, log = logging(level='DEBUG', file_size=4096, file_num=2)
    folder = log.path.parent

    def rotate():
        before = (folder / 'patroni.log.1').stat().st_ino if (folder / 'patroni.log.1').exists() else None
        wait_for('a rotation', lambda: set_log(node) or (folder / 'patroni.log.1').stat().st_ino != before, 30)
    for _ in range(4):
        rotate()
    assert {path.name for path in folder.iterdir()} == {'patroni.log', 'patroni.log.1', 'patroni.log.2'}
    assert all(path.stat().st_size <= 4096 for path in folder.iterdir())


def test_a_file_that_was_moved_is_opened_anew_by_sigusr1(logging):
    node, log = logging()
    moved = log.path.with_name('moved')
    log.path.rename(moved)
    node.process.send_signal(signal.SIGUSR1)
    wait_for('a new log file', log.path.exists, 15)
    ended = moved.stat().st_size
    set_log(node)
    log.wait('configuration reloaded', 10)
    assert moved.stat().st_size == ended
