"""Registries: mappings from names to formats, schemes, architectures, that fill themselves as they are looked into."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Generic, TypeVar

from .errors import UnknownName, did_you_mean

T = TypeVar("T")


class Registry(Mapping[str, T], Generic[T]):
    """A mapping name → thing. The modules of its package are imported as they are looked for, and each registers what it holds.

    Names that the package does not know are then looked for among the entry points of installed packages,
    so that a built-in name never costs the search for plug-ins.
    """

    def __init__(self, kind: str, package: str, likely: tuple[str, ...] = (), family: str = "") -> None:
        """`likely`: the modules to be imported first, since most look-ups end there.

        `family`: the package keeps its things a folder a family, in modules whose names begin so; what else is in there only serves them.
        """
        self.kind, self.package, self.likely, self.family = kind, package, likely, family
        self._things: dict[str, T] = {}
        self._waiting: Iterator[str] | None = None
        self._searched = False

    def add(self, name: str, thing: T) -> T:
        """Register `thing`; a second one of the same name is refused."""
        if name in self._things:
            raise ValueError(f"two {self.kind}s are called {name!r}")
        self._things[name] = thing
        return thing

    def __getitem__(self, name: str) -> T:
        self._look_for(name)
        try:
            return self._things[name]
        except KeyError:
            mend = did_you_mean(name, self._things) or f"one of {', '.join(sorted(self._things))}"
            raise UnknownName(f"no {self.kind} is called {name!r}", mend) from None

    def __contains__(self, name: object) -> bool:
        self._look_for(name)
        return name in self._things

    def __iter__(self) -> Iterator[str]:
        """All names, plug-ins' included."""
        while self._import_next():
            pass
        self._search()
        return iter(list(self._things))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def built_in(self) -> Iterator[T]:
        """What the project's own modules register, without a search for plug-ins. Each is imported when its turn comes."""
        done = 0
        while done < len(self._things) or self._import_next():
            for thing in list(self._things.values())[done:]:
                done += 1
                yield thing

    def _look_for(self, name: object) -> None:
        while name not in self._things and self._import_next():
            pass
        if name not in self._things:
            self._search()

    def _import_next(self) -> bool:
        """Import another module of the package; False where there is none left."""
        from importlib import import_module

        if self._waiting is None:
            self._waiting = self._modules()
        module = next(self._waiting, None)
        if module is not None:
            import_module(f"{self.package}.{module}")
        return module is not None

    def _modules(self) -> Iterator[str]:
        yield from self.likely
        from importlib import import_module
        from pkgutil import iter_modules

        own = import_module(self.package).__path__
        found = {module.name for module in iter_modules(own) if not (self.family and module.ispkg)}
        for folder in (module.name for module in iter_modules(own) if self.family and module.ispkg):
            inside = iter_modules([f"{path}/{folder}" for path in own])
            found |= {f"{folder}.{module.name}" for module in inside if module.name.startswith(self.family)}
        yield from sorted(found - set(self.likely), key=lambda module: module.rpartition(".")[2])

    def _search(self) -> None:
        """Import the plug-ins that installed packages announce in the entry-point group named as the package."""
        if self._searched:
            return
        self._searched = True
        from importlib.metadata import entry_points

        for entry in entry_points(group=self.package):
            thing = entry.load()
            if entry.name not in self._things:
                self.add(entry.name, thing)
