"""Registries: mappings from names to formats, schemes, architectures, presets, which import what they hold as it is looked for.

A module registers its things when it is imported. Registry imports the modules of its package one after another until a name is found;
ModuleRegistry, whose modules are named after the one thing in each, imports that module alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from .errors import UnknownName, UserCodeError, did_you_mean

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

T = TypeVar("T")


class Registry(Mapping[str, T], Generic[T]):
    """A mapping from names to things of one kind, in the order in which they are registered.

    Names that the package does not have are looked for among the entry points of installed packages (plug-ins), in the group that is named
    as the package. A built-in name never costs that search.

    Args:
        kind: what the things are, for error messages.
        package: the package whose modules register them.
        likely: the modules to import first, because most look-ups end there.
    """

    def __init__(self, kind: str, package: str, likely: tuple[str, ...] = ()) -> None:
        self.kind, self.package, self.likely = kind, package, likely
        self._things: dict[str, T] = {}
        self._others: list[str] | None = None  # modules besides the likely ones, once the package is listed
        self._waiting: Iterator[str] | None = None  # modules that are not imported yet
        self._searched = False  # for plug-ins

    def add(self, name: str, thing: T) -> T:
        """Register `thing` under `name`, and return it. Raises ValueError for a second thing of one name."""
        if name in self._things:
            raise ValueError(f"two {self.kind}s are called {name!r}")
        self._things[name] = thing
        return thing

    def __getitem__(self, name: str) -> T:
        self._look_for(name)
        try:
            return self._things[name]
        except KeyError:
            known = list(self)
            mend = did_you_mean(name, known) or f"one of {', '.join(sorted(known))}"
            raise UnknownName(f"no {self.kind} is called {name!r}", mend) from None

    def __contains__(self, name: object) -> bool:
        self._look_for(name)
        return name in self._things

    def __iter__(self) -> Iterator[str]:
        while self._import_next():
            pass
        self._search()
        return iter(list(self._things))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def built_in(self) -> Iterator[T]:
        """Yield the things of the package, without a search for plug-ins. A module is imported when its turn comes."""
        done = 0
        while done < len(self._things) or self._import_next():
            for thing in list(self._things.values())[done:]:
                done += 1
                yield thing

    def modules(self) -> Iterator[str]:
        """Yield the modules of the package, likely ones first; the package is listed only when those are used up."""
        yield from self.likely
        if self._others is None:
            self._others = sorted(set(self._listed()) - set(self.likely), key=self._order)
        yield from self._others

    def _order(self, module: str) -> tuple[str, ...]:
        return (module,)

    def _listed(self) -> Iterator[str]:
        from pkgutil import iter_modules

        return (module.name for module in iter_modules(import_module(self.package).__path__))

    def _look_for(self, name: object) -> None:
        while name not in self._things and self._import_next():
            pass
        if name not in self._things:
            self._search()

    def _import_next(self) -> bool:
        """Import another module of the package; False where there is none left."""
        if self._waiting is None:
            self._waiting = self.modules()
        module = next(self._waiting, None)
        if module is not None:
            import_module(f"{self.package}.{module}")
        return module is not None

    def _is_built_in(self, name: str) -> bool:
        return name in self._things

    def _search(self) -> None:
        """Register the plug-ins that installed packages announce; one that is called as a built-in thing is left out."""
        if self._searched:
            return
        self._searched = True
        from importlib.metadata import entry_points

        for entry in entry_points(group=self.package):
            thing = _loaded(entry)
            if not self._is_built_in(entry.name) and entry.name not in self._things:
                self.add(entry.name, thing)


def _loaded(entry: EntryPoint) -> Any:
    """What an installed package announces. Raises UserCodeError where it cannot be imported."""
    try:
        return entry.load()
    except Exception as error:
        package = f"the package {entry.dist.name}" if entry.dist else "its package"
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise UserCodeError(f"the plug-in {entry.value} cannot be loaded: {reason}", f"update or remove {package}") from error


class ModuleRegistry(Registry[T]):
    """A registry of a package that keeps one thing a module, in the package or in its folders.

    The thing called `paddle-jit` is in [FOLDER/]PREFIXpaddle_jit.py; other modules only serve these. So names are known before a module is
    imported. Their order does not depend on what is imported when: likely ones, then by name, then plug-ins.

    Args:
        kind: as for Registry.
        package: as for Registry.
        prefix: what the names of the modules begin with.
        likely: the modules to try first, each with its folder: `torch.format_torch`.
        ahead: names that come before another one which is earlier in the alphabet.
    """

    def __init__(self, kind: str, package: str, prefix: str, likely: tuple[str, ...] = (), ahead: Mapping[str, str] | None = None) -> None:
        super().__init__(kind, package, likely)
        self.prefix, self.ahead = prefix, ahead or {}

    def __iter__(self) -> Iterator[str]:
        self._search()
        names = [self._name_of(module) for module in self.modules()]
        return iter([*names, *(name for name in self._things if name not in names)])

    def built_in(self) -> Iterator[T]:
        """Yield the things of the package, without a search for plug-ins. A module is imported when its turn comes."""
        return map(self._imported, self.modules())

    def likely_ones(self) -> Iterator[T]:
        """Yield the things that most look-ups end at."""
        return map(self._imported, self.likely)

    def _name_of(self, module: str) -> str:
        return module.rpartition(".")[2].removeprefix(self.prefix).replace("_", "-")

    def _order(self, module: str) -> tuple[str, ...]:
        name = self._name_of(module)
        return (self.ahead[name], "", name) if name in self.ahead else (name, name)

    def _imported(self, module: str) -> T:
        name = self._name_of(module)
        if name not in self._things:
            import_module(f"{self.package}.{module}")
        if name not in self._things:
            raise ValueError(f"{self.package}.{module} registers no {self.kind} called {name!r}")
        return self._things[name]

    def _look_for(self, name: object) -> None:
        if name in self._things:
            return
        module = next((module for module in self.modules() if self._name_of(module) == name), None)
        if module is None:
            self._search()
        else:
            self._imported(module)

    def _is_built_in(self, name: str) -> bool:
        return any(self._name_of(module) == name for module in self.modules())

    def _listed(self) -> Iterator[str]:
        from pkgutil import iter_modules

        paths = import_module(self.package).__path__
        for module in iter_modules(paths):
            if module.ispkg:
                inside = iter_modules([f"{path}/{module.name}" for path in paths])
                yield from (f"{module.name}.{one.name}" for one in inside if one.name.startswith(self.prefix))
            elif module.name.startswith(self.prefix):
                yield module.name
