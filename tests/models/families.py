"""Tiny models of some 80 families, each built from its config without a download: `python tests/models/families.py FOLDER [NAME…]`.

A family is what its library's own writer puts into a folder: `config.json` and `model.safetensors` (of torchvision the weights alone).
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from torch import nn

# Read when the libraries are imported: nothing is fetched, and no kernels of the hub are used.
os.environ |= {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error", "USE_HUB_KERNELS": "NO"}


class Family(NamedTuple):
    """A tiny model of one family.

    Attributes:
        library: `transformers`, `diffusers`, `timm`, or `torchvision`.
        class_name: the class of the library, or its function that makes the model.
        config: what the class is given; for transformers with its `model_type`.
    """

    library: str
    class_name: str
    config: dict[str, Any]


# What most configs of transformers call their sizes; a family overrides what it calls otherwise.
TEXT: dict[str, Any] = {
    "vocab_size": 99,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
GROUPED = TEXT | {"num_key_value_heads": 2}
EXPERTS = GROUPED | {"moe_intermediate_size": 24, "num_experts": 4, "num_experts_per_tok": 2}
GEMMA = GROUPED | {"head_dim": 8}
GPT = {"vocab_size": 99, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64, "bos_token_id": 1, "eos_token_id": 2}
SEQ2SEQ = {
    "vocab_size": 99,
    "d_model": 32,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 48,
    "decoder_ffn_dim": 48,
    "max_position_embeddings": 64,
    "pad_token_id": 1,
    "bos_token_id": 0,
    "eos_token_id": 2,
    "decoder_start_token_id": 2,
}
T5 = {
    "vocab_size": 99,
    "d_model": 32,
    "d_kv": 8,
    "d_ff": 48,
    "num_layers": 2,
    "num_decoder_layers": 2,
    "num_heads": 4,
    "relative_attention_num_buckets": 8,
    "decoder_start_token_id": 0,
}
SPEECH = TEXT | {
    "conv_dim": [16, 16],
    "conv_stride": [5, 2],
    "conv_kernel": [10, 3],
    "num_feat_extract_layers": 2,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 4,
    "mask_feature_prob": 0.5,
}
VIT = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4, "image_size": 16, "patch_size": 8}
STAGES = {"num_stages": 2, "hidden_sizes": [16, 32], "depths": [1, 2]}
CLIP = {
    "text_config": {k: v for k, v in TEXT.items() if k != "max_position_embeddings"}
    | {"max_position_embeddings": 16, "projection_dim": 24},
    "vision_config": VIT | {"projection_dim": 24},
    "projection_dim": 24,
}
LLAMA_TEXT = GROUPED | {"model_type": "llama"}
LABELS = {"num_labels": 3}
LARGE = 20 << 20
TINY_VAE = {
    "block_out_channels": [16, 16],
    "down_block_types": ["DownEncoderBlock2D"] * 2,
    "up_block_types": ["UpDecoderBlock2D"] * 2,
    "norm_num_groups": 8,
    "sample_size": 16,
}


def hf(model_type: str, class_name: str, sizes: dict[str, Any], **more: Any) -> Family:
    """Return a family of transformers."""
    return Family("transformers", class_name, {"model_type": model_type, **sizes, **more})


FAMILIES: dict[str, Family] = {
    # Language models that read from left to right.
    "gpt2": hf("gpt2", "GPT2LMHeadModel", GPT),
    "gpt_neo": hf("gpt_neo", "GPTNeoForCausalLM", TEXT, num_layers=2, num_heads=4, attention_types=[[["global", "local"], 1]]),
    "gpt_neox": hf("gpt_neox", "GPTNeoXForCausalLM", TEXT),
    "gptj": hf("gptj", "GPTJForCausalLM", GPT, rotary_dim=4),
    "llama": hf("llama", "LlamaForCausalLM", GROUPED),
    "mistral": hf("mistral", "MistralForCausalLM", GROUPED),
    "qwen2": hf("qwen2", "Qwen2ForCausalLM", GROUPED),
    "qwen3": hf("qwen3", "Qwen3ForCausalLM", GROUPED, head_dim=8),
    "gemma": hf("gemma", "GemmaForCausalLM", GEMMA),
    "gemma2": hf("gemma2", "Gemma2ForCausalLM", GEMMA),
    "gemma3_text": hf("gemma3_text", "Gemma3ForCausalLM", GEMMA),
    "phi": hf("phi", "PhiForCausalLM", GROUPED),
    "phi3": hf("phi3", "Phi3ForCausalLM", GROUPED),
    "olmo2": hf("olmo2", "Olmo2ForCausalLM", GROUPED),
    "mixtral": hf("mixtral", "MixtralForCausalLM", GROUPED, num_local_experts=4),
    # Encoders, with several heads of BERT.
    "bert": hf("bert", "BertModel", TEXT),
    "bert_mlm": hf("bert", "BertForMaskedLM", TEXT),
    "bert_classifier": hf("bert", "BertForSequenceClassification", TEXT, **LABELS),
    "roberta": hf("roberta", "RobertaForMaskedLM", TEXT, pad_token_id=1),
    "distilbert": hf("distilbert", "DistilBertForMaskedLM", TEXT, dim=32, n_layers=2, n_heads=4, hidden_dim=48),
    # With an encoder and a decoder.
    "t5": hf("t5", "T5ForConditionalGeneration", T5),
    "t5_gated": hf("mt5", "MT5ForConditionalGeneration", T5, feed_forward_proj="gated-gelu", tie_word_embeddings=False),
    "bart": hf("bart", "BartForConditionalGeneration", SEQ2SEQ),
    # Images, with text and without.
    "vit": hf("vit", "ViTForImageClassification", VIT, **LABELS),
    "clip": hf("clip", "CLIPModel", CLIP),
    "convnext": hf("convnext", "ConvNextForImageClassification", STAGES, **LABELS),
    "resnet": hf("resnet", "ResNetForImageClassification", STAGES, embedding_size=16, layer_type="bottleneck", **LABELS),
    # Sound.
    "whisper": hf("whisper", "WhisperForConditionalGeneration", SEQ2SEQ, num_mel_bins=8, max_source_positions=32, max_target_positions=16),
    "wav2vec2": hf("wav2vec2", "Wav2Vec2ForCTC", SPEECH),
    # State spaces.
    "mamba": hf("mamba", "MambaForCausalLM", TEXT, state_size=8, time_step_rank=4),
    # Diffusion.
    "unet": Family(
        "diffusers",
        "UNet2DConditionModel",
        {
            "block_out_channels": [8, 16],
            "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D"],
            "up_block_types": ["CrossAttnUpBlock2D", "UpBlock2D"],
            "layers_per_block": 1,
            "norm_num_groups": 4,
            "cross_attention_dim": 16,
            "attention_head_dim": 4,
            "sample_size": 16,
        },
    ),
    "vae": Family("diffusers", "AutoencoderKL", TINY_VAE),
    "gpt2_classifier": hf("gpt2", "GPT2ForSequenceClassification", GPT, pad_token_id=0, **LABELS),
    "llama_tied": hf("llama", "LlamaForCausalLM", GROUPED, tie_word_embeddings=True, attention_bias=True),
    "qwen3_moe": hf("qwen3_moe", "Qwen3MoeForCausalLM", EXPERTS, head_dim=8),
    "deepseek_v3": hf(
        "deepseek_v3",
        "DeepseekV3ForCausalLM",
        GROUPED,
        num_key_value_heads=4,
        moe_intermediate_size=24,
        n_routed_experts=4,
        num_experts_per_tok=2,
        n_group=2,
        topk_group=1,
        first_k_dense_replace=1,
        kv_lora_rank=8,
        q_lora_rank=16,
        qk_rope_head_dim=4,
        qk_nope_head_dim=8,
        v_head_dim=8,
    ),
    "stablelm": hf("stablelm", "StableLmForCausalLM", GROUPED),
    "falcon": hf("falcon", "FalconForCausalLM", TEXT),
    "cohere": hf("cohere", "CohereForCausalLM", GROUPED),
    "opt": hf("opt", "OPTForCausalLM", TEXT, ffn_dim=48, word_embed_proj_dim=16),
    "bloom": hf("bloom", "BloomForCausalLM", {"vocab_size": 99, "hidden_size": 32, "n_layer": 2, "n_head": 4}),
    "mpt": hf("mpt", "MptForCausalLM", {"vocab_size": 99, "d_model": 32, "n_layers": 2, "n_heads": 4, "max_seq_len": 64}),
    "codegen": hf("codegen", "CodeGenForCausalLM", GPT, rotary_dim=4),
    "granite": hf("granite", "GraniteForCausalLM", GROUPED),
    "gpt_bigcode": hf("gpt_bigcode", "GPTBigCodeForCausalLM", GPT),
    "gpt_oss": hf("gpt_oss", "GptOssForCausalLM", GROUPED, num_local_experts=4, head_dim=8),
    "electra": hf("electra", "ElectraForPreTraining", TEXT, embedding_size=16),
    "albert": hf("albert", "AlbertForMaskedLM", TEXT, embedding_size=16),
    "deberta_v2": hf(
        "deberta-v2",
        "DebertaV2ForMaskedLM",
        TEXT,
        relative_attention=True,
        position_buckets=8,
        norm_rel_ebd="layer_norm",
        share_att_key=True,
        pos_att_type=["p2c", "c2p"],
    ),
    "mobilebert": hf("mobilebert", "MobileBertForMaskedLM", TEXT, embedding_size=16, intra_bottleneck_size=16, true_hidden_size=16),
    "xlnet": hf("xlnet", "XLNetLMHeadModel", {"vocab_size": 99, "d_model": 32, "n_layer": 2, "n_head": 4, "d_inner": 48}),
    "longformer": hf("longformer", "LongformerForMaskedLM", TEXT, attention_window=[4, 4], pad_token_id=1),
    "modernbert": hf("modernbert", "ModernBertForMaskedLM", TEXT, global_attn_every_n_layers=2, cls_token_id=1, sep_token_id=2),
    "xlm_roberta": hf("xlm-roberta", "XLMRobertaForTokenClassification", TEXT, pad_token_id=1, **LABELS),
    "mbart": hf("mbart", "MBartForConditionalGeneration", SEQ2SEQ),
    "pegasus": hf("pegasus", "PegasusForConditionalGeneration", SEQ2SEQ, pad_token_id=0),
    "marian": hf("marian", "MarianMTModel", SEQ2SEQ, pad_token_id=98, decoder_start_token_id=98),
    "prophetnet": hf(
        "prophetnet",
        "ProphetNetForConditionalGeneration",
        {"vocab_size": 99, "hidden_size": 32, "max_position_embeddings": 64, "pad_token_id": 0},
        encoder_ffn_dim=48,
        decoder_ffn_dim=48,
        num_encoder_layers=1,
        num_decoder_layers=1,
        num_encoder_attention_heads=4,
        num_decoder_attention_heads=4,
    ),
    "deit": hf("deit", "DeiTForImageClassificationWithTeacher", VIT, **LABELS),
    "beit": hf("beit", "BeitForImageClassification", VIT, use_relative_position_bias=True, use_mask_token=True, out_indices=[1], **LABELS),
    "swin": hf(
        "swin", "SwinForImageClassification", {}, image_size=16, patch_size=2, embed_dim=8, depths=[1, 2], num_heads=[2, 4], window_size=4
    ),
    "dinov2": hf("dinov2", "Dinov2ForImageClassification", VIT, mlp_ratio=2, **LABELS),
    "convnextv2": hf("convnextv2", "ConvNextV2ForImageClassification", STAGES, **LABELS),
    "resnet_basic": hf("resnet", "ResNetForImageClassification", STAGES, embedding_size=16, layer_type="basic", **LABELS),
    "mobilenet_v2": hf("mobilenet_v2", "MobileNetV2ForImageClassification", {}, depth_multiplier=0.125, min_depth=8, **LABELS),
    "segformer": hf(
        "segformer",
        "SegformerForSemanticSegmentation",
        {},
        num_encoder_blocks=2,
        depths=[1, 1],
        sr_ratios=[2, 1],
        hidden_sizes=[16, 32],
        patch_sizes=[7, 3],
        strides=[4, 2],
        num_attention_heads=[2, 4],
        mlp_ratios=[2, 2],
        decoder_hidden_size=16,
        **LABELS,
    ),
    "detr": hf(
        "detr",
        "DetrForObjectDetection",
        {k: v for k, v in SEQ2SEQ.items() if "token" not in k and "vocab" not in k},
        num_queries=5,
        use_timm_backbone=False,
        use_pretrained_backbone=False,
        backbone=None,
        backbone_config={"model_type": "resnet", **STAGES, "embedding_size": 16, "layer_type": "basic", "out_features": ["stage2"]},
        **LABELS,
    ),
    "siglip": hf("siglip", "SiglipModel", {"text_config": CLIP["text_config"], "vision_config": VIT}),
    "blip": hf(
        "blip",
        "BlipForConditionalGeneration",
        CLIP,
        text_config=CLIP["text_config"] | {"encoder_hidden_size": 32},
        image_text_hidden_size=16,
    ),
    "llava": hf(
        "llava",
        "LlavaForConditionalGeneration",
        {"vision_config": VIT | {"model_type": "clip_vision_model", "projection_dim": 24}, "text_config": LLAMA_TEXT},
    ),
    "sam": hf(
        "sam",
        "SamModel",
        {
            "vision_config": VIT
            | {"mlp_dim": 48, "output_channels": 16, "global_attn_indexes": [1], "window_size": 2, "num_pos_feats": 8, "mlp_ratio": 2.0},
            "prompt_encoder_config": {"hidden_size": 16, "image_size": 16, "patch_size": 8, "mask_input_channels": 4},
            "mask_decoder_config": {"hidden_size": 16, "mlp_dim": 24, "num_attention_heads": 2, "iou_head_hidden_dim": 16},
        },
    ),
    "hubert": hf("hubert", "HubertForCTC", SPEECH),
    "speech_to_text": hf(
        "speech_to_text",
        "Speech2TextForConditionalGeneration",
        SEQ2SEQ,
        input_feat_per_channel=8,
        conv_channels=16,
        max_source_positions=64,
        max_target_positions=32,
    ),
    "ast": hf(
        "audio-spectrogram-transformer",
        "ASTForAudioClassification",
        VIT,
        max_length=32,
        num_mel_bins=16,
        frequency_stride=8,
        time_stride=8,
        **LABELS,
    ),
    "mamba2": hf("mamba2", "Mamba2ForCausalLM", TEXT, num_heads=8, head_dim=8, state_size=8, n_groups=2),
    "rwkv": hf("rwkv", "RwkvForCausalLM", TEXT, attention_hidden_size=32, context_length=64),
    "falcon_mamba": hf("falcon_mamba", "FalconMambaForCausalLM", TEXT, state_size=8, time_step_rank=4),
    "jamba": hf(
        "jamba",
        "JambaForCausalLM",
        GROUPED,
        num_experts=2,
        mamba_d_state=8,
        mamba_dt_rank=4,
        attn_layer_period=2,
        attn_layer_offset=1,
        expert_layer_period=2,
        expert_layer_offset=1,
        use_mamba_kernels=False,
    ),
    "unet_unconditional": Family(
        "diffusers",
        "UNet2DModel",
        {
            "block_out_channels": [8, 16],
            "down_block_types": ["DownBlock2D", "AttnDownBlock2D"],
            "up_block_types": ["AttnUpBlock2D", "UpBlock2D"],
            "layers_per_block": 1,
            "norm_num_groups": 4,
            "attention_head_dim": 4,
            "sample_size": 16,
        },
    ),
    "dit": Family(
        "diffusers",
        "DiTTransformer2DModel",
        {
            "num_attention_heads": 2,
            "attention_head_dim": 8,
            "num_layers": 2,
            "sample_size": 8,
            "num_embeds_ada_norm": 10,
            "norm_num_groups": 4,
        },
    ),
    "sd3": Family(
        "diffusers",
        "SD3Transformer2DModel",
        {
            "sample_size": 8,
            "num_layers": 2,
            "attention_head_dim": 8,
            "num_attention_heads": 2,
            "joint_attention_dim": 16,
            "caption_projection_dim": 16,
            "pooled_projection_dim": 16,
            "pos_embed_max_size": 8,
        },
    ),
    "flux": Family(
        "diffusers",
        "FluxTransformer2DModel",
        {
            "in_channels": 4,
            "num_layers": 1,
            "num_single_layers": 1,
            "attention_head_dim": 16,
            "num_attention_heads": 2,
            "joint_attention_dim": 16,
            "pooled_projection_dim": 16,
            "axes_dims_rope": [4, 4, 8],
        },
    ),
    # timm and torchvision: the smallest of each kind, with arguments and without.
    "timm_resnet": Family("timm", "resnet10t", {"num_classes": 3}),
    "timm_vit": Family("timm", "vit_tiny_patch16_224", {"num_classes": 3, "depth": 2, "embed_dim": 48}),
    "timm_convnext": Family("timm", "convnext_atto", {"num_classes": 3, "dims": [8, 16, 24, 32], "depths": [1, 1, 2, 1]}),
    "timm_mobilenetv3": Family("timm", "mobilenetv3_small_050", {"num_classes": 3}),
    "timm_efficientnet": Family("timm", "efficientnet_b0", {"num_classes": 3}),
    "timm_mixer": Family("timm", "mixer_s32_224", {"num_classes": 3}),
    "timm_swin": Family(
        "timm", "swin_tiny_patch4_window7_224", {"num_classes": 3, "embed_dim": 12, "depths": [1, 1], "num_heads": [2, 4], "img_size": 56}
    ),
    "timm_resnet18": Family("timm", "resnet18", {}),
    "timm_beit": Family("timm", "beit_base_patch16_224", {"num_classes": 3, "depth": 2, "embed_dim": 48, "num_heads": 4}),
    "timm_nfnet": Family("timm", "test_nfnet", {"num_classes": 3}),
    "timm_mambaout": Family("timm", "test_mambaout", {"num_classes": 3}),
    "timm_vit_relpos": Family("timm", "test_vit_relpos", {"num_classes": 3}),
    "torchvision_resnet18": Family("torchvision", "resnet18", {"num_classes": 3}),
    "torchvision_mobilenet_v2": Family("torchvision", "mobilenet_v2", {"num_classes": 3}),
    "torchvision_squeezenet": Family("torchvision", "squeezenet1_1", {}),
    "torchvision_vgg11": Family("torchvision", "vgg11_bn", {}),
    "torchvision_convnext": Family("torchvision", "convnext_tiny", {"num_classes": 3}),
    "torchvision_swin": Family("torchvision", "swin_t", {"num_classes": 3}),
    "torchvision_vit": Family("torchvision", "vit_b_32", {"num_classes": 3}),
}


def transformers_config(family: Family) -> Any:
    """Return the config object of a family of transformers, with the class as its architecture."""
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    entries = {key: value for key, value in family.config.items() if key != "model_type"}
    config = CONFIG_MAPPING[family.config["model_type"]](**entries)
    config.architectures = [family.class_name]
    return config


def build(family: Family) -> nn.Module:
    """Build a family's model as its library does by itself, on the CPU."""
    import importlib

    library = importlib.import_module(family.library)
    if family.library == "transformers":
        return getattr(library, family.class_name)(transformers_config(family))
    if family.library == "timm":
        return library.create_model(family.class_name, pretrained=False, **family.config)
    if family.library == "torchvision":
        return library.models.get_model(family.class_name, weights=None, **family.config)
    return getattr(library, family.class_name)(**family.config)


def save(family: Family, model: nn.Module, folder: Path) -> None:
    """Write a model as its library does. A large one of timm or torchvision is its header alone, before zeros that take no space."""
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    if family.library in ("transformers", "diffusers"):
        model.save_pretrained(folder)
        return
    weights = folder / "model.safetensors"
    save_file(model.state_dict(), weights, {"format": "pt"})
    if (size := weights.stat().st_size) > LARGE:
        with weights.open("r+b") as file:
            header = 8 + int.from_bytes(file.read(8), "little")
            file.truncate(header)
            file.truncate(size)
    save_config(family, model, folder)


def save_config(family: Family, model: nn.Module, folder: Path) -> None:
    """Write the config of a model of timm as its writer for the hub does; torchvision has none."""
    if family.library == "timm":
        from timm.models._hub import save_config_for_hf

        save_config_for_hf(model, str(folder / "config.json"))


def main() -> None:
    """Build the families named, or all, into a folder."""
    import torch

    folder, *names = sys.argv[1:]
    for name in names or FAMILIES:
        torch.manual_seed(0)
        try:
            save(FAMILIES[name], build(FAMILIES[name]), Path(folder, name))
        except Exception as error:
            print(name, "FAIL", type(error).__name__, str(error)[:300], flush=True)
            continue
        size = next(Path(folder, name).glob("*.safetensors")).stat().st_size
        print(json.dumps({"family": name, "bytes": size}), flush=True)


if __name__ == "__main__":
    main()
