"""The same call to Debian's patronictl and to ours: what is printed, asked and sent is the same."""
import re

import pytest

from lab.stub import PREFIX, StubMember

pytestmark = pytest.mark.peer

FAR = '2099-01-01T00:00:00+00:00'
AWARE = 'Yes I am aware'
ANSWERS = {
    'POST /restart': (200, 'restarted successfully'), 'POST /reload': (202, 'reload scheduled'),
    'POST /switchover': (200, 'Successfully switched over to "s2"'),
    'POST /reinitialize': (200, 'reinitialize started'), 'PATCH /config': (200, '{}'),
    'DELETE /restart': (200, 'scheduled restart deleted'), 'DELETE /switchover': (200, 'scheduled switchover deleted'),
}


def said(text):
    """Without tables, whose columns grew since Debian's version, and without moments."""
    lines = [line for line in text.splitlines() if not line.startswith(('+', '|'))]
    text = re.sub(r'e\.g\. 20\d\d-\d\d-\d\dT\d\d:\d\d', 'e.g. MOMENT', '\n'.join(lines))
    return re.sub(r'20\d\d-\d\d-\d\d \d\d:\d\d:\d\d(\.\d+)?', 'MOMENT', text)


CALLS = [
    (('show-config',), None),
    (('dsn',), None),
    (('dsn', '-m', 's2'), None),
    (('history', '-f', 'json'), None),
    (('history', '-f', 'yaml'), None),
    (('edit-config', '-s', 'ttl=31', '-p', 'a.b=null', '-p', 'c=x', '-s', 'x.y.z=1'), 'n\n'),
    (('edit-config', '--apply', '-'), 'ttl: 31\nloop_wait: null\n'),
    (('edit-config', '--replace', '-'), 'ttl: 31\n'),
    (('reload', 'stub', 's2'), 'y\n'),
    (('restart', 'stub', 's2'), '\ny\n15.2\n'),
    (('restart', 'stub', 's2', '--timeout', '5', '--force'), None),
    (('restart', 'stub', '-r', 'replica', '--scheduled', FAR, '--force'), None),
    (('reinit', 'stub', 's2', '--wait'), 'y\n'),
    (('flush', 'stub', 's2', 'restart'), 'y\n'),
    (('flush', 'stub', 'switchover'), None),
    (('switchover',), '\ns2\nnow\ny\n'),
    (('switchover',), f'\n\n{FAR}\ny\n'),
    (('switchover', '--force'), None),
    (('pause',), None),
    (('remove', 'stub'), f'stub\n{AWARE}\ns1\n'),
    (('query', '-m', 'nobody', '-c', 'select 1', '--format', 'tsv'), None),
]


def meant(question):
    """Without the fields that say nothing: Debian's version sends those, and lacks later ones."""
    line, body = question
    return line, {key: value for key, value in (body or {}).items() if value}


@pytest.mark.parametrize('arguments, answers', CALLS, ids=[' '.join(arguments) for arguments, _ in CALLS])
def test_patronictl_would_do_the_same(stubs, arguments, answers):
    seen = []
    stubs.members.append(StubMember(stubs.store, 's3'))
    for command in (['/usr/bin/patronictl'], ['patronictl']):
        for member in stubs.members:
            member.answers = ANSWERS | {'GET /patroni': (200, '{"state": "running"}')}
            member.asked.clear()
        stubs.members[1].publish(scheduled_restart={'schedule': FAR})
        for key, value in (('leader', 's1'), ('failover', f'{{"leader":"s1","scheduled_at":"{FAR}"}}'),
                           ('history', f'[[1,25623960,"no recovery target specified","{FAR}","s2"],[2,25624000,"x"]]'),
                           ('config', '{"ttl":30,"loop_wait":1,"postgresql":{"parameters":{"a.b":"on","d":1.5,"e":"yes"}}}')):
            stubs.store.put(PREFIX + key, value)
        done = stubs.bench.run([*command, '-c', stubs.yml, *arguments], stubs.folder, stdin=answers)
        asked = [[meant(question) for question in member.asked if question[0] != 'GET /patroni']
                 for member in stubs.members]
        seen.append((said(done.stdout), asked, stubs.store.keys(PREFIX)))
    assert seen[0] == seen[1]
