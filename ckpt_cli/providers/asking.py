"""Asking a library of models what a checkpoint holds; at most once for each checkpoint and config.

Which library is asked says the config beside the file, or `--arch`: `torchvision:resnet18`, `timm:vit_tiny_patch16_224(num_classes=10)`,
`transformers:FOLDER`. A library that fails is not asked again either: it fails in the same words.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from ..architectures import recognition
from ..architectures.mismatch import compare
from ..architectures.prefixes import at_best_prefix
from ..configs import Config, config_of
from ..errors import LibraryError, NoMatch, did_you_mean
from ..tensors.checkpoint import Checkpoint
from . import Initialisation, Provided, Provider, providers
from .config_size import require_moderate

if TYPE_CHECKING:
    from ..architectures.layers import Shape
    from ..architectures.model import Model

_Question = tuple[str, str, frozenset[tuple[str, "Shape"]]]  # the provider, the path of the config, the shapes in the file
DOES_NOT_AGREE = "does not agree with the file"  # in the note on a model whose names or shapes are not those of the file
_answers: dict[_Question, Provided | LibraryError] = {}


def library_in(spec: str) -> str:
    """Return the library that `--arch` names: `timm` of `timm:resnet18`; empty where it names none."""
    library, colon, _ = spec.partition(":")
    return library if colon and library.isidentifier() and library in providers else ""


def libraries() -> list[str]:
    """Return the libraries that are installed and whose models `LIBRARY:NAME` names. None is imported."""
    from importlib.util import find_spec

    return [name for name in sorted(providers) if name != "keras" and find_spec(name) is not None]


def config_for(checkpoint: Checkpoint, spec: str = "auto") -> Config | None:
    """Return the config that `--arch LIBRARY:NAME` stands for; for `auto` the one beside the checkpoint, None where there is none.

    Raises:
        UsageError: the text makes no sense to the library.
        ReadError: the config that is named cannot be read.
    """
    library = library_in(spec)
    if library:
        return providers[library].config_named(spec.partition(":")[2])
    return config_of(checkpoint) if spec == "auto" else None


def has_to_be_installed(error: LibraryError) -> bool:
    """Return whether a library could not be asked because it, or a package that it needs, is not installed, or is too old."""
    return error.mend.startswith("pip install ")


def provider_of(config: Config) -> Provider | None:
    """Return the library that a config is of; None where no provider takes it. No library is imported."""
    return next((each for each in providers.values() if each.accepts(config)), None)


def ask(checkpoint: Checkpoint, spec: str = "auto") -> Provided | None:
    """Return the model that a library builds for a checkpoint, with names as in the file; None where no library is named.

    Args:
        checkpoint: the file.
        spec: the value of `--arch`. Only `auto` and `LIBRARY:NAME` name a library.

    Raises:
        LibraryError: the library is not installed, is too old, or cannot build the model.
        UsageError: the text makes no sense to the library.
    """
    config = config_for(checkpoint, spec)
    provider = provider_of(config) if config else None
    if config is None or provider is None:
        return None
    shapes = {name: kind.shape for name, kind in checkpoint.kinds().items()}
    return _answered(provider, config, shapes, lambda: provider.provide_file(config, checkpoint))


def provided_by(config: Config, shapes: Mapping[str, Shape] | None = None) -> Provided | None:
    """Return the model that a config describes, as its library builds it; None where no provider takes the config.

    Args:
        config: the config.
        shapes: the shape of each tensor of the file by name; None for the names of a new model.

    Raises:
        LibraryError: the library is not installed, is too old, or cannot build the model.
    """
    provider, held = provider_of(config), shapes or {}
    return _answered(provider, config, held, lambda: provider.provide(config, held)) if provider else None


def _answered(provider: Provider, config: Config, shapes: Mapping[str, Shape], provide: Callable[[], Provided]) -> Provided:
    """What a provider answered to the same question before, else what it answers now."""
    question = (provider.name, config.path, frozenset(shapes.items()))
    if question not in _answers:
        try:
            require_moderate(config)
            _answers[question] = _placed(provide(), shapes)
        except LibraryError as error:
            _answers[question] = error
    answer = _answers[question]
    if isinstance(answer, LibraryError):
        raise answer
    return answer


def _placed(provided: Provided, shapes: Mapping[str, Shape]) -> Provided:
    """What the library provided, under the prefix that its names have in the file; a note says where they do not agree."""
    if not shapes or not provided.model.architecture or not compare(provided.model, shapes):
        return provided
    model = provided.model if provided.model.prefix else at_best_prefix(provided.model, shapes)
    prefix, mismatch = model.prefix.removeprefix(provided.model.prefix), compare(model, shapes)
    differs = f"{model.architecture.partition(':')[2]} does not agree with the file: {mismatch}"
    notes = (*provided.notes, *([differs] if mismatch and not any(DOES_NOT_AGREE in note for note in provided.notes) else []))

    def initialisations() -> Mapping[str, Initialisation]:
        own = provided.initialisations()
        return {prefix + name: each for name, each in own.items()} if prefix else own

    return replace(provided, model=model, initialisations=initialisations, notes=notes)


def model_of(checkpoint: Checkpoint, spec: str) -> Model | None:
    """Return the model that `--arch` means: of the library that it names, else as `recognition.model_of`, which says what is raised.

    Raises:
        LibraryError: the library cannot be asked.
    """
    if not library_in(spec):
        return recognition.model_of(checkpoint, spec)
    provided = ask(checkpoint, spec)
    return provided.model if provided else None


def types_with(checkpoint: Checkpoint, kind: str, types: Mapping[str, str]) -> Mapping[str, str]:
    """Return the type of each layer by its path as the library has them, to which `kind` may belong; `types` where no library is named.

    Args:
        checkpoint: the file.
        kind: the type that a pattern asks for.
        types: what is known without a library, to which it does not belong.

    Raises:
        NoMatch: the library cannot be asked.
    """
    try:
        provided = ask(checkpoint)
    except LibraryError as error:
        near = did_you_mean(kind, set(types.values()))
        remedy = f"{error.mend}, or name the architecture with --arch" if error.mend else "name the architecture with --arch"
        raise NoMatch(f"no layer of type {kind!r} is known: {error.what}", f"{near} {remedy}".strip()) from error
    return provided.model.placed if provided else types
