"""Models of transformers beside those of `families.py`: files that it writes are recognised by their names and shapes: `make models`."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest
from conftest import Ckpt
from families import FAMILIES
from own import tiny

pytestmark = pytest.mark.skipif(os.environ.get("CKPT_TESTS") != "models", reason="`make models` sets up the libraries for it")

TEXT: dict[str, Any] = {
    "vocab_size": 97,
    "hidden_size": 48,
    "intermediate_size": 112,
    "num_hidden_layers": 3,
    "num_attention_heads": 6,
    "max_position_embeddings": 71,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
GROUPED = TEXT | {"num_key_value_heads": 2}
WIDE = GROUPED | {"head_dim": 8}
SEQ2SEQ: dict[str, Any] = {
    "vocab_size": 97,
    "d_model": 48,
    "encoder_layers": 3,
    "decoder_layers": 2,
    "encoder_ffn_dim": 112,
    "decoder_ffn_dim": 104,
    "encoder_attention_heads": 6,
    "decoder_attention_heads": 6,
    "max_position_embeddings": 71,
    "pad_token_id": 1,
    "bos_token_id": 0,
    "eos_token_id": 2,
    "decoder_start_token_id": 2,
}
T5 = {"vocab_size": 97, "d_model": 48, "d_kv": 8, "d_ff": 112, "num_layers": 4, "num_heads": 6, "num_decoder_layers": 4}
EXPERTS = {"num_experts": 7, "moe_intermediate_size": 20}
DEBERTA = TEXT | {"relative_attention": True, "pos_att_type": ["c2p", "p2c"]}
GPT = {"vocab_size": 97, "n_embd": 48, "n_head": 6, "n_layer": 3, "n_positions": 71}
FALCON = {"vocab_size": 97, "hidden_size": 48, "num_hidden_layers": 3, "num_attention_heads": 6}
XLNET = {"vocab_size": 97, "d_model": 48, "n_layer": 3, "n_head": 6, "d_inner": 112}
LATENT = {"q_lora_rank": None, "kv_lora_rank": 11, "qk_rope_head_dim": 4, "qk_nope_head_dim": 10, "v_head_dim": 13}

# class of transformers, its config, the family, and some of what is to be told
MODELS = [
    ("OlmoForCausalLM", GROUPED, "olmo", {"layers": 3, "keys": 16}),
    ("Olmo3ForCausalLM", GROUPED, "olmo2", {"queries": 48}),
    ("GlmForCausalLM", WIDE | {"attention_bias": True}, "glm", {"attention_bias": True}),
    ("Glm4ForCausalLM", WIDE, "glm", {"post_norms": True}),
    ("Glm4MoeForCausalLM", WIDE | {"n_routed_experts": 7, "moe_intermediate_size": 20}, "glm4-moe", {"experts": 7, "dense": 1}),
    ("Starcoder2ForCausalLM", GROUPED, "starcoder2", {"inner": 112, "lm_head": False}),
    ("NemotronForCausalLM", WIDE, "nemotron", {"inner": 112}),
    ("ArceeForCausalLM", GROUPED, "arcee", {"inner": 112}),
    ("Exaone4ForCausalLM", WIDE, "exaone4", {"heads": 6, "key_heads": 2, "width": 8}),
    ("Qwen2MoeForCausalLM", GROUPED | EXPERTS | {"shared_expert_intermediate_size": 24}, "qwen2-moe", {"experts": 7, "shared_inner": 24}),
    ("OlmoeForCausalLM", GROUPED | {"num_experts": 7}, "olmoe", {"experts": 7}),
    ("PhimoeForCausalLM", GROUPED | {"num_local_experts": 7}, "phimoe", {"experts": 7}),
    ("GraniteMoeForCausalLM", GROUPED | {"num_local_experts": 7}, "granite-moe", {"experts": 7}),
    (
        "DeepseekV2ForCausalLM",
        TEXT | LATENT | {"n_routed_experts": 7, "first_k_dense_replace": 2},
        "deepseek",
        {"dense": 2},
    ),
    ("DebertaForMaskedLM", DEBERTA, "deberta", {"mlm": True}),
    ("DebertaV2ForSequenceClassification", DEBERTA | {"position_biased_input": False}, "deberta-v2", {"classifier": True}),
    ("MPNetForMaskedLM", TEXT, "mpnet", {"heads": 6, "mlm": True}),
    ("MPNetModel", TEXT, "mpnet", {"names": "transformers-bare"}),
    ("UMT5ForConditionalGeneration", T5, "umt5", {"heads": 6, "gated": True}),
    ("T5EncoderModel", T5, "t5", {"decoder": False}),
    ("SwitchTransformersForConditionalGeneration", T5 | {"num_experts": 3}, "switch-transformers", {"experts": 3}),
    ("M2M100ForConditionalGeneration", SEQ2SEQ, "m2m-100", {"decoder_inner": 104}),
    ("BlenderbotForConditionalGeneration", SEQ2SEQ, "pegasus", {"positions": 71}),
    ("BlenderbotSmallForConditionalGeneration", SEQ2SEQ, "bart", {"positions": 71}),
    ("BartModel", SEQ2SEQ, "bart", {"names": "transformers-bare"}),
    ("BartForSequenceClassification", SEQ2SEQ, "bart", {"classifier": True, "labels": 3}),
    ("PersimmonForCausalLM", TEXT, "persimmon", {"width": 8}),
    ("ApertusForCausalLM", GROUPED, "apertus", {"heads": 6}),
    ("HunYuanDenseV1ForCausalLM", WIDE, "hunyuan", {"heads": 6}),
    ("Lfm2ForCausalLM", GROUPED | {"full_attn_idxs": [1]}, "lfm2", {"attention": [False, True, False]}),
    ("OpenAIGPTLMHeadModel", GPT, "openai-gpt", {"positions": 71}),
    ("BigBirdForMaskedLM", TEXT, "big-bird", {"mlm": True}),
    ("GPT2DoubleHeadsModel", GPT, "gpt2", {"choice": True}),
    ("GPT2Model", GPT, "gpt2", {"names": "transformers-bare"}),
    ("LlamaModel", GROUPED, "llama", {"names": "transformers-bare"}),
    ("LlamaForSequenceClassification", GROUPED, "llama", {"score": True, "labels": 2}),
    ("BertForPreTraining", TEXT, "bert", {"mlm": True, "nsp": True}),
    ("BertForQuestionAnswering", TEXT, "bert", {"qa": True, "pooler": False}),
    ("RobertaForSequenceClassification", TEXT, "roberta", {"classifier": True}),
    ("ElectraForMaskedLM", TEXT | {"embedding_size": 24}, "electra", {"generator": True, "embedding": 24}),
    ("ElectraModel", TEXT | {"embedding_size": 24}, "electra", {"names": "transformers-bare"}),
    ("AlbertForSequenceClassification", TEXT | {"embedding_size": 24}, "albert", {"classifier": True}),
    ("FalconForCausalLM", FALCON | {"new_decoder_architecture": True, "num_kv_heads": 2}, "falcon", {"two_norms": True, "keys": 16}),
    ("FalconForCausalLM", FALCON | {"multi_query": False, "bias": True, "parallel_attn": False}, "falcon", {"sequential": True}),
    ("StableLmForCausalLM", GROUPED | {"qk_layernorm": True, "use_qkv_bias": True}, "stablelm", {"heads": 6, "key_heads": 2}),
    ("CohereForCausalLM", GROUPED | {"use_qk_norm": True}, "cohere", {"heads": 6, "width": 8}),
    (
        "XLNetForSequenceClassification",
        {"vocab_size": 97, "d_model": 48, "n_layer": 3, "n_head": 6, "d_inner": 112},
        "xlnet",
        {"labels": 2},
    ),
    ("ModernBertForSequenceClassification", TEXT | {"cls_token_id": 3, "sep_token_id": 4}, "modernbert", {"classifier": True}),
    ("SeedOssForCausalLM", WIDE, "qwen2", {"keys": 16}),
    ("Ministral3ForCausalLM", WIDE, "llama", {"keys": 16}),
]


@pytest.mark.parametrize(("name", "config", "family", "told"), MODELS, ids=[f"{name}-{place}" for place, (name, *_) in enumerate(MODELS)])
def test_files_of_transformers_are_recognised(
    name: str, config: dict[str, Any], family: str, told: dict[str, Any], tmp_path: Path, ckpt: Ckpt
):
    import transformers

    kind = getattr(transformers, name)
    kind(kind.config_class(**config)).save_pretrained(tmp_path)
    (tmp_path / "config.json").unlink()
    found = ckpt("summary", tmp_path, "--json").json["architecture"]
    assert found["name"] == family and told.items() <= found["hyperparameters"].items()


CONTAINERS = ("ModuleList", "ModuleDict", "Sequential")


@pytest.mark.parametrize("name", FAMILIES)
def test_a_class_of_the_library_is_given_to_all_of_its_layers_or_to_none(name: str, tmp_path: Path) -> None:
    """Where names and shapes give none, `@Class` asks the library."""
    import torch

    from ckpt_cli.architectures import recognition
    from ckpt_cli.providers.asking import ask
    from ckpt_cli.reading import open as opened

    model = tiny(name, tmp_path)
    checkpoint = opened(str(model.weights))
    ours, provided = recognition.model_of(checkpoint, "auto"), ask(checkpoint, *model.arch[1:])
    assert provided is not None
    if ours is None:
        pytest.skip("no family has its names")
    known = {kind for kind in ours.placed.values() if kind in CONTAINERS or not hasattr(torch.nn, kind)}
    for kind in sorted(known & set(provided.model.placed.values())):
        assert picked(checkpoint, ours.placed, kind) == picked(checkpoint, provided.model.placed, kind), kind


def picked(names: Iterable[str], types: Mapping[str, str], kind: str) -> list[str]:
    """The tensors in layers of a class, those of the layers in them included."""
    inside = tuple(f"{path}." if path else "" for path, each in types.items() if each == kind)
    return [name for name in names if name.startswith(inside)]
