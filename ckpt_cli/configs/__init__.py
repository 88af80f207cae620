"""Configs: what a file beside the weights says of the model, `config.json` and its relatives, read as data.

    config.py           what a config says; its parts
    finding.py          which config belongs to a checkpoint, and where it lies
    json_text.py        the text of a document with some entries changed, and every other byte as it was
    folder.py           a folder in which configs lie: each file is read once, within limits
    reader.py           what a kind of config consists of; the registry of kinds
    reader_NAME.py      a kind of config each
    sizes.py            layers, hidden size, heads …, from the many spellings
    settings.py         what else is believed: initialisation, padding, dtype
    whole.py            what a model is a part of: a pipeline, a list of modules
    code_allowed.py     whether code that a text names may run
    ties.py             whether input and output embeddings are one tensor, with the defaults of families
    quantisation.py     the entry that says how weights are quantised, and its title
    named_code.py       code that a config names, and that ckpt does not run

Nothing in a config is run, imported or fetched, and no path in it is followed out of its folder.
"""

from .config import Config
from .finding import Found, config_at, config_of, find

__all__ = ["Config", "Found", "config_at", "config_of", "find"]
