"""Runs the test_* functions of a script, one line of TAP each. Each gets a folder of its own."""
import sys
import tempfile
import traceback
from pathlib import Path


class Skip(Exception):
    """This machine lacks what the test needs; the text says what."""


def run(names):
    """The exit status for the functions in `names`, a script's globals()."""
    tests = [test for name, test in names.items() if name.startswith('test_')]
    print(f'1..{len(tests)}')
    failed = 0
    for number, test in enumerate(tests, 1):
        try:
            with tempfile.TemporaryDirectory(prefix='pgkeep-install-') as folder:
                test(Path(folder))
            print(f'ok {number} - {test.__name__}', flush=True)
        except Skip as why:
            print(f'ok {number} - {test.__name__} # SKIP {why}', flush=True)
        except Exception:  # whatever it is, the others are run
            failed += 1
            print(f'not ok {number} - {test.__name__}')
            print('#', traceback.format_exc().strip().replace('\n', '\n# '), flush=True)
    return 1 if failed else 0


if __name__ == '__main__':
    sys.exit('part of the scripts beside it')
