"""The first thing that a newcomer runs."""
import signal

from lab.wait import wait_for


def test_demo_checks_itself_and_leaves_nothing_behind(bench):
    folder = bench.make_folder('demo')
    done = bench.run(['pgkeep', 'demo', '--check', '--dir', folder / 'cluster'], folder, deadline_s=180)
    assert done.returncode == 0, done.stdout + done.stderr
    assert not (folder / 'cluster').exists()


def test_demo_ends_with_all_that_it_started(bench):
    folder = bench.make_folder('demo')
    log = folder / 'demo.log'
    demo = bench.spawn(['pgkeep', 'demo', '--dir', folder / 'cluster'], folder, log)
    wait_for('the next steps', lambda: 'psql' in log.read_text(), 120)
    demo.send_signal(signal.SIGINT)
    assert demo.wait(60) == 0, log.read_text()
    assert not [p for p in bench.processes() if p.pid != demo.pid]
