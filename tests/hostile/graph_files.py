"""Broken and hostile graphs of TensorFlow."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from judge import Case

sys.path.insert(0, str(Path(__file__).parents[1]))
import tensorflow_graphs as tf
from onnx_models import data, number, varint, varints

FLOATS = data(4, bytes(16))


def one(kind: int = tf.FLOAT, sizes: tuple[int, ...] = (4,), content: bytes = FLOATS) -> bytes:
    return tf.graph(tf.constant("w", tf.tensor(kind, sizes, content)))


def cases() -> Iterator[Case]:
    yield Case("a graph", "ok", "w\tfloat32\t4\t4\t16\t\n", one(), "a.pb")
    yield Case(
        "a graph whose one value stands for an exabyte", "ok", "w\tfloat32", one(sizes=(1 << 40,), content=data(5, bytes(4))), "a.pb"
    )
    for name, says, content in broken():
        yield Case(name, "error", says, content, "a.pb")


def broken() -> Iterator[tuple[str, str, bytes]]:
    yield "a graph that is cut", "truncated", one()[:-9]
    yield "a saved model that is cut", "not a checkpoint", tf.saved_model(one())[:-3]
    yield "a shape of more than there is", "takes", one(sizes=(5,))
    yield "a shape of less than there is", "takes", one(sizes=(3,))
    yield "a shape of 2^90 elements", "more elements", one(sizes=(1 << 30,) * 3)
    yield "a negative size", "not known", one(sizes=(-1,))
    yield "a dtype that nobody knows", "dtype 77", one(77)
    yield "two constants of one name", "two constants", tf.graph(*[tf.constant("w", tf.tensor(tf.FLOAT, (4,), FLOATS))] * 2)
    yield "elements twice", "twice", one(content=FLOATS + data(5, bytes(16)))
    yield "content twice", "twice", one(content=FLOATS * 2)
    yield "more floats than the shape", "takes", one(sizes=(3,), content=data(5, bytes(16)))
    yield "half a float", "takes", one(content=data(5, bytes(7)))
    yield "more ints than the shape", "takes", one(tf.INT32, (2,), varints(7, 1, 2, 3))
    yield "very many ints", "takes", one(tf.INT32, (2,), data(7, bytes(1000)))
    yield "an int that is cut off", "cut off", one(tf.INT32, (2,), data(7, b"\xff\xff"))
    yield "packed floats in pieces", "pieces", one(content=data(5, bytes(8)) * 2)
    yield "a node that is longer than its graph", "truncated", data(1, data(1, "w") + data(2, "Const"), 1 << 40)
    yield "an attribute longer than its node", "truncated", tf.graph(data(1, "w") + data(2, "Const") + data(5, b"xx", 1 << 40))
    yield "a name of a gigabyte", "truncated", tf.graph(data(1, "w") + data(2, "Const") + varint(1 << 3 | 2) + varint(1 << 30))
    yield "a name that is a number", "no text", tf.graph(data(1, "w") + data(2, "Const") + number(1, 3))
