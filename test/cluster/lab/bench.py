"""One test's place: folder, user, ports, processes, and what is kept of them after a failure."""
import os
import pwd
import random
import shutil
import signal
import socket
import subprocess
import tempfile
from pathlib import Path

from lab import proc
from lab.terminal import Terminal

# Below the kernel's range for outgoing connections, which would take a port between our look and its use.
PORT_MIN, PORT_MAX = 20000, 30000

# Kept of each folder after a failure: what explains it, not the databases.
KEPT = ('*.log', '*.yml', '*.json', '*.conf', 'log/*')


def _port_free(address, port):
    with socket.socket() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            s.bind((address, port))
        except OSError:
            return False
    return True


def ok(done):
    """What a command printed that succeeded."""
    assert done.returncode == 0, f'{done.args}: {done.stdout}{done.stderr}'
    return done.stdout


def refused(done, status=1):
    """What a command said on stderr when it refused to do it."""
    assert done.returncode == status, f'{done.args}: {done.returncode}, {done.stdout}{done.stderr}'
    assert 'Error: ' in done.stderr or 'Aborted!' in done.stderr, f'{done.args}: {done.stdout}{done.stderr}'
    return done.stderr


class Bench:
    """Everything of one test lies below `folder`, belongs to `user` and is gone after close()."""

    def __init__(self, name):
        self.name = name
        self.user = pwd.getpwnam(os.environ.get('PGKEEP_USER', pwd.getpwuid(os.getuid()).pw_name))
        assert self.user.pw_uid != 0, 'PostgreSQL refuses root: run through tools/asuser'
        self.folder = Path(tempfile.mkdtemp(prefix='pgkeep-lab-', dir=_reachable_tmp()))
        self.folder.chmod(0o755)
        self._port = random.randrange(PORT_MIN, PORT_MAX)

    @property
    def root(self):
        """May we do what only root can?"""
        return os.getuid() == 0

    def port(self, address='127.0.0.1', following=0):
        """A free port whose `following` next ones are free too. None is given out twice."""
        for _ in range(PORT_MAX - PORT_MIN):
            first = self._port
            self._port += 1 + following
            if self._port >= PORT_MAX:
                self._port = PORT_MIN
            if all(_port_free(address, first + i) for i in range(1 + following)):
                _forget_socket(first)
                return first
        raise AssertionError('no free port')

    def own(self, path):
        if self.root:
            os.chown(path, self.user.pw_uid, self.user.pw_gid)

    def make_folder(self, name):
        """A new 0700 folder of the user."""
        path = self.folder / name
        path.mkdir(mode=0o700)
        self.own(path)
        return path

    def write(self, path, text, mode=0o600):
        path.write_text(text)
        path.chmod(mode)
        self.own(path)
        return path

    def command(self, arguments, netns):
        """(command line, arguments of Popen) to run it as the user."""
        if netns is None:
            return arguments, self._as_user()
        # Entering a namespace needs root; the user is taken after it.
        drop = ['setpriv', '--reuid', str(self.user.pw_uid), '--regid', str(self.user.pw_gid), '--init-groups', '--']
        return ['ip', 'netns', 'exec', netns, *drop, *arguments], {}

    def _as_user(self):
        if not self.root:
            return {}
        return {'user': self.user.pw_uid, 'group': self.user.pw_gid,
                'extra_groups': os.getgrouplist(self.user.pw_name, self.user.pw_gid)}

    def environment(self, folder, more=None):
        """What a server or command of the test gets; nothing of ours but PATH."""
        return {'PATH': os.environ['PATH'], 'HOME': str(folder), 'TMPDIR': str(folder), 'LANG': 'C.UTF-8',
                'USER': self.user.pw_name, **(more or {})}

    def spawn(self, arguments, folder, log, netns=None, environment=None):
        """Start a server as the user, working in `folder`, its output appended to `log`. The Popen."""
        command, user = self.command([str(a) for a in arguments], netns)
        with open(log, 'ab') as out:
            self.own(log)
            return subprocess.Popen(command, cwd=folder, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT,
                                    start_new_session=True, env=self.environment(folder, environment), **user)

    def run(self, arguments, folder, deadline_s=60, netns=None, environment=None, stdin=None):
        """Run a command as the user to its end. The CompletedProcess, its output as text."""
        command, user = self.command([str(a) for a in arguments], netns)
        return subprocess.run(command, cwd=folder, input=stdin, stdin=subprocess.DEVNULL if stdin is None else None,
                              capture_output=True, text=True, timeout=deadline_s, check=False,
                              env=self.environment(folder, environment), **user)

    def terminal(self, arguments, folder, netns=None, environment=None):
        """Run a command as the user on a Terminal, a context."""
        command, user = self.command([str(a) for a in arguments], netns)
        environment = {'TERM': 'xterm', **(environment or {})}
        return Terminal(lambda wrapped, fd: subprocess.Popen(wrapped, cwd=folder, stdin=fd, stdout=fd, stderr=fd,
                                                             env=self.environment(folder, environment), **user), command)

    def keep(self, why):
        """Copy what explains a failure to $PGKEEP_ARTIFACTS/<test>. The folder, or None if none is wanted."""
        wanted = os.environ.get('PGKEEP_ARTIFACTS')
        if not wanted:
            return None
        to = Path(wanted) / self.name
        shutil.rmtree(to, ignore_errors=True)
        for pattern in KEPT:
            for path in self.folder.rglob(pattern):
                if path.is_file():
                    copy = to / path.relative_to(self.folder)
                    copy.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(path, copy)
        to.mkdir(parents=True, exist_ok=True)
        (to / 'failure.txt').write_text(why)
        return to

    def processes(self):
        """What runs in the folder."""
        return proc.below(self.folder)

    def close(self):
        """End what is left running in the folder, by pid, and remove it."""
        pids = [p.pid for p in proc.below(self.folder)]
        proc.send(pids, signal.SIGCONT)
        if pids:
            proc.kill_at_once(pids)
        shutil.rmtree(self.folder, ignore_errors=True)


def _forget_socket(port):
    """A postmaster that was killed leaves its lock file, and the number in it may be somebody else's by now."""
    for path in Path('/var/run/postgresql').glob(f'.s.PGSQL.{port}*'):
        path.unlink(missing_ok=True)


def _reachable_tmp():
    """Where every user may look: $TMPDIR may be a private folder."""
    return '/tmp' if os.getuid() == 0 else os.environ.get('TMPDIR', '/tmp')
