"""Schemes: named ways to fill a tensor.

A scheme is a pure description: a decorated function from a Target and its own parameters to a Draw. Its signature is its
schema, its docstring (formula, then source) its documentation. torch is imported when a Draw is drawn, and for constants never.

    target.py    what a scheme may know            draws.py     what it may answer
    scheme.py    the decorator and the registry    drawing.py   from a Draw to bytes
    rules.py     PATTERN=SCHEME(ARGS)              seeds.py     a generator for each tensor
    roles.py     what a tensor is in its layer     presets/     a scheme for each role
    user.py      FILE.py:FUNCTION                  the rest: one file a family
"""

from .scheme import Scheme, scheme, schemes
from .target import Target

__all__ = ["Scheme", "Target", "scheme", "schemes"]
