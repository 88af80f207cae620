"""The one place that says which names are safe in which container.

    container                                       read by                           list
    torch.save: zip, legacy, tar; torch.package     torch.load(weights_only=True)     TORCH: what that takes
    `.metadata` of a distributed checkpoint         pickle.load                       DISTRIBUTED: PLAIN, and the records of that module
    TorchScript, its pickles                        torch.jit.load, in C++            SCRIPT: TORCH, and torch.jit._pickle
    .npy, .npz, .pkl, joblib, Paddle, all others    pickle.load, numpy.load, …        PLAIN: TORCH, numpy's arrays, data types of Python
    Keras' configs, in the module `builtins`        keras.saving                      KERAS_FUNCTIONS, KERAS_FORMS

A name is safe where importing it runs nothing of its author's and calling it with any arguments makes data. Two functions that some
writers need are safe in one form of call alone (`CALLS`): they do whatever their argument says.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from ..formats.encodings.object_nodes import Call, Dict, Global, Tuple, text_of
from ..formats.torch.safe_globals import ALLOWED

# Python's data types. `type` is not among them: with three arguments it makes a class.
_BUILTINS = "set frozenset bytearray bytes complex int float bool str tuple list dict slice range object"
_COLLECTIONS = "OrderedDict defaultdict Counter deque"
# numpy/_core/src/multiarray/methods.c (array_reduce), scalartypes.c.src, numeric.py; numpy 1 has `core` in place of `_core`.
_NUMPY = "multiarray._reconstruct multiarray.scalar numeric._frombuffer"
_NUMPY_CLASSES = "ndarray dtype"
# The types that ml_dtypes adds to numpy's.
_ML_DTYPES = "bfloat16 float8_e4m3fn float8_e5m2 float8_e4m3fnuz float8_e5m2fnuz float8_e4m3b11fnuz float8_e3m4 float8_e4m3 float8_e8m0fnu "
_ML_DTYPES += "float4_e2m1fn float6_e2m3fn float6_e3m2fn int2 int4 uint2 uint4 int1 uint1"
_DISTRIBUTED = "Metadata TensorStorageMetadata BytesStorageMetadata ChunkStorageMetadata MetadataIndex TensorProperties StorageMeta "
_DISTRIBUTED += "_MEM_FORMAT_ENCODING"
_SCRIPT = "build_intlist build_tensorlist build_doublelist build_boollist build_tensor_from_id restore_type_tag"

# keras/{activations,constraints,initializers,losses,metrics,regularizers}/__init__.py, but for those that make an object of any name.
_KERAS = "binary_accuracy binary_crossentropy binary_focal_crossentropy categorical_accuracy categorical_crossentropy "
_KERAS += "categorical_focal_crossentropy categorical_generalized_cross_entropy categorical_hinge celu circle concordance_correlation "
_KERAS += "constant cosine_similarity ctc dice elu exponential gelu glorot_normal glorot_uniform glu hard_shrink hard_sigmoid hard_silu "
_KERAS += "hard_swish hard_tanh he_normal he_uniform hinge huber identity kl_divergence l1 l1_l2 l2 leaky_relu lecun_normal "
_KERAS += "lecun_uniform linear log_cosh log_sigmoid log_softmax max_norm mean_absolute_error mean_absolute_percentage_error "
_KERAS += "mean_squared_error mean_squared_logarithmic_error min_max_norm mish non_neg ones orthogonal orthogonal_regularizer "
_KERAS += "pearson_correlation poisson random_normal random_uniform relu relu6 selu sigmoid silu soft_shrink softmax softplus softsign "
_KERAS += "sparse_categorical_accuracy sparse_categorical_crossentropy sparse_plus sparse_sigmoid sparse_top_k_categorical_accuracy "
_KERAS += "sparsemax squared_hinge squareplus stft swish tanh tanh_shrink threshold top_k_categorical_accuracy truncated_normal tversky "
_KERAS += "unit_norm variance_scaling zeros KLD MAE MAPE MSE MSLE kld kullback_leibler_divergence logcosh mae mape mse msle"
KERAS_FUNCTIONS = frozenset(_KERAS.split())
# Forms that keras/src/saving/serialization_lib.py reads without an import; a __lambda__ is code by itself.
_FORMS = "__keras_tensor__ __tensor__ __numpy__ __bytes__ __ellipsis__ __slice__ __tuple__ __lambda__ object"
KERAS_FORMS = frozenset(_FORMS.split())

_plain = {f"builtins.{name}" for name in _BUILTINS.split()} | {f"collections.{name}" for name in _COLLECTIONS.split()}
_plain |= {f"numpy.{core}.{name}" for core in ("core", "_core") for name in _NUMPY.split()}
_plain |= {f"numpy.{name}" for name in _NUMPY_CLASSES.split()} | {f"ml_dtypes.{name}" for name in _ML_DTYPES.split()}
_plain |= {"_codecs.encode", "copyreg._reconstructor", "joblib.numpy_pickle.NumpyArrayWrapper"}
_distributed = {f"torch.distributed.checkpoint.metadata.{name}" for name in _DISTRIBUTED.split()}
_distributed |= {"torch.distributed.checkpoint.filesystem._StorageInfo", "torch.distributed.checkpoint.filesystem._StoragePrefix"}
_distributed |= {f"pathlib{module}.{name}" for module in ("", "._local") for name in ("PosixPath", "WindowsPath", "PurePosixPath")}

_LOADED = "loading the file elsewhere imports it, and may call it"


class Rules(NamedTuple):
    """What is safe in a container.

    Attributes:
        names: The dotted names that are, as Python 3 calls them.
        refused: What a violation says of any other name.
        persistent: Whether the program that reads the container knows a persistent id of this form.
        own: How the names begin that the container itself defines, in code that is told by itself.
    """

    names: frozenset[str]
    refused: str
    persistent: Callable[[Any], bool]
    own: str = "."

    def allow(self, name: str) -> bool:
        """Whether a name is safe."""
        return name in self.names or name.startswith(self.own)


def _of_torch(pid: Any) -> bool:
    """('storage', class, key, location, numel), or ('module', class, file, source) in old files."""
    return type(pid) is Tuple and len(pid.items) >= 4 and text_of(pid.items[0]) in ("storage", "module")


def _of_torch_tar(pid: Any) -> bool:
    """In the tar files of torch before 0.2 an id is the key of a tensor or a storage."""
    return type(pid) in (int, str) or text_of(pid) is not None


def _none(pid: Any) -> bool:
    return False


TORCH = Rules(ALLOWED, f"{_LOADED}; torch.load(weights_only=True) refuses it", _of_torch)
TORCH_TAR = TORCH._replace(persistent=_of_torch_tar)
SCRIPT = TORCH._replace(names=ALLOWED | {f"torch.jit._pickle.{name}" for name in _SCRIPT.split()}, own="__torch__.")
PLAIN = Rules(ALLOWED | _plain, _LOADED, _none)
DISTRIBUTED = PLAIN._replace(names=PLAIN.names | _distributed)


_BY_FORMAT = {"torch": TORCH, "torch-legacy": TORCH, "torchscript": SCRIPT, "dcp": DISTRIBUTED}


def rules_of(format_name: str) -> Rules:
    """The rules for the pickles in files of a format."""
    return _BY_FORMAT.get(format_name, PLAIN)


def python3_name(named: Global) -> str:
    """The dotted name of a global; a module or name of Python 2 as Python 3 calls it."""
    from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING

    module, name = NAME_MAPPING.get((named.module, named.name), (IMPORT_MAPPING.get(named.module, named.module), named.name))
    return f"{module}.{name}"


def _evaluates_its_argument(call: Call) -> bool:
    """`eval("data", {"data": array})`, as Paddle writes a tensor (python/paddle/framework/io.py)."""
    args = call.arguments()
    if len(args) != 2 or text_of(args[0]) != "data" or type(args[1]) is not Dict:
        return False
    return [text_of(key) for key, _ in args[1].pairs] == ["data"] and not call.kwargs


def _loads_one(call: Call) -> bool:
    return len(call.arguments()) == 1 and not call.kwargs


# Functions that are safe in this form of call, in PLAIN alone. What `_load_from_bytes` is given is searched as a file of torch's.
LOAD_FROM_BYTES = "torch.storage._load_from_bytes"
CALLS: dict[str, Callable[[Call], bool]] = {"builtins.eval": _evaluates_its_argument, LOAD_FROM_BYTES: _loads_one}
# Functions of the lists that call what they are given: beside these, no function is safe in one form alone.
CALLING = frozenset({"torch._tensor._rebuild_from_type_v2", "collections.defaultdict", "copyreg._reconstructor"})
