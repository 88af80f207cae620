"""The syntax of formulas: Python's, of which a small part is allowed. A formula is parsed, never compiled.

    dt = exp(uniform(log(0.001), log(0.1))); dt + log(-expm1(-dt))

Statements are separated by `;`. Each gives a value a name, or changes a part of a named value (`t[:, ::2] = sin(x)`); the last is the value
of the formula. The operators are those of arithmetic and comparison, and subscripts.
"""

from __future__ import annotations

import ast

from ..errors import UsageError, did_you_mean
from .formula_functions import CONSTANTS, DRAWS, DTYPES, FACTORIES, FUNCTIONS

_MOST_CHARACTERS = 100_000
_MOST_NODES = 20_000
_DEEPEST = 60
_NODES = (
    ast.Module, ast.Expr, ast.Assign, ast.Name, ast.Load, ast.Store, ast.Constant, ast.Tuple, ast.List, ast.BinOp, ast.UnaryOp, ast.Compare,
    ast.Call, ast.keyword, ast.Subscript, ast.Slice, ast.operator, ast.unaryop, ast.cmpop,
)  # fmt: skip
_NUMBER_OPERATORS = (
    ast.Add, ast.Sub, ast.Mult, ast.Div, ast.FloorDiv, ast.Mod, ast.Pow, ast.USub, ast.UAdd, ast.Lt, ast.LtE, ast.Gt, ast.GtE, ast.Eq,
    ast.NotEq,
)  # fmt: skip
_CALLED = FUNCTIONS | FACTORIES | DRAWS.keys()
_KNOWN = {*CONSTANTS, *DTYPES, "shape"}
_MEND = "see `ckpt schemes formula`"


def parsed(text: str) -> list[ast.stmt]:
    """Parse a formula into its statements, of which the last is an expression.

    Raises:
        UsageError: it is none, or too long, or uses what formulas do not have.
    """
    if len(text) > _MOST_CHARACTERS:
        raise UsageError(f"a formula of {len(text)} characters is too long", f"the most is {_MOST_CHARACTERS}")
    import warnings

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            module = ast.parse(text.strip())
    except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
        what = getattr(error, "msg", None) or type(error).__name__
        raise UsageError(f"{_shown(text)} is no formula: {what}", _MEND) from None
    _require_small(module, text)
    _require_known(module)
    if not module.body or not isinstance(module.body[-1], ast.Expr):
        raise UsageError(f"{_shown(text)} gives no value", "end with an expression: x = arange(4); sin(x)")
    return module.body


def is_random(statements: list[ast.stmt]) -> bool:
    """Return whether a formula draws numbers."""
    called = {
        node.func.id for top in statements for node in ast.walk(top) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }
    return bool(called & (DRAWS.keys() - {"dirac"}))


def _shown(text: str) -> str:
    return repr(text if len(text) < 60 else f"{text[:57]}…")


def _require_small(module: ast.Module, text: str) -> None:
    level: list[ast.AST] = [module]
    count = depth = 0
    while level:
        count, depth = count + len(level), depth + 1
        if depth > _DEEPEST or count > _MOST_NODES:
            raise UsageError(f"{_shown(text)} is nested too deeply or too long", "give parts of it a name: x = arange(4); sin(x)")
        level = [child for node in level for child in ast.iter_child_nodes(node)]


def _require_known(module: ast.Module) -> None:
    """Refuse everything but the allowed nodes, operators and names."""
    assigned: set[str] = set()
    for top in module.body:
        if not isinstance(top, ast.Assign | ast.Expr):
            raise UsageError(f"a formula has no {type(top).__name__.lower()} statement", _MEND)
        functions = {id(node.func) for node in ast.walk(top) if isinstance(node, ast.Call)}
        for node in ast.walk(top.value):
            _require_node(node, assigned, id(node) in functions)
        if isinstance(top, ast.Assign):
            assigned.add(_target(top, assigned))


def _target(statement: ast.Assign, assigned: set[str]) -> str:
    """The name that a statement assigns to, or changes a part of."""
    (target, *others) = statement.targets
    name = target.value if isinstance(target, ast.Subscript) else target
    if others or not isinstance(name, ast.Name) or name.id in _CALLED or name.id in _KNOWN or name.id.startswith("_"):
        raise UsageError("this cannot be assigned to", "write NAME = VALUE or NAME[…] = VALUE, and no name that formulas have")
    if isinstance(target, ast.Subscript):
        for node in ast.walk(target):
            _require_node(node, assigned, False)
    return name.id


def _require_node(node: ast.AST, assigned: set[str], is_function: bool) -> None:
    if isinstance(node, ast.operator | ast.unaryop | ast.cmpop):
        allowed = isinstance(node, _NUMBER_OPERATORS)
    elif isinstance(node, ast.Constant):
        allowed = isinstance(node.value, int | float | str | None) and not (isinstance(node.value, int) and abs(node.value) >= 1 << 63)
    else:
        allowed = isinstance(node, _NODES)
    if not allowed:
        raise UsageError(f"a formula has no {_kind(node)}", _MEND)
    if isinstance(node, ast.Compare) and len(node.ops) > 1:
        raise UsageError("a formula compares two values at a time", _MEND)
    if isinstance(node, ast.Call) and not isinstance(node.func, ast.Name):
        raise UsageError("a formula calls functions by their plain name", _MEND)
    if isinstance(node, ast.Name) and node.id not in (_CALLED if is_function else _KNOWN | assigned):
        mend = did_you_mean(node.id, _CALLED if is_function else _KNOWN | assigned)
        raise UsageError(f"a formula has no {'function' if is_function else 'value'} {node.id:.40}", mend or _MEND)


def _kind(node: ast.AST) -> str:
    """What a node is, in a user's words."""
    names: dict[type, str] = {
        ast.Attribute: "attributes",
        ast.Lambda: "lambda",
        ast.IfExp: "if",
        ast.Starred: "*",
        ast.JoinedStr: "f-strings",
    }
    return "such number" if isinstance(node, ast.Constant) else names.get(type(node), type(node).__name__.lower())
