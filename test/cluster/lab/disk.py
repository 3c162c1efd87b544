"""A small disk that can be filled, or made to hang: an image mounted through a loop device. Root only."""
import contextlib
import errno
import subprocess


class Disk:
    """A mounted ext4 image of `megabytes` that belongs to the bench's user. Used as a context."""

    def __init__(self, bench, name, megabytes):
        self.bench, self.megabytes = bench, megabytes
        self.image = bench.folder / f'{name}.image'
        self.folder = bench.make_folder(name)
        self._filler = self.folder / 'filler'

    @staticmethod
    def _run(*command):
        done = subprocess.run([str(c) for c in command], capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, f'{command}: {done.stderr.strip()}'

    def __enter__(self):
        with open(self.image, 'wb') as image:
            image.truncate(self.megabytes << 20)
        # Nothing reserved for root, no lost+found in the way of tools that want an empty folder.
        self._run('mkfs.ext4', '-q', '-m', '0', self.image)
        self._run('mount', '-o', 'loop', self.image, self.folder)
        (self.folder / 'lost+found').rmdir()
        self.bench.own(self.folder)
        return self

    def __exit__(self, *_):
        self._run('umount', '--lazy', self.folder)

    def fill(self):
        """Until not one byte is left."""
        block = b'\0' * 4096
        with open(self._filler, 'wb', buffering=0) as file:
            try:
                while file.write(block) == len(block):
                    pass
            except OSError as error:
                assert error.errno == errno.ENOSPC

    @contextlib.contextmanager
    def frozen(self):
        """Every write waits, as on a disk that hangs."""
        self._run('fsfreeze', '--freeze', self.folder)
        try:
            yield
        finally:
            self._run('fsfreeze', '--unfreeze', self.folder)

    def read_only(self, on=True):
        """Every write is refused from now on, also of open files: what ext4 does after an error of its device."""
        if on:
            self._run('mount', '-o', 'remount,abort', self.folder)
        else:
            self._run('umount', '--lazy', self.folder)
            self._run('mount', '-o', 'loop', self.image, self.folder)

    def clear(self):
        self._filler.unlink()
