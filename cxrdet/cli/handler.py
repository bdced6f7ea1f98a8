"""What ends a command, in one place: the one line that is said, and the exit code.

==== ===============================================================
0    done
1    a fault of cxrdet, with its traceback; of check-data: the set has errors
2    something to mend: an option, a config, a file, a full disk
130  Ctrl-C
143  SIGTERM
==== ===============================================================
"""
import errno
import io
import os
import re
import shlex
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from traceback import walk_tb

from cxrdet.core.errors import CxrdetError, Terminated, error_text
from cxrdet.core.terminal import guard_output, say_error, say_stop

_MEND = {errno.ENOSPC: 'make room there, or write somewhere else', errno.EDQUOT: 'make room there, or write elsewhere',
         errno.EFBIG: 'the limit of file sizes (ulimit -f) is reached: raise it, or write less',
         errno.EROFS: 'write somewhere else', errno.EACCES: 'ask for the right to it, or choose another place',
         errno.EPERM: 'ask for the right to it, or choose another place', errno.ENOTDIR: 'a file is in the way',
         errno.EISDIR: 'a folder is in the way', errno.EEXIST: 'something is in the way', errno.ENOENT: 'is it there?',
         errno.ENAMETOOLONG: 'choose a shorter name', errno.ELOOP: 'its links go round in a circle',
         errno.EMFILE: 'raise the limit of open files (ulimit -n)', errno.ENFILE: 'too many files are open',
         errno.EIO: 'look at the disk, or the network it is on', errno.ESTALE: 'the network disk has lost it',
         errno.ENXIO: 'is it a file?', errno.EBUSY: 'something else has it', errno.ENOTEMPTY: 'something is in the way'}
_AGAIN = 'Nothing half-written is left; the same command begins again.'
_GO_ON = {'prepare-data': 'Finished files are kept; the same command goes on.',
          'cross-validate': 'Finished runs are kept; the same command goes on.'}


def guarded(name: str, args, run: Callable[[object], int | None]) -> int:
    """Run a command; return its exit code, whatever ends it."""
    guard_output()
    try:
        with _terminating():
            return run(args) or 0
    except CxrdetError as error:
        say_error(error_text(error))
        return 2
    except KeyboardInterrupt:
        _tell_stop('Stopped by Ctrl-C.', name, args)
        return 130
    except Terminated as end:
        _tell_stop(f'Stopped by SIGTERM{f": {end}" if str(end) else "."}', name, args)
        return 143
    except BrokenPipeError:  # whoever read the output has gone, such as "| head"
        _drop_output()
        return 141
    except ImportError as error:
        if (error.name or '').partition('.')[0] == 'cxrdet':
            return _fault(error)
        say_error(f'{_importer(error)}: {error}: a package is missing, broken or of another version than cxrdet needs. '
                  'Install it again (pip install --force-reinstall); "cxrdet env" lists what there is.')
        return 2
    except OSError as error:
        if error.filename == 'standard output':
            _drop_output()
        if error.errno in _MEND:
            say_error(os_error_text(error))
            return 2
        return _fault(error)
    except Exception as error:
        return _fault(error)


def _importer(error: ImportError) -> str:
    """The file in which an import failed."""
    return [frame.f_code.co_filename for frame, _ in walk_tb(error.__traceback__)
            if not frame.f_code.co_filename.startswith('<')][-1]


def _drop_output() -> None:
    """Write nothing more of what is buffered for standard output: Python would try, and complain, when it ends."""
    with suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def os_error_text(error: OSError) -> str:
    """One line: the file, what the system says, what to do."""
    return f'{_file_of(error) or "a file"}: {os.strerror(error.errno)}: {_MEND[error.errno]}.'


def _file_of(error: OSError) -> str | None:
    """The file that an error of the system is about; for a failed write, which does not say, that which was open."""
    if isinstance(error.filename, (str, bytes)):
        return _meant(os.fsdecode(error.filename))
    found = None
    for frame, _ in walk_tb(error.__traceback__):  # the innermost counts
        places = [value for value in frame.f_locals.values() if isinstance(value, (Path, io.IOBase))]
        names = [str(getattr(place, 'name', '')) if isinstance(place, io.IOBase) else str(place) for place in places]
        found = next((name for name in reversed(names) if name and not name.isdigit()), found)
    return None if found is None else _meant(found)


def _meant(name: str) -> str:
    """The file that was to be written, for one that is written beside it and renamed."""
    name = re.sub(r'/\.cxrdet/[\w.-]+?\.tmp(/new)?(?=/|$)', '', name)
    return re.sub(r'(^|/)\.([^/]+)\.\d+-[0-9a-f]{8}\.tmp(\.\w+)?$', r'\1\2\3', name)


def _tell_stop(what: str, name: str, args) -> None:
    if os.environ.get('RANK', '0') != '0':
        return  # one of several processes is enough
    go_on = _GO_ON.get(name, _AGAIN)
    if name == 'train':
        again = 'the same command, with --resume'
        if args.launcher == 'none':
            again = shlex.join([*args.command_line, *([] if args.resume else ['--resume'])])
        go_on = f'To go on from the newest checkpoint: {again}'
    say_stop(f'{what} {go_on}')


def _fault(error: Exception) -> int:
    """Show a fault of ours as Python does (or as a launcher wants it), and ask for a report."""
    sys.excepthook(type(error), error, error.__traceback__)
    if getattr(error, 'follows_from_another', False):
        return 1
    say_stop('This is a fault of cxrdet, not yours. Please report it, with the lines above, what you did, and these of '
             '"cxrdet env":')
    with suppress(Exception):  # which may fail for the same reason
        from cxrdet.cli.commands.env import environment
        say_stop(environment())
    return 1


@contextmanager
def _terminating() -> Iterator[None]:
    """Let SIGTERM raise :class:`Terminated` in this process, so that what is half-written goes; not in its forks."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    own = os.getpid()

    def end(number, frame) -> None:
        if os.getpid() != own:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
            return
        raise Terminated
    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before if before is not None else signal.SIG_DFL)
