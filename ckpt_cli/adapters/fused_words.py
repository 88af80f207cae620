"""Tables of the layers that one program calls and cuts in another way than the other: Flux, Stable Diffusion 3, CLIP.

Source: diffusers' conversion scripts (scripts/convert_flux_to_diffusers.py, convert_sd3_to_diffusers.py), and
loaders/single_file_utils.py for CLIP.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class Table(NamedTuple):
    """Layers in the words of two programs.

    Attributes:
        fused_words: whose words the fused layers have.
        split_words: whose words their parts have.
        layers: the path of a layer → the paths of its parts, by rows. `{}` stands for a number.
        swapped: the layers whose halves of rows are in the other order there.
    """

    fused_words: str
    split_words: str
    layers: Mapping[str, tuple[str, ...]]
    swapped: frozenset[str] = frozenset()

    def swaps(self, fused: str) -> bool:
        """Return whether the halves of a layer are in the other order."""
        return fused in self.swapped


_ATTENTION = ("attn.to_q", "attn.to_k", "attn.to_v")
_ADDED = ("attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj")


def _in(block: str, *layers: str) -> tuple[str, ...]:
    return tuple(f"{block}.{layer}" for layer in layers)


_DOUBLE, _SINGLE = "transformer_blocks.{}", "single_transformer_blocks.{}"
_FLUX = {
    "double_blocks.{}.img_attn.qkv": _in(_DOUBLE, *_ATTENTION),
    "double_blocks.{}.txt_attn.qkv": _in(_DOUBLE, *_ADDED),
    "double_blocks.{}.img_attn.proj": _in(_DOUBLE, "attn.to_out.0"),
    "double_blocks.{}.txt_attn.proj": _in(_DOUBLE, "attn.to_add_out"),
    "double_blocks.{}.img_mlp.0": _in(_DOUBLE, "ff.net.0.proj"),
    "double_blocks.{}.img_mlp.2": _in(_DOUBLE, "ff.net.2"),
    "double_blocks.{}.txt_mlp.0": _in(_DOUBLE, "ff_context.net.0.proj"),
    "double_blocks.{}.txt_mlp.2": _in(_DOUBLE, "ff_context.net.2"),
    "double_blocks.{}.img_mod.lin": _in(_DOUBLE, "norm1.linear"),
    "double_blocks.{}.txt_mod.lin": _in(_DOUBLE, "norm1_context.linear"),
    "single_blocks.{}.linear1": _in(_SINGLE, *_ATTENTION, "proj_mlp"),
    "single_blocks.{}.linear2": _in(_SINGLE, "proj_out"),
    "single_blocks.{}.modulation.lin": _in(_SINGLE, "norm.linear"),
    "img_in": ("x_embedder",),
    "txt_in": ("context_embedder",),
    "time_in.in_layer": ("time_text_embed.timestep_embedder.linear_1",),
    "time_in.out_layer": ("time_text_embed.timestep_embedder.linear_2",),
    "vector_in.in_layer": ("time_text_embed.text_embedder.linear_1",),
    "vector_in.out_layer": ("time_text_embed.text_embedder.linear_2",),
    "guidance_in.in_layer": ("time_text_embed.guidance_embedder.linear_1",),
    "guidance_in.out_layer": ("time_text_embed.guidance_embedder.linear_2",),
    "final_layer.linear": ("proj_out",),
    "final_layer.adaLN_modulation.1": ("norm_out.linear",),
}
_SD3 = {
    "joint_blocks.{}.x_block.attn.qkv": _in(_DOUBLE, *_ATTENTION),
    "joint_blocks.{}.context_block.attn.qkv": _in(_DOUBLE, *_ADDED),
    "joint_blocks.{}.x_block.attn.proj": _in(_DOUBLE, "attn.to_out.0"),
    "joint_blocks.{}.context_block.attn.proj": _in(_DOUBLE, "attn.to_add_out"),
    "joint_blocks.{}.x_block.mlp.fc1": _in(_DOUBLE, "ff.net.0.proj"),
    "joint_blocks.{}.x_block.mlp.fc2": _in(_DOUBLE, "ff.net.2"),
    "joint_blocks.{}.context_block.mlp.fc1": _in(_DOUBLE, "ff_context.net.0.proj"),
    "joint_blocks.{}.context_block.mlp.fc2": _in(_DOUBLE, "ff_context.net.2"),
    "x_embedder.proj": ("pos_embed.proj",),
}
_LAYER = "text_model.encoder.layers.{}"
_CLIP = {
    "transformer.resblocks.{}.attn": _in(_LAYER, "self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    "transformer.resblocks.{}.attn.out_proj": _in(_LAYER, "self_attn.out_proj"),
    "transformer.resblocks.{}.mlp.c_fc": _in(_LAYER, "mlp.fc1"),
    "transformer.resblocks.{}.mlp.c_proj": _in(_LAYER, "mlp.fc2"),
    "transformer.resblocks.{}.ln_1": _in(_LAYER, "layer_norm1"),
    "transformer.resblocks.{}.ln_2": _in(_LAYER, "layer_norm2"),
}
TABLES = (
    Table("Black Forest Labs", "diffusers", _FLUX, frozenset({"final_layer.adaLN_modulation.1"})),
    Table("Stability AI", "diffusers", _SD3),
    Table("OpenCLIP", "transformers", _CLIP),
)
