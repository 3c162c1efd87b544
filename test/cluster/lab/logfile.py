"""A growing log, and waiting for a line in it."""
import re

from lab.wait import wait_for


class Log:
    """Text of a file that somebody appends to. mark() makes text() and wait() start from now on."""

    def __init__(self, path):
        self.path = path
        self.start = 0

    def mark(self):
        self.start = self.path.stat().st_size if self.path.exists() else 0

    def text(self):
        if not self.path.exists():
            return ''
        with open(self.path, 'rb') as file:
            file.seek(self.start)
            return file.read().decode('utf-8', 'replace')

    def lines(self, pattern):
        return [line for line in self.text().splitlines() if re.search(pattern, line)]

    def wait(self, pattern, deadline_s):
        """The first line since mark() that matches."""
        return wait_for(f'line like {pattern!r} in {self.path}', lambda: self.lines(pattern), deadline_s)[0]
