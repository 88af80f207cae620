"""Registries: mappings from names to formats, schemes, architectures, that fill themselves on first look-up."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Generic, TypeVar

from .errors import UnknownName, did_you_mean

T = TypeVar("T")


class Registry(Mapping[str, T], Generic[T]):
    """A mapping name → thing. The modules of its package are imported on first look-up, and each registers what it holds.

    Names that the package does not know are then looked for among the entry points of installed packages,
    so that a built-in name never costs the search for plug-ins.
    """

    def __init__(self, kind: str, package: str) -> None:
        self.kind, self.package = kind, package
        self._things: dict[str, T] = {}
        self._filled = self._searched = False

    def add(self, name: str, thing: T) -> T:
        """Register `thing`; a second one of the same name is refused."""
        if name in self._things:
            raise ValueError(f"two {self.kind}s are called {name!r}")
        self._things[name] = thing
        return thing

    def __getitem__(self, name: str) -> T:
        self._fill()
        if name not in self._things:
            self._search()
        try:
            return self._things[name]
        except KeyError:
            mend = did_you_mean(name, self._things) or f"one of {', '.join(sorted(self._things))}"
            raise UnknownName(f"no {self.kind} is called {name!r}", mend) from None

    def __contains__(self, name: object) -> bool:
        self._fill()
        if name not in self._things:
            self._search()
        return name in self._things

    def __iter__(self) -> Iterator[str]:
        """All names, plug-ins' included."""
        self._fill()
        self._search()
        return iter(list(self._things))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def built_in(self) -> list[T]:
        """What the project's own modules register, without a search for plug-ins."""
        self._fill()
        return list(self._things.values())

    def _fill(self) -> None:
        if self._filled:
            return
        self._filled = True
        from importlib import import_module
        from pkgutil import iter_modules

        package = import_module(self.package)
        for module in sorted(found.name for found in iter_modules(package.__path__)):
            import_module(f"{self.package}.{module}")

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
