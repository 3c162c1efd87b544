"""Waiting for a condition with a deadline."""
import time

import psycopg

# How often a condition is looked at. Short, because tests measure how long things take.
EVERY_S = 0.05

# "Not yet" for somebody who asks a server that may be down, starting or cut off.
NOT_YET = (OSError, psycopg.Error, LookupError, ValueError)


class Late(AssertionError):
    """A deadline passed; says what was waited for and what was seen last."""


def wait_for(what, check, deadline_s, every_s=EVERY_S):
    """check() until it returns something true, which is returned. Errors of NOT_YET count as "not yet"."""
    began = time.monotonic()
    while True:
        try:
            seen = check()
            if seen:
                return seen
        except NOT_YET as error:
            seen = f'{type(error).__name__}: {error}'
        if time.monotonic() - began > deadline_s:
            raise Late(f'no {what} within {deadline_s} s; last seen: {seen!r}')
        time.sleep(every_s)


def holds_for(what, check, duration_s, every_s=EVERY_S):
    """check() is true all the time, looked at every few moments; the first time it is not fails."""
    until = time.monotonic() + duration_s
    while time.monotonic() < until:
        seen = check()
        assert seen, f'{what} did not hold: {seen!r}'
        time.sleep(every_s)
