"""A command on a terminal of its own, and the person who sits at it."""
import errno
import fcntl
import os
import re
import struct
import termios

from lab.wait import wait_for

ROWS, COLUMNS = 40, 160
ESCAPE = re.compile(r'\x1b\[[0-9;?]*[A-Za-z]')


class Terminal:
    """
    `start(arguments, fd)` starts the command with that descriptor as its three streams. `text` is all that was shown
    so far, colours and cursor movements included, `plain` the same without them; see() waits for more of it.
    """

    def __init__(self, start, command):
        self._bytes, self._seen = b'', 0
        self._fd, other = os.openpty()
        fcntl.ioctl(other, termios.TIOCSWINSZ, struct.pack('HHHH', ROWS, COLUMNS, 0, 0))
        os.set_blocking(self._fd, False)
        try:
            # It takes the terminal as its own, or Ctrl-C would reach nobody.
            self.process = start(['setsid', '--ctty', *command], other)
        finally:
            os.close(other)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(10)
        os.close(self._fd)

    def _read(self):
        try:
            while piece := os.read(self._fd, 65536):
                self._bytes += piece
        except BlockingIOError:
            pass
        except OSError as error:
            if error.errno != errno.EIO:  # nobody has it open any more
                raise

    @property
    def text(self):
        return self._bytes.decode('utf-8', 'replace')

    @property
    def plain(self):
        return ESCAPE.sub('', self.text)

    def see(self, pattern, deadline_s=20):
        """Waits until something like it was shown since the last see(). The match."""
        def look():
            self._read()
            return re.compile(pattern).search(self.plain, self._seen)
        match = wait_for(f'{pattern!r} on the terminal', look, deadline_s)
        self._seen = match.end()
        return match

    def type(self, text):
        os.write(self._fd, text.encode())

    def answer(self, pattern, text):
        """Waits for a question and types a line."""
        self.see(pattern)
        self.type(text + '\n')

    def interrupt(self):
        """Ctrl-C."""
        self.type('\x03')

    def echoes(self):
        """Is what is typed shown?"""
        return bool(termios.tcgetattr(self._fd)[3] & termios.ECHO)

    def end(self, deadline_s=60):
        """Reads to the end. The exit status, negative for a signal."""
        def ended():
            self._read()
            return self.process.poll() is not None
        wait_for('end of the command', ended, deadline_s)
        self._read()
        return self.process.returncode
