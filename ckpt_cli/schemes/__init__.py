"""Schemes: named ways to fill a tensor.

A scheme is a decorated function from a Target and its own parameters to a Distribution. It describes and draws nothing itself. Its
signature is the schema of its arguments; its docstring is what `ckpt schemes` prints: the formula, then a blank line and the source.
torch is imported when elements are drawn, and never for constants.

A new scheme is one function under `@scheme(FAMILY)` in a module of this folder. Packages outside the project announce theirs in the
entry-point group `ckpt_cli.schemes`, and presets in `ckpt_cli.schemes.presets`.

The machinery:
    target.py           what a scheme knows of the tensor to fill
    distribution.py     what a scheme returns
    signature.py        what a rule calls by name: parameters, arguments, documentation
    scheme.py           the decorator and the registry
    fans.py             fan-in and fan-out of a weight
    roles.py            what a tensor is in its layer
    seeds.py            a generator for each tensor
    sampling.py         from a Distribution to bytes
    drawing_rows.py     the same where rows differ
    formula_*.py        formulas: what they may call, their syntax, their evaluation
    packed_values.py    values as text
    rules.py            PATTERN=SCHEME(ARGUMENTS), PATTERN=preset:NAME, PATTERN=keep as text
    rules_file.py       such rules in a TOML file
    user_function.py    FILE.py:FUNCTION as a scheme
    plan.py             how each tensor is filled, as it is shown
    presets/            a scheme for each role, one module a framework or family

The schemes:
    constant.py         one value throughout
    independent.py      independent elements, whatever the shape
    scaling.py          a variance that depends on the fans
    depth.py            a variance that depends on the number of layers
    matrices.py         structured matrices and kernels
    from_values.py      values computed from present ones
    mxnet.py            MXNet's initialisers
    nested.py           rows that are filled otherwise than the rest
    formula.py          values that a formula gives, or that are listed
"""

from .distribution import Computed, Constant, Distribution, InPlace, Normal, Rows, Uniform
from .scheme import Scheme, scheme, schemes
from .target import Target

__all__ = ["Computed", "Constant", "Distribution", "InPlace", "Normal", "Rows", "Scheme", "Target", "Uniform", "scheme", "schemes"]
