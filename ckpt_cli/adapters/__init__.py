"""Adapters: low-rank changes to a model (LoRA and its kin) in the files of the programs that train them, read as changes of named tensors."""
