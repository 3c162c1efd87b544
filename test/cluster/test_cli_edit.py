"""edit-config: by options, files and an editor; what is shown, asked and refused."""
import pytest
import yaml

from lab.bench import ok, refused
from lab.stub import PREFIX
from lab.wait import wait_for

TO_31 = "sed -i 's/^ttl: 30$/ttl: 31/'"


def edit(stubs, editor, answer=None, *arguments):
    return stubs.ctl('edit-config', *arguments, environment={'EDITOR': editor}, stdin=answer)


def write(stubs, name, value):
    return stubs.bench.write(stubs.folder / name, yaml.safe_dump(value))


def test_editor_that_changes_nothing(stubs):
    assert ok(edit(stubs, 'true')) == 'Not changed\n'
    assert ok(edit(stubs, 'true', None, '-q')) == ''


def test_edit_is_shown_and_applied_after_a_yes(stubs):
    done = edit(stubs, TO_31, 'y\n')
    assert '\n-ttl: 30\n+ttl: 31\n' in ok(done)
    assert done.stdout.endswith('Apply these changes? [y/N]: Configuration changed\n')
    assert stubs.config['ttl'] == 31


@pytest.mark.parametrize('answer', ['n\n', '\n', ''], ids=['no', 'enter', 'nobody'])
def test_edit_is_shown_and_not_applied_without_a_yes(stubs, answer):
    done = edit(stubs, TO_31, answer)
    refused(done)
    assert '+ttl: 31' in done.stdout
    assert stubs.config['ttl'] == 30


def test_edit_says_whose_configuration_it_is(stubs):
    assert 'stub' in edit(stubs, TO_31, 'n\n').stderr


def test_force_asks_nobody(stubs):
    done = edit(stubs, TO_31, None, '--force')
    assert 'Apply these changes?' not in ok(done)
    assert stubs.config['ttl'] == 31


def test_quiet_shows_no_difference(stubs):
    assert ok(edit(stubs, TO_31, 'y\n', '-q')) == 'Apply these changes? [y/N]: Configuration changed\n'
    assert ok(stubs.ctl('edit-config', '-q', '-s', 'ttl=32', '--force')) == 'Configuration changed\n'


@pytest.mark.parametrize('editor, said', [
    ("sed -i '1i ttl: ['", 'the edited text'),
    ("""sh -c 'echo 30 >"$0"'""", 'must be a mapping'),
    ("sed -i 's/^ttl: 30$/ttl: soon/'", 'ttl'),
    ('false', 'Editor exited with return code 1'),
    ('/no/such/editor', 'Editor exited with return code 127'),
    ("sh -c 'kill -TERM $$'", 'Editor was ended by signal 15'),
], ids=['no yaml', 'no mapping', 'wrong type', 'failed', 'absent', 'killed'])
def test_edit_that_went_wrong_changes_nothing(stubs, editor, said):
    before = stubs.config
    assert said in refused(edit(stubs, editor, 'y\n'))
    assert stubs.config == before


def test_edited_file_is_private_and_goes_away(stubs):
    note = stubs.folder / 'seen'
    ok(edit(stubs, f"""sh -c 'stat -c "%a %n" "$0" >{note}'"""))
    mode, path = note.read_text().split()
    assert mode == '600' and path.startswith(f'{stubs.folder}/stub-config-')
    assert not list(stubs.folder.glob('*-config-*'))


def test_change_made_meanwhile_is_not_overwritten(stubs):
    other = f"pgkeep -c {stubs.yml} edit-config -s loop_wait=9 --force"
    done = edit(stubs, f"""sh -c '{other} && sed -i s/^ttl:.*/ttl:\\ 31/ "$0"'""", None, '--force')
    assert 'concurrent changes' in refused(done)
    assert stubs.config['ttl'] == 30 and stubs.config['loop_wait'] == 9


def test_pairs_are_set_and_unset(stubs):
    ok(stubs.ctl('edit-config', '-s', 'ttl = 31', '-s', 'postgresql.use_slots=off', '--set=loop_wait=9',
                  '-p', 'work_mem=6MB', '-p', 'myapp.verbose=on', '--force'))
    found = stubs.config
    assert found['ttl'] == 31 and found['loop_wait'] == 9 and found['postgresql']['use_slots'] is False
    assert found['postgresql']['parameters'] == {'work_mem': '6MB', 'myapp.verbose': True}, 'a dot in a parameter is no path'
    ok(stubs.ctl('edit-config', '-s', 'loop_wait=null', '-s', 'postgresql.use_slots=', '-p', 'work_mem=null',
                  '-p', 'myapp.verbose=null', '--force'))
    found = stubs.config
    assert found['ttl'] == 31 and 'loop_wait' not in found
    assert 'postgresql' not in found, 'what became empty goes too'


@pytest.mark.parametrize('pair', ['ttl', '=31', 'ttl=['])
def test_pair_that_is_none(stubs, pair):
    before = stubs.config
    assert refused(stubs.ctl('edit-config', '-s', pair, '--force'))
    assert stubs.config == before


def test_applied_file_is_merged(stubs):
    patch = write(stubs, 'patch.yml', {'ttl': 31, 'loop_wait': None, 'postgresql': {'parameters': {'work_mem': '6MB'}}})
    done = stubs.ctl('edit-config', '--apply', patch, stdin='y\n')
    assert '-ttl: 30' in ok(done) and '+ttl: 31' in done.stdout
    found = stubs.config
    assert found['ttl'] == 31 and 'loop_wait' not in found and found['retry_timeout'] == 10
    assert found['postgresql']['parameters']['work_mem'] == '6MB'
    assert ok(stubs.ctl('edit-config', '--apply', patch)) == 'Not changed\n'


def test_replacing_file_is_all_there_is(stubs):
    whole = write(stubs, 'whole.yml', {'ttl': 40, 'loop_wait': 5, 'retry_timeout': 10, 'pause': None})
    ok(stubs.ctl('edit-config', '--replace', whole, '-s', 'ttl=41', '--force'))
    assert stubs.config == {'ttl': 41, 'loop_wait': 5, 'retry_timeout': 10}


@pytest.mark.parametrize('option, result', [
    ('--apply', {'ttl': 31, 'loop_wait': 1, 'retry_timeout': 10}), ('--replace', {'ttl': 31})])
def test_standard_input_is_looked_at_first_and_applied_with_force(stubs, option, result):
    before = stubs.config
    done = stubs.ctl('edit-config', option, '-', stdin='{"ttl": 31}')
    assert '+ttl: 31' in ok(done) and done.stdout.endswith('Use --force option to apply changes\n')
    assert stubs.config == before
    ok(stubs.ctl('edit-config', option, '-', '--force', stdin='{"ttl": 31}'))
    assert stubs.config == result


def test_file_that_is_not_there(stubs):
    assert '/no/such.yml' in refused(stubs.ctl('edit-config', '--apply', '/no/such.yml', '--force'))


def test_cluster_without_a_configuration(stubs):
    stubs.store.delete(PREFIX + 'config')
    for verb in ('edit-config', 'show-config'):
        assert 'The config key does not exist in the cluster stub' in refused(stubs.ctl(verb))


def test_stored_text_is_compact_json(stubs):
    ok(stubs.ctl('edit-config', '-s', 'ttl=31', '--force'))
    assert stubs.store.get(PREFIX + 'config') == '{"ttl":31,"loop_wait":1,"retry_timeout":10}'


def test_edit_config_shows_the_difference_and_applies_it(two_nodes):
    cluster, leader = two_nodes
    out = ok(leader.ctl('edit-config', '-s', 'postgresql.parameters.work_mem=6MB', '--force'))
    assert '+' in out and 'work_mem: 6MB' in out
    for node in cluster.nodes:
        wait_for('work_mem', lambda n=node: n.value('show work_mem') == '6MB', 15)
    ok(leader.ctl('edit-config', '-p', 'work_mem=null', '--force'))
    wait_for('the default', lambda: leader.value('show work_mem') == '4MB', 15)


@pytest.mark.parametrize('pair, named', [('standby_cluster.host=127.0.0.1', 'standby_cluster'), ('ttl=soon', 'ttl')])
def test_edit_config_refuses_what_no_node_could_keep(two_nodes, pair, named):
    _, leader = two_nodes
    before = leader.rest.get('/config').json
    done = leader.ctl('edit-config', '-s', pair, '--force')
    assert done.returncode != 0 and named in done.stderr, done
    assert leader.rest.get('/config').json == before
