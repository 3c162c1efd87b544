"""A primary and its standbys, bare."""
from pathlib import Path

from lab.bench import Bench
from lab.server import Server

FENCE = '__fence__'  # a name that no standby has


class Pristine:
    """A data directory as initdb makes it, to be copied; `programs` is the folder of PostgreSQL's."""

    def __init__(self, programs):
        self.programs = Path(programs)
        self.bench = Bench('pristine')
        self.folder = self.bench.make_folder('server') / 'data'
        done = self.bench.run([str(self.programs / 'initdb'), '--no-sync', '--auth=trust', '--username=postgres',
                               '--data-checksums', '--encoding=UTF8', '--locale=C', '-D', str(self.folder)], self.folder.parent)
        assert done.returncode == 0, done

    def close(self):
        self.bench.close()


class Servers:
    """Makes the servers of one test, and ends their clients after it."""

    def __init__(self, bench, pristine):
        self.bench, self.pristine, self.made = bench, pristine, []

    def one(self, name='n1', **settings):
        """Not yet started."""
        server = Server(self.bench, self.pristine.programs, self.pristine.folder, name, **settings)
        self.made.append(server)
        return server

    def group(self, standbys=1, names=None, slots=False, **settings):
        """
        [n1, n2, …] running: n1 the primary with a table `rows (of text)`, the others streaming from it and with that
        replayed. `names` is n1's synchronous_standby_names, loaded once they stream. `settings` are everybody's.
        """
        group = [self.one(f'n{i + 1}', **settings) for i in range(standbys + 1)]
        primary = group[0]
        for standby in group[1:]:
            standby.follow(primary, f'slot_{standby.name}' if slots else None)
        primary.start()
        primary.sql('create table rows (of text)')
        for standby in group[1:]:
            if slots:
                primary.sql('select pg_create_physical_replication_slot(%s)', f'slot_{standby.name}')
            standby.spawn()
        for standby in group[1:]:
            standby.wait_ready()
            primary.wait_streaming(standby)
            primary.wait_replayed(standby)
        if names:
            primary.reload(synchronous_standby_names=names)
        return group

    def close(self):
        for server in self.made:
            for session in server.sessions:
                session.close()
