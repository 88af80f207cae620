"""Traces a pickle that may be hostile: every name that loading it would import, up to where loading it would stop.

Unlike `pickle_reader`, which refuses what no writer makes, it follows a pickle as far as the most lenient of CPython's unpicklers would
(Lib/pickle.py, Modules/_pickle.c, joblib/numpy_pickle.py), and forgets what it need not know. Nothing is imported or called.
"""

from __future__ import annotations

from ..errors import Malformed
from ..storage.file import File
from .trace_machine import Trace
from .trace_opcodes import TABLE

_STOP = 0x2E


def traced(file: File, at: int, most: int, wraps_arrays: bool = True) -> Trace:
    """Trace the pickle that begins at byte `at` of `file`, through at most `most` opcodes.

    Args:
        file: The bytes.
        at: Where it begins.
        most: The number of opcodes after which it is given up.
        wraps_arrays: Read joblib's arrays, whose elements stand between the opcodes.
    """
    machine = Trace(file, at, wraps_arrays)
    try:
        _run(machine, most)
    except EOFError:
        machine.wrong = "it is cut off"
    except KeyError as key:
        machine.wrong = f"at byte {machine.end - 1:,} {key} is no opcode, or no entry of the memo"
    except IndexError:
        machine.wrong = f"at byte {machine.end - 1:,} there is nothing on the stack"
    except Malformed as error:
        machine.wrong = f"at byte {machine.end - 1:,}: {error.what}"
    except (ValueError, TypeError, AttributeError, OverflowError) as error:
        machine.wrong = f"at byte {machine.end - 1:,}: {str(error)[:80]}"
    return machine


def _run(machine: Trace, most: int) -> None:
    take = machine.reader.take
    while True:
        op = take(1)[0]
        machine.ran += 1
        if machine.ran > most:
            raise ValueError(f"it has over {most:,} opcodes")
        if op != _STOP:
            TABLE[op](machine)
        elif machine.suspended:
            machine.resume()
        else:
            machine.stack[-1]  # what is returned
            return
