"""Rebuilds sample_models/bert, a model folder that transformers writes: `make samples`. Its last bits are the processor's."""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from transformers import BertConfig, BertForSequenceClassification

HERE = Path(__file__).resolve().parent
STEPS = 60


def fine_tuned() -> BertForSequenceClassification:
    """A BERT of four layers that has learned something about the first token, with its embeddings and its first two layers frozen."""
    sizes = {"vocab_size": 64, "hidden_size": 32, "num_hidden_layers": 4, "num_attention_heads": 4, "intermediate_size": 64}
    torch.manual_seed(10)
    net = BertForSequenceClassification(BertConfig(**sizes, max_position_embeddings=32, num_labels=4))
    for module in (net.bert.embeddings, *net.bert.encoder.layer[:2]):
        module.requires_grad_(False)
    optimizer = torch.optim.AdamW((parameter for parameter in net.parameters() if parameter.requires_grad), lr=3e-3)
    for _ in range(STEPS):
        tokens = torch.randint(1, 64, (16, 8))
        loss = net(tokens, labels=tokens[:, 0] % 4).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return net


def build(folder: Path) -> None:
    """The model, into `folder`; the library makes files that nobody else may read."""
    fine_tuned().save_pretrained(folder)
    for path in folder.iterdir():
        path.chmod(0o644)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=HERE / "bert")
    build(parser.parse_args().folder)
