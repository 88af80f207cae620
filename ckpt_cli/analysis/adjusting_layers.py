"""The number of layers, and lists with an item for each layer, where an edit drops layers or adds some."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator

from .adjusting_sizes import of_part
from .contradicting_sizes import COUNTED_OTHERWISE
from .edited import Adjustment, Edited
from .named_parts import NamedParts, Stack, layer_number

# Lists whose items are about the layers, one after the other, and lists of the numbers of layers.
_PER_LAYER = re.compile(r".*(?:layer|block|head|ffn|mlp|attn|attention).*")
_NUMBERS = (
    "mlp_only_layers", "moe_layers", "dual_attention_layers", "full_attn_idxs", "cross_attention_layers", "global_attn_indexes",
    "deepstack_visual_indexes",
)  # fmt: skip
_OUTPUTS = ("stage_names", "out_features", "out_indices")  # of backbones: what they give out, and behind which layer
_LEAST_ALIKE = 2  # other layers, for the last one to be told apart from them
# A block of a stage: `encoder.stages.0.layers.1.`, `encoder.layers.0.blocks.1.`
_IN_STAGE = re.compile(
    r"(?P<path>.*?(?:stages?|layers?|blocks?)[./_])(?P<stage>\d{1,3})(?P<within>[./]\w*[A-Za-z][./_])(?P<block>\d{1,4})[./].*"
)


def layers(edited: Edited) -> Iterator[Adjustment | str]:
    """Yield the entries of the numbers of layers; or, in words, that layers are missing between others."""
    if edited.config.model_type in COUNTED_OTHERWISE:
        return
    for part, size, entry, said in edited.sizes():
        if size not in ("layers", "decoder_layers", "single_layers") or _are_stages(edited, part, said):
            continue
        # a gap that an edit before this one left is no other count: the last layer still has the number that the config tells
        before = [stack for stack in _stacks(edited, part, size, edited.before.parts.stacks) if max(stack.numbers) == said - 1]
        paths = {stack.path for stack in before}
        after = [stack for stack in edited.after.parts.stacks if stack.path in paths]
        after = after or (_stacks(edited, part, size, edited.after.parts.stacks) if before else [])
        edited.explained.update(paths)
        yield from _adjusted(edited, size, entry, said, after) if before else ()


def _are_stages(edited: Edited, part: str, said: int) -> bool:
    """Whether an entry tells how many stages there are, as `num_layers` of Swin does: `depths` tells more of them."""
    stages = edited.before.said[part].get("depths")
    return stages is not None and isinstance(stages.value, tuple) and len(stages.value) == said


def _adjusted(edited: Edited, size: str, entry: str, said: int, stacks: list[Stack]) -> Iterator[Adjustment | str]:
    """What becomes of the entry that tells how many layers these stacks have."""
    if not stacks:
        yield f"{entry} stays {said}: no layer is left"
        return
    counts = {len(stack.numbers) for stack in stacks}
    gap = next((stack for stack in stacks if stack.numbers != set(range(len(stack.numbers)))), None)
    if gap:
        yield f"{entry} stays {said}: the layers have {gap}; `ckpt rename` numbers them from 0 on"
    elif len(counts) > 1:
        yield f"{entry} stays {said}: the layers have {' and '.join(map(str, stacks))}"
    else:
        count = counts.pop()
        if count != said:
            yield from edited.adjusted(size, entry, said, count)
        if count < said:
            yield from (line for stack in stacks for line in _another_last(edited, stack.path, said, count))
        yield from _lists(edited, entry, said, _kept(edited, stacks[0], said))


def _another_last(edited: Edited, path: str, said: int, count: int) -> Iterator[str]:
    """That the last of the layers was like no other, and is gone: Stable Diffusion 3 has one without a part for the text."""
    before, after = (_layers_of(each.parts, path) for each in (edited.before, edited.after))
    was, now = before.pop(said - 1, {}), after.get(count - 1, {})
    if len(before) >= _LEAST_ALIKE and was not in before.values() and now != was:
        name = min(dict(was.items() ^ now.items()))
        yield f"{path}.{count - 1} comes last now, and is not like the layer that did ({name}): the library may not load it"


def _layers_of(parts: NamedParts, path: str) -> dict[int, dict[str, tuple[int, ...]]]:
    """The shapes of the tensors of each layer of a stack, by number and name in the layer."""
    found: dict[int, dict[str, tuple[int, ...]]] = defaultdict(dict)
    for name, kind in parts.kinds.items():
        layer = layer_number(name)
        if layer and layer[0] == path:
            found[layer[1]][re.split(r"[./]", name[len(path) :].lstrip("./_"), maxsplit=1)[1]] = kind.shape
    return found


def _stacks(edited: Edited, part: str, size: str, stacks: list[Stack]) -> list[Stack]:
    """The stacks that an entry is about, where their names tell; else all."""
    by_path = {f"{stack.path}.": stack for stack in stacks}
    mine = of_part(edited, part, by_path)
    if "decoder_layers" in edited.before.said[part] and "layers" in edited.before.said[part]:
        word = "decoder" if size == "decoder_layers" else "encoder"
        mine = [path for path in mine if word in path] or mine
    if "num_single_layers" in edited.config.entries:
        mine = [path for path in mine if path.startswith("single") == (size == "single_layers")]
    return [by_path[path] for path in mine]


def _kept(edited: Edited, stack: Stack, said: int) -> list[int | None]:
    """Which layer before the edit each layer of a stack was; None for one that was none."""
    sources: list[set[int | None]] = [set() for _ in stack.numbers]
    for name in edited.after.parts.kinds:
        found = layer_number(name)
        if found and found[0] == stack.path:
            source = edited.source(name)
            was = layer_number(source) if source in edited.before.parts.kinds else None
            sources[found[1]].add(was[1] if was and was[1] < said else None)
    known = [each - {None} for each in sources]
    return [next(iter(each)) if len(each) == 1 else None for each in known]


def _lists(edited: Edited, entry: str, said: int, kept: list[int | None]) -> Iterator[Adjustment | str]:
    """What becomes of lists beside the entry: of those with an item for each layer, and of those of the numbers of layers."""
    at, _, _ = entry.rpartition(".")
    holder = edited.value(edited.path(at)) if at else edited.config.entries
    if kept == list(range(said)) or not isinstance(holder, dict | type(edited.config.entries)):
        return
    for key, old in holder.items():
        if not isinstance(old, list) or not old:
            continue
        if key in _NUMBERS and all(type(item) is int for item in old):
            new: list[object] | None = [number for number, was in enumerate(kept) if was in old]
        elif key in _OUTPUTS:
            new = _outputs(key, old, said, kept)
        elif len(old) == said and _PER_LAYER.fullmatch(key):
            new = _picked(old, kept)
        else:
            continue
        path = edited.path(f"{at}.{key}" if at else key)
        if new is None:
            yield f"{'.'.join(map(str, path))} stays as it is: of its {len(old)} items, none is that of a new layer"
        elif new != old:
            yield Adjustment(path, old, new)


def _outputs(key: str, old: list[object], said: int, kept: list[int | None]) -> list[object]:
    """What a backbone gives out: `stem`, or 0, and behind layer 1 `stage1`, or 1; the last one where nothing is left of those."""
    called = {"stem": 0} | {f"stage{number}": number for number in range(1, said + 1)}
    numbers = [called.get(item, -1) if isinstance(item, str) else item for item in old]
    if not all(type(number) is int and 0 <= number <= said for number in numbers):
        return old
    places = {0: 0} | {was + 1: now + 1 for now, was in enumerate(kept) if was is not None}
    new = [places[number] for number in numbers if type(number) is int and number in places] or [len(kept)]
    if key == "stage_names" and numbers == list(range(said + 1)):
        new = list(range(len(kept) + 1))
    return [f"stage{number}" if number else "stem" for number in new] if isinstance(old[0], str) else list(new)


def _picked(items: list[object], kept: list[int | None]) -> list[object] | None:
    """The items of the layers that are kept; of new layers where all items are the same, else None."""
    alike = all(item == items[0] for item in items)
    if None in kept and not alike:
        return None
    return [items[0] if was is None else items[was] for was in kept]


def depths(edited: Edited) -> Iterator[Adjustment | str]:
    """Yield the lists of how many blocks each stage has."""
    for part, sizes in edited.before.said.items():
        size = sizes.get("depths")
        if size and isinstance(size.value, tuple):
            before, after = (_stages(of_part(edited, part, each.parts.kinds)) for each in (edited.before, edited.after))
            said = list(size.value)
            place = next((place for place, blocks in before.items() if _counts(blocks) == said), None)
            if not place or place not in after:
                continue
            now, path = _counts(after[place]), place[0].rstrip("./_")
            edited.explained.update((path, *(stack.path for stack in edited.before.parts.stacks if stack.path.startswith(place[0]))))
            if now is None:
                yield f"{size.entry} stays {said}: the blocks of {path} have gaps in their numbers"
            elif len(now) != len(said):
                stages = "1 stage" if len(now) == 1 else f"{len(now)} stages"
                yield f"{size.entry} stays {said}: {path} has {stages} now, and other entries tell their widths"
            elif now != said:
                yield Adjustment(edited.path(size.entry), said, now)


def _stages(names: list[str]) -> dict[tuple[str, str], dict[int, set[int]]]:
    """The numbers of blocks in each stage, by what stands before the two numbers."""
    found: dict[tuple[str, str], dict[int, set[int]]] = defaultdict(lambda: defaultdict(set))
    for name in names:
        if match := _IN_STAGE.match(name):
            found[match["path"], match["within"]][int(match["stage"])].add(int(match["block"]))
    return found


def _counts(blocks: dict[int, set[int]]) -> list[int] | None:
    """How many blocks each stage has; None where they are not numbered from 0 on."""
    if set(blocks) != set(range(len(blocks))) or any(each != set(range(len(each))) for each in blocks.values()):
        return None
    return [len(blocks[stage]) for stage in sorted(blocks)]
