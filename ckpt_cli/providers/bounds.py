"""Bounds of size, time and memory while a library builds a model: a config may name 20,000 layers beside a file of forty tensors."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from ..schemes.seeds import import_torch
from .fence import Stopped

SECONDS = 60  # of the processor, for one model: the largest of the hub takes some seconds
HEADROOM = 2 << 30  # address space for one model, in bytes; on the meta device it has no values
MOST_TENSORS = 100_000  # of a model where no file says how many there are; those of the hub have fewer
SPARE = 5_000  # any model may have these beyond what the file holds: a file may hold a part of it
_MODULES_A_TENSOR = 4  # containers, activations and dropout have no tensors


@contextmanager
def bounded(held: int | None = None) -> Iterator[None]:
    """Bound the time and the memory that a library takes.

    Args:
        held: as for `counted`; None where nothing is counted, as several models are built in turn.

    Raises:
        Stopped: it takes too much time, or the model is too large.
        MemoryError: it asks for too much memory.
    """
    with ExitStack() as stack:
        if held is not None:
            stack.enter_context(counted(held))
        _bound_time(stack)
        _bound_memory(stack)
        yield


@contextmanager
def counted(held: int) -> Iterator[None]:
    """Stop the building of a model as soon as more parameters, buffers or modules are registered than that of a file may have.

    Args:
        held: the number of tensors that the file holds, 0 where there is no file.

    Raises:
        Stopped: there are more.
    """
    from torch.nn.modules import module

    most = 4 * held + SPARE if held else MOST_TENSORS  # one tensor of a file may be several of the module: fused queries, keys, values
    why = f"has more than {most:,} tensors" + (f", and the file {held:,}" if held else "")
    tensors, modules = _counter(most, why), _counter(most * _MODULES_A_TENSOR, why)
    with ExitStack() as stack:
        stack.callback(module.register_module_parameter_registration_hook(tensors).remove)
        stack.callback(module.register_module_buffer_registration_hook(tensors).remove)
        stack.callback(module.register_module_module_registration_hook(modules).remove)
        yield


def _counter(left: int, why: str) -> Callable[..., None]:
    def count(*registered: object) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise Stopped(why)

    return count


def _bound_time(stack: ExitStack) -> None:
    """Stop after SECONDS of the processor, however busy it is, in the main thread: it alone gets signals."""
    import signal
    import threading

    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "setitimer"):
        return

    def stop(number: int, frame: object) -> None:
        raise Stopped(f"takes more than {SECONDS} seconds")

    stack.callback(signal.signal, signal.SIGPROF, signal.signal(signal.SIGPROF, stop))
    stack.callback(signal.setitimer, signal.ITIMER_PROF, 0)
    signal.setitimer(signal.ITIMER_PROF, SECONDS, 0.1)  # again and again: what a destructor raises is passed over


def _bound_memory(stack: ExitStack) -> None:
    """Bound the address space to what the process has and HEADROOM, on Linux; drivers of GPUs reserve terabytes of it."""
    if sys.platform != "linux" or os.path.exists("/dev/nvidiactl") or os.path.exists("/dev/kfd"):
        return
    import resource

    import_torch()  # its libraries for GPUs alone take more
    with open("/proc/self/statm") as file:
        now = int(file.read().split()[0]) * resource.getpagesize()
    limits = resource.getrlimit(resource.RLIMIT_AS)
    bound = min([now + HEADROOM, *(each for each in limits if each != resource.RLIM_INFINITY)])
    resource.setrlimit(resource.RLIMIT_AS, (bound, limits[1]))
    stack.callback(resource.setrlimit, resource.RLIMIT_AS, limits)
