"""Makes the checkpoints of this folder with TensorFlow itself, and says in expect.json what TensorFlow reads in them.

    python make.py      in an environment that has TensorFlow (`make oracle` makes one)

They keep the tests of the readers apart from the project's own encoder, where the real checkpoints of CKPT_CASES are not at hand.
"""

from __future__ import annotations

import json
import os
import shutil
from hashlib import sha256
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
import numpy
import tensorflow as tf

HERE = Path(__file__).resolve().parent


def objects(folder: Path) -> str:
    """tf.train.Checkpoint: variables of several dtypes by their place in a tree of objects, one that is there twice, a counter."""
    dtypes = ("float32", "float64", "float16", "bfloat16", "int8", "int32", "int64", "uint8", "bool", "complex64")
    root = tf.Module()
    root.by_dtype = {name: tf.Variable(tf.cast(tf.reshape(tf.range(6), (2, 3)), name)) for name in dtypes}
    root.scalar = tf.Variable(0.5)
    root.empty = tf.Variable(tf.zeros((0, 4)))
    root.same = root.scalar
    checkpoint = tf.train.Checkpoint(root=root, step=tf.Variable(7, dtype=tf.int64))
    return checkpoint.write(str(folder / "objects"))


def several_files(folder: Path) -> str:
    """Two data files under one index, as several hosts save them (SaveV2 each, MergeV2Checkpoints)."""
    parts = [str(folder / f"part-{number}") for number in range(2)]
    for number, part in enumerate(parts):
        tensors = [tf.random.stateless_normal((5, 4), (number, 1)), tf.range(number, number + 3)]
        tf.raw_ops.SaveV2(prefix=part, tensor_names=[f"host{number}/w", f"host{number}/n"], shape_and_slices=["", ""], tensors=tensors)
    tf.raw_ops.MergeV2Checkpoints(checkpoint_prefixes=parts, destination_prefix=str(folder / "several"), delete_old_dirs=False)
    return str(folder / "several")


def slices(folder: Path) -> str:
    """A partitioned variable: one name, three slices along its rows."""
    whole = tf.random.stateless_normal((7, 3), (3, 4))
    bounds = [(0, 3), (3, 2), (5, 2)]
    tf.raw_ops.SaveV2(
        prefix=str(folder / "slices"),
        tensor_names=["embedding"] * 3 + ["bias"],
        shape_and_slices=[f"7 3 {start},{count}:-" for start, count in bounds] + [""],
        tensors=[*(whole[start : start + count] for start, count in bounds), tf.ones(3)],
    )
    return str(folder / "slices")


def first_format(folder: Path) -> str:
    """The format of before 0.12: one file, compressed blocks."""
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        tf.compat.v1.get_variable("dense/kernel", initializer=tf.random.stateless_normal((8, 4), (5, 6)))
        tf.compat.v1.get_variable("dense/bias", initializer=tf.zeros(4))
        tf.compat.v1.get_variable("global_step", initializer=tf.constant(100, tf.int64))
        session.run(tf.compat.v1.global_variables_initializer())
        saver = tf.compat.v1.train.Saver(write_version=tf.compat.v1.train.SaverDef.V1)
        return saver.save(session, str(folder / "first"), write_meta_graph=False, write_state=False)


def exported(folder: Path) -> str:
    """The variables of a SavedModel."""
    module = tf.Module()
    module.w = tf.Variable(tf.random.stateless_normal((4, 2), (7, 8)), name="w")
    module.f = tf.function(lambda x: x @ module.w, input_signature=[tf.TensorSpec((None, 4))])
    tf.saved_model.save(module, str(folder / "exported"))
    shutil.rmtree(folder / "exported" / "assets", ignore_errors=True)
    return str(folder / "exported" / "variables" / "variables")


def told(prefix: str) -> dict[str, Any]:
    """What TensorFlow reads: name → dtype, shape and SHA-256 of the elements, C-contiguous; strings are left out."""
    reader = tf.train.load_checkpoint(prefix)
    found = {}
    for name, dtype in sorted(reader.get_variable_to_dtype_map().items()):
        if dtype == tf.string:
            continue
        array = numpy.ascontiguousarray(reader.get_tensor(name))
        found[name] = {
            "dtype": dtype.name,
            "shape": reader.get_variable_to_shape_map()[name],
            "sha256": sha256(array.tobytes()).hexdigest(),
        }
    return found


def main() -> None:
    for path in HERE.iterdir():
        if path.suffix != ".py":
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    made = {make.__name__: Path(make(HERE)) for make in (objects, several_files, slices, first_format, exported)}
    expect = {str(prefix.relative_to(HERE)): told(str(prefix)) for prefix in made.values()}
    (HERE / "expect.json").write_text(json.dumps({"tensorflow": tf.__version__, "checkpoints": expect}, indent=1) + "\n")


if __name__ == "__main__":
    main()
