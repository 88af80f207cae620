"""Adapters: low-rank changes to a model (LoRA and its kin), read from the files of the programs that train them."""
