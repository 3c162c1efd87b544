"""Processes as /proc shows them, and signals to many of them at once."""
import os
import signal
from typing import NamedTuple

from lab.wait import wait_for


class Process(NamedTuple):
    pid: int
    parent: int
    state: str    # R, S, D, T (stopped), Z (zombie) …
    command: str  # the command line, spaces between arguments
    program: str  # file name of the executable; '' if it cannot be read
    folder: str   # working directory; '' if it cannot be read


def _link(pid, name):
    try:
        return os.readlink(f'/proc/{pid}/{name}').removesuffix(' (deleted)')
    except OSError:
        return ''


def read(pid):
    """One process, or None if it is gone."""
    try:
        with open(f'/proc/{pid}/stat', encoding='utf-8', errors='replace') as file:
            state, parent = file.read().rpartition(')')[2].split()[:2]
        with open(f'/proc/{pid}/cmdline', encoding='utf-8', errors='replace') as file:
            command = file.read().replace('\0', ' ').strip()
    except OSError:
        return None
    return Process(pid, int(parent), state, command, os.path.basename(_link(pid, 'exe')), _link(pid, 'cwd'))


def everything():
    """Every process that can be seen, zombies excepted, by pid."""
    found = (read(int(name)) for name in os.listdir('/proc') if name.isdigit())
    return {p.pid: p for p in found if p and p.state != 'Z'}


def alive(pid):
    process = read(pid)
    return process is not None and process.state != 'Z'


def below(folder, roots=()):
    """
    The processes that belong to a folder: those that work in it (every PostgreSQL process works in its data
    directory, also when its postmaster is dead), those that name it on their command line, `roots`, and
    the descendants of all these. Never ourselves.
    """
    all_of_them = everything()
    folder = str(folder)
    mine = {p.pid for p in all_of_them.values()
            if p.folder == folder or p.folder.startswith(folder + '/') or folder + '/' in p.command}
    mine |= {pid for pid in roots if pid in all_of_them}
    while True:
        children = {p.pid for p in all_of_them.values() if p.parent in mine} - mine
        if not children:
            break
        mine |= children
    return [all_of_them[pid] for pid in sorted(mine) if pid != os.getpid()]


def send(pids, number):
    """A signal to each that still lives."""
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            pass


def kill_at_once(pids):
    """As if the power went: all are stopped first, so that none sees another die."""
    send(pids, signal.SIGSTOP)
    send(pids, signal.SIGKILL)
    wait_for(f'end of processes {pids}', lambda: not any(alive(pid) for pid in pids), 20)
