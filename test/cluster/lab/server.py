"""
Bare PostgreSQL servers: no agent, nothing that mends what a test breaks.

A Server's data directory is a copy of one that initdb made once for the session, so all servers of a test are one system:
each copy can be primary or standby of any other. Configuration is postgresql.conf alone, written whole by conf();
what a test does through sql() never waits for a standby (synchronous_commit=local), a Session's statements do.
"""
import os
import re
import signal
import subprocess
from pathlib import Path
from typing import NamedTuple

import psycopg

from lab import proc
from lab.logfile import Log
from lab.wait import holds_for, wait_for

# Longer than anything here takes on a busy machine of two cores.
DEADLINE_S = 20

SEGMENT = 16 << 20  # of WAL

BASE = {
    'listen_addresses': '127.0.0.1',
    'shared_buffers': '16MB',
    'wal_log_hints': 'on',
    'autovacuum': 'off',  # it writes WAL when nobody expects it
    'wal_retrieve_retry_interval': '100ms',
    'restart_after_crash': 'off',
    'log_line_prefix': '%m [%p] %b ',
}


def lsn(text):
    """A position as a number; None for NULL."""
    if text is None:
        return None
    high, low = text.split('/')
    return int(high, 16) << 32 | int(low, 16)


class Answer(NamedTuple):
    """How a statement ended: `tag` of success, or `sqlstate` of an error ('' when the connection was lost)."""
    tag: str
    sqlstate: str
    rows: list
    notices: list  # (sqlstate, text) of what was said meanwhile

    @property
    def ok(self):
        return bool(self.tag)


class Session:
    """A client's connection. send() does not wait; finished() and answer() tell how the statement fares."""

    def __init__(self, conninfo):
        self.connection = psycopg.connect(conninfo, autocommit=True)
        self.pid = self.connection.info.backend_pid
        self._pg = self.connection.pgconn
        self._said = []
        self.connection.add_notice_handler(lambda d: self._said.append((d.sqlstate, d.message_primary)))

    def send(self, query):
        self._said.clear()
        self._pg.send_query(query.encode())
        wait_for('the query to be sent', lambda: self._pg.flush() == 0, DEADLINE_S)
        return self

    def finished(self):
        """Has the statement ended, or the connection?"""
        try:
            self._pg.consume_input()
            return not self._pg.is_busy()
        except psycopg.Error:
            return True

    def answer(self, deadline_s=DEADLINE_S):
        """Of the last statement of what was sent, when it has ended."""
        wait_for(f'end of the statement of backend {self.pid}', self.finished, deadline_s, every_s=0.005)
        last = None
        try:
            while (result := self._pg.get_result()) is not None:
                last = result
        except psycopg.Error:
            last = None
        if last is None:
            return Answer('', '', [], list(self._said))
        sqlstate = (last.error_field(psycopg.pq.DiagnosticField.SQLSTATE) or b'').decode()
        rows = [tuple(None if (v := last.get_value(r, c)) is None else v.decode() for c in range(last.nfields))
                for r in range(last.ntuples)]
        return Answer((last.command_status or b'').decode(), sqlstate, rows, list(self._said))

    def ask(self, query, deadline_s=DEADLINE_S):
        return self.send(query).answer(deadline_s)

    def value(self, query):
        answer = self.ask(query)
        assert answer.ok, answer
        return answer.rows[0][0]

    def cancel(self):
        self.connection.cancel()

    def close(self):
        self._pg.finish()


class Server:
    """`settings` are laid over BASE; `pristine` is the folder that is copied. Not yet started."""

    def __init__(self, bench, programs, pristine, name, **settings):
        self.bench, self.programs, self.name = bench, Path(programs), name
        self.folder = bench.make_folder(name)
        self.data = self.folder / 'data'
        self.log = Log(self.folder / 'postgres.log')
        self.port = bench.port()
        self.process = None
        self.settings = {}
        self.sessions = []
        self._run('cp', '-a', pristine, self.data)
        bench.write(self.data / 'pg_hba.conf', 'local all all trust\nhost all all 127.0.0.1/32 trust\n'
                                               'host replication all 127.0.0.1/32 trust\n')
        self.conf(**{**BASE, 'port': self.port, 'unix_socket_directories': self.folder, **settings})

    def _run(self, *command, deadline_s=DEADLINE_S * 3):
        done = self.bench.run([str(c) for c in command], self.folder, deadline_s)
        assert done.returncode == 0, f'{command}: {done.stdout}{done.stderr}'
        return done

    # --- files

    def conf(self, **settings):
        """
        Lay settings over postgresql.conf (None removes a line) and replace the file; no reload. Order is kept. A key that
        starts with `include` is a directive, `#…` is a line as it is.
        """
        for key, value in settings.items():
            self.settings.pop(key, None)
            if value is not None:
                self.settings[key] = str(value)
        lines = []
        for key, value in self.settings.items():
            quoted = "'" + value.replace("'", "''") + "'"
            lines.append(value if key.startswith('#') else f'{key} {quoted}' if key.startswith('include') else
                         f'{key} = {quoted}')
        self.write('postgresql.conf', '\n'.join(lines) + '\n')

    def write(self, name, text):
        """A file of the data directory, replaced as a whole."""
        new = self.bench.write(self.data / (name + '.new'), text)
        os.rename(new, self.data / name)

    def upstream(self, other, slot=None, port=None, application_name=None):
        """The settings of a standby of `other`, whom it may reach through another port."""
        return {'primary_conninfo': f'host=127.0.0.1 port={port or other.port} user=postgres '
                                    f'application_name={application_name or self.name}', 'primary_slot_name': slot}

    def follow(self, other, slot=None, port=None, application_name=None):
        """Become a standby of `other` at the next start; a running standby by reload()."""
        self.conf(**self.upstream(other, slot, port, application_name))
        self.write('standby.signal', '')

    # --- the server

    def spawn(self):
        assert self.process is None or self.process.poll() is not None, f'{self.name} is running'
        self.process = self.bench.spawn([self.programs / 'postgres', '-D', self.data], self.data, self.log.path)

    def start(self):
        self.spawn()
        return self.wait_ready()

    def wait_ready(self, deadline_s=DEADLINE_S):
        """Open for connections."""
        wait_for(f'{self.name} open for connections', self._ready, deadline_s, every_s=0.01)
        return self

    def _ready(self):
        if self.process.poll() is not None:
            raise AssertionError(f'{self.name} ended with status {self.process.returncode}: {self.log.text()[-2000:]}')
        lines = (self.data / 'postmaster.pid').read_text().split('\n')  # may be that of a killed one
        return int(lines[0]) == self.process.pid and lines[7].strip() == 'ready'

    def stop(self, mode='fast', deadline_s=DEADLINE_S):
        """SIGINT or SIGQUIT to the postmaster and its end."""
        self.signal({'fast': signal.SIGINT, 'immediate': signal.SIGQUIT}[mode])
        self.wait_end(deadline_s)

    def wait_end(self, deadline_s=DEADLINE_S):
        try:
            return self.process.wait(deadline_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(f'{self.name} did not end within {deadline_s} s') from None

    def crash(self):
        """Every process at the same moment, as if the power went (what the kernel has got stays)."""
        proc.kill_at_once([p.pid for p in proc.below(self.data, [self.process.pid])])
        self.process.wait(DEADLINE_S)

    def signal(self, number):
        os.kill(self.process.pid, number)

    def sighup(self):
        """Tell the postmaster to reload; whether it does is another question."""
        self.log.mark()
        self.signal(signal.SIGHUP)

    def reload(self, **settings):
        """Change settings, reload, and have it proved by a new connection. Fails where the reload is refused."""
        self.conf(**settings)
        self.reloaded()

    def reloaded(self):
        before = self.load_time()
        self.sighup()
        wait_for(f'reload of {self.name}', lambda: self.load_time() != before, DEADLINE_S, every_s=0.005)

    def load_time(self):
        return self.value('select pg_conf_load_time()')

    # --- processes

    def pid_of(self, title, missing_ok=False):
        """Of the one process with that title (`checkpointer`, `walreceiver`, `startup` …); 0 if there is none."""
        found = [p.pid for p in proc.below(self.data) if re.match(rf'postgres: (\S+: )?{title}', p.command)]
        assert len(found) == 1 or missing_ok and not found, f'{self.name} has {len(found)} processes {title!r}'
        return found[0] if found else 0

    def receiver(self):
        """pid of the walreceiver; 0 if there is none."""
        return self.pid_of('walreceiver', missing_ok=True)

    def wait_receiver_gone(self, deadline_s=DEADLINE_S):
        wait_for(f'end of the walreceiver of {self.name}', lambda: not self.receiver(), deadline_s, every_s=0.005)

    # --- SQL

    def conninfo(self, **more):
        return psycopg.conninfo.make_conninfo(host='127.0.0.1', port=self.port, user='postgres', dbname='postgres',
                                              connect_timeout=5, **more)

    def session(self, **more):
        """A client. It is closed with the server's folder at the latest."""
        made = Session(self.conninfo(**more))
        self.sessions.append(made)
        return made

    def sql(self, query, *arguments):
        """All rows of one statement on a new connection that waits for no standby."""
        options = f'-c synchronous_commit=local -c statement_timeout={DEADLINE_S * 1000}'
        with psycopg.connect(self.conninfo(options=options), autocommit=True) as connection:
            cursor = connection.execute(query, arguments or None)
            return cursor.fetchall() if cursor.description else []

    def value(self, query, *arguments):
        return self.sql(query, *arguments)[0][0]

    def version(self):
        """150018 is 15.18."""
        return int(self.value('show server_version_num'))

    def setting(self, name):
        """(value, file) in force for a new connection."""
        return self.sql('select setting, sourcefile from pg_settings where name = %s', name)[0]

    def has(self, row):
        """Is the row visible here?"""
        return self.value('select count(*) from rows where of = %s', row) == 1

    def in_recovery(self):
        return self.value('select pg_is_in_recovery()')

    def position(self):
        """What a primary has flushed, what a standby has received or replayed, as a number."""
        if not self.in_recovery():
            return lsn(self.value('select pg_current_wal_flush_lsn()'))
        return max(lsn(p) for p in self.sql('select pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn()')[0] if p)

    def wait_event(self, pid):
        """What a process waits for; None when it does not, '' when it is gone."""
        rows = self.sql('select wait_event from pg_stat_activity where pid = %s', pid)
        return rows[0][0] if rows else ''

    def waits(self, session):
        """Does the session's commit wait for a standby?"""
        return self.wait_event(session.pid) == 'SyncRep'

    def wait_sync(self, session):
        """Until the session's commit waits for a standby. Its statement must not have ended."""
        wait_for(f'backend {session.pid} in its wait for a standby', lambda: self.waits(session), DEADLINE_S)

    def hold_sync(self, session, duration_s=0.6):
        """The session's commit waits for a standby, and goes on doing so."""
        self.wait_sync(session)
        holds_for(f'the wait of backend {session.pid}', lambda: self.waits(session) and not session.finished(), duration_s)

    def insert(self, row, **more):
        """A client inserts the row; sent, not waited for. The Session."""
        return self.session(**more).send(f"insert into rows values ('{row}')")

    def nudge(self):
        """A little WAL, so that the standbys have something to reply to."""
        self.sql("select pg_logical_emit_message(true, 'test', 'nudge')")

    def sender(self, name):
        """The row of pg_stat_replication of the one walsender of that name that has begun to send, as a dict; or {}."""
        with psycopg.connect(self.conninfo(), autocommit=True, row_factory=psycopg.rows.dict_row) as connection:
            rows = connection.execute("select * from pg_stat_replication where application_name = %s and state <> 'startup'",
                                      (name,)).fetchall()
        assert len(rows) <= 1, rows
        return rows[0] if rows else {}

    def flushed_by(self, name):
        """What the walsender of that name was told to be flushed; 0 where it was told nothing yet."""
        return lsn(self.sender(name).get('flush_lsn')) or 0

    def wait_streaming(self, standby):
        """Until the standby streams from here and has flushed all that is here now."""
        end = self.position()
        wait_for(f'{standby.name} streaming from {self.name}', lambda: self.sender(standby.name).get('state') == 'streaming' and
                 self.flushed_by(standby.name) >= end, DEADLINE_S)

    def wait_replayed(self, standby):
        """Until the standby has replayed all that is here now."""
        end = self.position()
        wait_for(f'{standby.name} replayed', lambda: lsn(standby.value('select pg_last_wal_replay_lsn()')) >= end, DEADLINE_S)

    # --- what is done to standbys

    def conflict_on(self, standby):
        """A query on the standby (max_standby_streaming_delay = -1) that its replay waits for, and does. The query's session."""
        self.sql("insert into rows values ('old')")
        self.wait_replayed(standby)
        query = standby.session()
        assert query.ask('begin isolation level repeatable read').ok
        assert query.value('select count(*) from rows') == '1'
        self.sql('delete from rows')
        self.sql('vacuum rows')
        startup = standby.pid_of('startup')
        wait_for('a conflict', lambda: (standby.wait_event(startup) or '').startswith('RecoveryConflict'), DEADLINE_S)
        return query

    def freeze(self):
        """An empty primary_conninfo proved loaded, and the walreceiver ended."""
        self.reload(primary_conninfo='')
        if pid := self.receiver():
            proc.send([pid], signal.SIGTERM)
        self.wait_receiver_gone()

    def trigger(self):
        """The promote file and its signal; what comes of it is another question."""
        self.bench.write(self.data / 'promote', '')
        self.signal(signal.SIGUSR1)

    def promote(self):
        """Promote and wait until it is writable."""
        self.trigger()
        wait_for(f'promotion of {self.name}', lambda: not self.in_recovery(), DEADLINE_S, every_s=0.01)
        return self

    # --- programs

    def tool(self, program, *arguments, deadline_s=DEADLINE_S * 3):
        """One of PostgreSQL's programs to its end. The CompletedProcess."""
        return self.bench.run([str(self.programs / program), *map(str, arguments)], self.folder, deadline_s)

    def spawn_tool(self, program, *arguments):
        """The same, running on; its output is in the folder. The Popen."""
        return self.bench.spawn([self.programs / program, *arguments], self.folder, self.folder / f'{program}.log')

    def control(self, name):
        """A line of pg_controldata."""
        done = self._run(self.programs / 'pg_controldata', '-D', self.data)
        return re.search(rf'^{re.escape(name)}:\s+(.*)$', done.stdout, re.M)[1]
