"""Files that run code as they are loaded elsewhere, built by code: a case for each gadget, opcode trick and container that was published.

After the advisories of picklescan (GHSA-655q-fx9r-782v, -769v-p64c-89pr, -w8jq-xcqf-f792, -mjqp-26hc-grxg, -7q5r-7gvp-wc82,
-jgw4-cr84-mqxg, -9gvj-pp9x-gcfr and others), the tests of fickling and modelscan, "Sleepy Pickle" (Trail of Bits, 2024), nullifAI
(ReversingLabs, 2025). Every payload is harmless: it would leave a file called `canary`.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import pickle
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from struct import pack
from typing import NamedTuple

import legacy
import zips
from pickles import HOOKS, Raw, built, call, enc, name, pickled, tensor

TOUCH = "touch canary"


class Unsafe(NamedTuple):
    """A file, and the names that `check --safe` gives for it; none where a part of it cannot be understood."""

    title: str
    names: tuple[str, ...]
    content: bytes
    file: str = "a.pkl"


SYSTEM = call(name("os", "system"), TOUCH)
EVIL = pickled({"w": 1, "x": SYSTEM})
GOOD = pickled({"w": 1})
WEIGHTS = pickled({"w": tensor()})

# Module and function → arguments. What each would do is in its documentation; other names of one function are gadgets of their own.
GADGETS = """
os.system posix.system nt.system os.popen os.execv os.spawnl os.posix_spawn os.putenv os.remove os.unlink shutil.rmtree shutil.move
subprocess.Popen subprocess.call subprocess.run subprocess.check_output subprocess.getoutput _posixsubprocess.fork_exec pty.spawn
builtins.eval builtins.exec builtins.compile builtins.open builtins.getattr builtins.setattr builtins.__import__ builtins.globals
builtins.vars builtins.breakpoint builtins.input builtins.map builtins.filter builtins.print builtins.type builtins.super
builtins.memoryview io.open io.FileIO _io.FileIO codecs.open pathlib.Path.write_text tempfile.mktemp linecache.getline fileinput.input
operator.attrgetter operator.methodcaller operator.itemgetter _operator.attrgetter _operator.methodcaller operator.call functools.partial
functools.reduce functools.cached_property functools.singledispatch _functools.partial itertools.starmap itertools.chain
importlib.import_module importlib.__import__ importlib.reload importlib.machinery.SourceFileLoader runpy.run_path runpy.run_module
runpy._run_code pkgutil.resolve_name zipimport.zipimporter types.CodeType types.FunctionType types.MethodType marshal.loads pickle.loads
pickle.load _pickle.loads pickle.Unpickler cloudpickle.loads dill.loads dill._dill._create_function joblib.load shelve.open
cloudpickle.cloudpickle._make_function cloudpickle.cloudpickle._builtin_type copyreg._reconstructor copyreg.add_extension copy.deepcopy
code.InteractiveInterpreter code.InteractiveConsole codeop.compile_command bdb.Bdb bdb.Bdb.run pdb.run pdb.Pdb trace.Trace cProfile.run
cProfile.runctx profile.run profile.runctx profile.Profile.run profile.Profile.runctx timeit.timeit timeit.repeat timeit.main
doctest.debug_script doctest.run_docstring_examples unittest.main lib2to3.pgen2.grammar.Grammar.loads
lib2to3.pgen2.pgen.ParserGenerator.make_label idlelib.autocomplete.AutoComplete.get_entity
idlelib.autocomplete.AutoComplete.fetch_completions idlelib.calltip.Calltip.fetch_tip idlelib.calltip.get_entity
idlelib.debugobj.ObjectTreeItem.SetText idlelib.pyshell.ModifiedInterpreter.runcode idlelib.pyshell.ModifiedInterpreter.runcommand
idlelib.run.Executive.runcode pip.main pip._internal.main pip._internal.cli.main.main ensurepip._run_pip ensurepip.bootstrap venv.create
venv.main _pyrepl.pager.pipe_pager pydoc.pipepager pydoc.locate pydoc.importfile pydoc.pager _aix_support._read_cmd_output
_osx_support._read_output distutils.file_util.write_file distutils.spawn.spawn setuptools.sandbox.run_setup
test.support.script_helper.assert_python_ok multiprocessing.Process multiprocessing.util.spawnv_passfds
multiprocessing.reduction.ForkingPickler concurrent.futures.ProcessPoolExecutor threading.Thread asyncio.run
asyncio.create_subprocess_shell asyncio.unix_events._UnixSubprocessTransport._start signal.signal sched.scheduler atexit.register
weakref.finalize sys.settrace sys.exit os._exit gc.callbacks ctypes.CDLL ctypes.cdll.LoadLibrary ctypes.util.find_library _ctypes.dlopen
cffi.FFI mmap.mmap socket.create_connection socket.socket urllib.request.urlopen urllib.request.urlretrieve http.client.HTTPSConnection
requests.get requests.api.get ssl.get_server_certificate smtplib.SMTP ftplib.FTP telnetlib.Telnet poplib.POP3 imaplib.IMAP4_stream
aiohttp.client.ClientSession httplib.HTTPConnection webbrowser.open xmlrpc.client.ServerProxy logging.config.listen
logging.config.dictConfig logging.FileHandler sqlite3.connect dbm.open uuid._get_command_stdout platform.popen commands.getoutput
popen2.popen3 imp.load_source imp.load_dynamic _imp.create_dynamic numpy.testing._private.utils.runstring
numpy.f2py.crackfortran._eval_length numpy.f2py.crackfortran.getlincoef numpy.f2py.crackfortran.param_eval numpy.load numpy.loadtxt
numpy.save numpy.core.multiarray.fromfile numpy.memmap numpy.ctypeslib.load_library numpy.vectorize numpy.testing.rundocs
numpy.distutils.exec_command.exec_command numpy.lib.npyio.DataSource numpy.ma.core._mareconstruct torch.load torch.hub.load torch.jit.load
torch.jit.unsupported_tensor_ops.execWrapper torch.utils._config_module.load_config torch.utils._config_module.ConfigModule.load_config
torch._dynamo.guards.GuardBuilder.get torch._inductor.codecache.compile_file torch.utils.bottleneck.__main__.run_cprofile
torch.utils.bottleneck.__main__.run_autograd_prof torch.utils.collect_env.run torch.utils.data.datapipes.utils.decoder.basichandlers
torch.utils.cpp_extension.load torch.fx.experimental.symbolic_shapes.ShapeEnv.evaluate_guards_expression
torch.distributed.rpc.internal._run_function torch.ops.load_library torch.package.PackageImporter torch._utils._rebuild_foreign
torch.serialization.load torch.serialization.os.system torch.nn.Module torch.multiprocessing.reductions.rebuild_storage_fd
tensorflow.io.read_file tensorflow.keras.models.load_model keras.models.load_model keras.utils.get_file pandas.read_pickle pandas.eval
pandas.io.common.get_handle sklearn.utils._testing.assert_run_python_script scipy.io.loadmat jax._src.array._reconstruct_array
nltk.app.wordnet_app.page_from_reference cgitb.lookup __main__.payload evil.payload builtins.object.__reduce_ex__ builtins.str.format
antigravity.geohash this.s turtle.write_docstringdict xml.sax.make_parser yaml.unsafe_load jsonpickle.decode lief.parse
"""


def python3(module: str, attribute: str) -> str:
    """The name of a function of Python 2 as it is called today (the table of CPython's Lib/_compat_pickle.py)."""
    from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING

    module, attribute = NAME_MAPPING.get((module, attribute), (IMPORT_MAPPING.get(module, module), attribute))
    return f"{module}.{attribute}"


def gadgets() -> Iterator[Unsafe]:
    """Each function, called by the opcode that fits its protocol: with GLOBAL in protocol 2, with STACK_GLOBAL in protocol 4."""
    allowed_alone = {"copyreg._reconstructor"}  # makes an object of a class that is named, too
    for path in GADGETS.split():
        if path in allowed_alone:
            continue
        module, _, attribute = path.rpartition(".")
        yield Unsafe(f"{path} in protocol 2", (python3(module, attribute),), pickled({"w": 1, "x": call(name(module, attribute), TOUCH)}))
        made = enc(module) + enc(attribute) + b"\x93" + enc((TOUCH,)) + b"R"
        yield Unsafe(f"{path} in protocol 4", (python3(module, attribute),), b"\x80\x04" + made + b".")
    for module, attribute in [("os", "path.os.system"), ("torch", "serialization.os.system"), ("builtins", "eval.__self__.exec")]:
        yield Unsafe(
            f"the dotted name {attribute}", (f"{module}.{attribute}",), b"\x80\x04" + name(module, attribute) + enc((TOUCH,)) + b"R."
        )


def short(text: str) -> bytes:
    return b"\x8c" + bytes([len(text)]) + text.encode()


def opcodes() -> Iterator[Unsafe]:
    """Every opcode that imports or calls, in every protocol, and the tricks that hide the name from a reader of strings."""
    system = ("os.system",)
    touched = enc((TOUCH,))
    for protocol in range(6):
        class_of = type("Runs", (), {"__reduce__": lambda self: (print, (TOUCH,))})
        yield Unsafe(f"REDUCE in protocol {protocol}", ("builtins.print",), pickle.dumps([1, class_of(), 2], protocol))
    yield Unsafe("INST", system, b"(S'touch canary'\nios\nsystem\n.")
    yield Unsafe("OBJ", system, b"(cos\nsystem\nS'touch canary'\no.")
    yield Unsafe("NEWOBJ", system, b"\x80\x02cos\nsystem\n" + touched + b"\x81.")
    yield Unsafe("NEWOBJ_EX", system, b"\x80\x04" + short("os") + short("system") + b"\x93" + touched + b"}\x92.")
    yield Unsafe("GLOBAL alone", system, b"cos\nsystem\n.")
    yield Unsafe("GLOBAL without a header in protocol 4", system, short("os") + short("system") + b"\x93" + touched + b"R.")
    yield Unsafe("a name of Python 2", ("builtins.exec",), b"c__builtin__\nexec\n(S'1'\ntR.")
    yield Unsafe(
        "BUILD that calls __setstate__",
        ("os.system",),
        pickled(built(name("collections", "OrderedDict"), {"__setstate__": name("os", "system")})),
    )
    yield Unsafe("BUILD of a class", (), pickled([Raw(name("torch", "Tensor") + enc((None, {"__setstate__": 1})) + b"b")]))
    yield Unsafe("BUILD with slots", system, pickled(built(name("os", "system"), (None, {"a": 1}))))
    yield Unsafe("a call in a key", system, pickled({SYSTEM: 1}))
    yield Unsafe("a call that is popped", system, pickled(Raw(SYSTEM + b"0" + enc(1))))
    yield Unsafe("a call behind POP_MARK", system, pickled(Raw(b"(" + SYSTEM + b"1" + enc(1))))
    yield Unsafe("a call in a persistent id", system, pickled(Raw(SYSTEM + b"Q")))
    yield Unsafe("PERSID", (), b"Pos.system\n.")
    yield Unsafe("BINPERSID", (), pickled(Raw(enc(("storage", 1)) + b"Q")))
    yield Unsafe(
        "names from the memo", system, b"\x80\x04" + short("system") + b"\x94" + short("os") + b"\x94h\x01h\x00\x93" + touched + b"R."
    )
    yield Unsafe("names by DUP and POP", system, b"\x80\x04" + short("os") + b"20" + short("system") + b"\x93" + touched + b"R.")
    yield Unsafe("names by GET and PUT of protocol 0", system, b"Vos\np7\n0Vsystem\np-9\n0g7\ng-9\n\x93(Vtouch canary\ntR.")
    joined = call(name("_codecs", "encode"), "bf", "rot13")
    yield Unsafe("a module's name that is computed", (), b"\x80\x04" + joined + short("system") + b"\x93" + touched + b"R.")
    yield Unsafe("a name that is computed", (), b"\x80\x04" + short("os") + joined + b"\x93" + touched + b"R.")
    yield Unsafe("names in UTF-16 escapes", system, b"V\\u006f\\u0073\nV\\u0073ystem\n\x93(Vtouch canary\ntR.")
    for code, raw in {"EXT1": b"\x82\x07", "EXT2": b"\x83\x07\1", "EXT4": b"\x84\7\1\0\0"}.items():
        yield Unsafe(f"{code} of a registered function", (), b"\x80\x02" + raw + touched + b"R.")
    yield Unsafe(
        "copyreg's registry filled first",
        ("copyreg.add_extension",),
        b"\x80\x02" + call(name("copy_reg", "add_extension"), "os", "system", 7) + b"0\x82\x07" + touched + b"R.",
    )
    for what, line in {
        "a blank behind": b"cos \nsystem\n",
        "a blank before": b"c os\nsystem\n",
        "a tab": b"cos\t\nsystem\t\n",
        "CR": b"cos\r\nsystem\r\n",
    }.items():
        yield Unsafe(
            f"GLOBAL with {what}",
            ("".join(line[1:].decode().split("\n")[0]) + "." + line.decode().split("\n")[1],),
            line + b"(S'touch canary'\ntR.",
        )
    yield Unsafe("NEXT_BUFFER", (), b"\x80\x05\x97.")
    yield Unsafe("numbers in odd spellings first", system, b"I0x1F\n0I010\n0L1_0L\n0F1_0.5\n0" + SYSTEM + b".")
    yield Unsafe("a frame of a false length", system, b"\x80\x04\x95" + b"\xff" * 8 + EVIL[2:])
    yield Unsafe("PROTO in the middle", system, b"\x80\x02\x80\x04" + EVIL[2:])
    yield Unsafe("two values at the STOP", system, b"\x80\x02NN" + SYSTEM + b".")
    yield Unsafe("a list as a key", system, pickled({"x": SYSTEM, Raw(enc([1])): 1}))
    yield Unsafe("a name of 70,000 letters", ("m." + "n" * 70_000,), b"\x80\x02" + name("m", "n" * 70_000) + b")R.")
    yield Unsafe("a name with control characters", ("\x1b[2J.\u202e",), b"\x80\x02" + name("\x1b[2J", "\u202e") + b")R.")
    yield Unsafe(
        "getattr of a safe class",
        ("builtins.getattr",),
        pickled(call(name("builtins", "getattr"), name("collections", "OrderedDict"), "__init__")),
    )
    yield Unsafe(
        "a chain of calls",
        ("operator.methodcaller", "os.path"),
        pickled(Raw(call(name("operator", "methodcaller"), "system", TOUCH) + enc((name("os", "path"),)) + b"R")),
    )


def nested() -> Iterator[Unsafe]:
    """Pickles that lie in pickles."""
    loads = name("pickle", "loads")
    yield Unsafe("pickle.loads of bytes", ("pickle.loads",), pickled(call(loads, EVIL)))
    torch_loads = name("torch.storage", "_load_from_bytes")
    for what, inner in {"legacy": legacy.legacy(EVIL, [], b""), "zip": zips.torch_zip(EVIL, {}), "a bare pickle": EVIL}.items():
        yield Unsafe(f"torch's loader of bytes that are {what}", ("os.system",), pickled(call(torch_loads, inner)))
        text = Raw(enc(inner.decode("latin-1")))
        yield Unsafe(
            f"torch's loader of text that is {what}",
            ("os.system",),
            pickled(call(torch_loads, call(name("_codecs", "encode"), text, "latin1"))),
        )
    yield Unsafe("torch's loader of bytes that are computed", (), pickled(call(torch_loads, call(name("_codecs", "encode"), "x", "utf7"))))
    yield Unsafe("torch's loader of no file", (), pickled(call(torch_loads, b"nothing")))
    handed_on = call(name("torch._tensor", "_rebuild_from_type_v2"), torch_loads, name("torch", "Tensor"), (EVIL,), {})
    yield Unsafe("torch's loader handed on", ("torch.storage._load_from_bytes",), pickled(handed_on))
    yield Unsafe(
        "eval of another text than Paddle's",
        ("builtins.eval",),
        pickled(call(name("builtins", "eval"), "__import__('os').system('touch canary')", {"data": 1})),
    )
    yield Unsafe(
        "eval of Paddle's text among other things",
        ("builtins.eval",),
        pickled(call(name("builtins", "eval"), "data", {"data": 1, "__builtins__": {}})),
    )


def uncalled() -> Iterator[Unsafe]:
    """Functions that are safe in one form of call, and are named without that call."""
    for module, attribute in [("builtins", "eval"), ("torch.storage", "_load_from_bytes")]:
        yield Unsafe(f"{attribute} that is not called", (f"{module}.{attribute}",), pickled([name(module, attribute), 1]))
        yield Unsafe(f"{attribute} as NEWOBJ of nothing", (f"{module}.{attribute}",), b"\x80\x02" + name(module, attribute) + b")\x81.")


def positions() -> Iterator[Unsafe]:
    """Bytes before and behind, several pickles, pickles that are cut or broken (nullifAI)."""
    system = ("os.system",)
    yield Unsafe("bytes behind the STOP", system, EVIL + b"garbage")
    yield Unsafe("a safe pickle, then bytes", (), GOOD + b"\xff\xfe\xfd")
    yield Unsafe("a safe pickle, then zeros", (), GOOD + bytes(64))
    yield Unsafe("a safe pickle, then another", system, GOOD + EVIL)
    yield Unsafe("ten safe pickles, then another", system, GOOD * 10 + EVIL)
    yield Unsafe("a safe pickle, junk, another", system, GOOD + b"\xff" * 100 + EVIL)
    for what, junk in {
        "zeros": bytes(100),
        "0xff": b"\xff" * 37,
        "text": b"this is not a pickle\n" * 9,
        "a PNG's head": b"\x89PNG\r\n\x1a\n" + bytes(40),
    }.items():
        yield Unsafe(f"a pickle behind {what}", system, junk + EVIL)
        yield Unsafe(f"a pickle of protocol 0 behind {what}", system, junk + b"cos\nsystem\n(S'touch canary'\ntR.")
        yield Unsafe(f"INST behind {what}", system, junk + b"(S'touch canary'\nios\nsystem\n.")
        yield Unsafe(f"STACK_GLOBAL behind {what}", system, junk + short("os") + short("system") + b"\x93" + enc((TOUCH,)) + b"R.")
    for cut in range(len(EVIL) - 12, len(EVIL)):
        yield Unsafe(f"cut at byte {cut}", system, EVIL[:cut])
    yield Unsafe("a safe pickle that is cut", (), WEIGHTS[:40])
    yield Unsafe("broken behind the call", system, EVIL[:-1] + b"\xff\xff\xff.")
    yield Unsafe("nothing on the stack behind the call", system, b"\x80\x02" + SYSTEM + b"0000000.")
    yield Unsafe("a missing memo entry behind the call", system, b"\x80\x02" + SYSTEM + b"0h\x09.")
    yield Unsafe("a text that is no UTF-8 behind the call", system, b"\x80\x02" + SYSTEM + b"X\x01\0\0\0\xff.")
    yield Unsafe("protocol 0 that breaks off", system, b"cos\nsystem\n(S'touch canary'\ntR\xff\xff")
    yield Unsafe("a length far beyond the end", system, b"\x80\x04" + SYSTEM[:0] + SYSTEM + b"\x8e" + b"\xff" * 7 + b"\x7f.")


def made_zip(members: dict[str, bytes], method: int = 0) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for member, data in members.items():
            archive.writestr(member, data)
    return out.getvalue()


def made_tar(members: dict[str, bytes], mode: str = "w:") -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as archive:  # type: ignore[call-overload]
        for member, data in members.items():
            info = tarfile.TarInfo(member)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


def npy(pickle: bytes, descr: str = "|O") -> bytes:
    header = f"{{'descr': {descr!r}, 'fortran_order': False, 'shape': (), }}".ljust(117) + "\n"
    return b"\x93NUMPY\1\0" + pack("<H", len(header)) + header.encode() + pickle


def old_torch_tar(pickle: bytes) -> bytes:
    """As torch/serialization.py, `legacy_load`, reads it: no tensors, no storages."""
    none = b"\x80\x02K\0."
    return made_tar({"sys_info": b"\x80\x02}.", "pickle": pickle, "tensors": none, "storages": none + b"\x80\x02]."})


def containers() -> Iterator[Unsafe]:
    """The same pickle wherever loaders look for one, under right suffixes and wrong ones."""
    system = ("os.system",)
    evil = zips.torch_zip(EVIL, {})
    for suffix in (".pt", ".pth", ".bin", ".ckpt", ".safetensors", ".onnx", ".txt", ".jpg", ".h5", ".gguf", ".npz", ""):
        yield Unsafe(f"a bare pickle called {suffix}", system, EVIL, f"a{suffix}")
        yield Unsafe(f"a torch zip called {suffix}", system, evil, f"b{suffix}")
    yield Unsafe("torch's zip with weights", system, zips.torch_zip(pickled({"w": tensor(), "x": SYSTEM})), "a.pt")
    yield Unsafe("torch's legacy file", system, legacy.legacy(pickled({"w": tensor(), "x": SYSTEM})), "a.pt")
    yield Unsafe("torch's legacy file without storages", system, legacy.legacy(EVIL, [], b""), "a.pt")
    yield Unsafe("the second stream of a legacy file", system, legacy.legacy(WEIGHTS) + legacy.legacy(EVIL, [], b""), "a.pt")
    magic, *rest = legacy.parts(WEIGHTS)
    yield Unsafe("a legacy file's magic number", system, magic[:-1] + SYSTEM + b"0." + b"".join(rest), "a.pt")
    yield Unsafe("a tar of torch before 0.2", system, old_torch_tar(EVIL), "a.pt")
    yield Unsafe("an object array", system, npy(EVIL), "a.npy")
    yield Unsafe("a structured object array", system, npy(EVIL).replace(b"'|O'", b"[('a','O')]")[:127] + b"\n" + EVIL, "s.npy")
    for method in (0, 8):
        yield Unsafe(f"an object array in a zip, method {method}", system, made_zip({"w.npy": npy(EVIL)}, method), "a.npz")
        yield Unsafe(
            f"a pickle in a plain zip, method {method}", system, made_zip({"model.pkl": EVIL, "readme.txt": b"hello"}, method), "a.zip"
        )
        yield Unsafe(
            f"a torch zip in a zip in a zip, method {method}",
            system,
            made_zip({"b.zip": made_zip({"m.pt": evil}, method)}, method),
            "a.zip",
        )
    for method in (12, 14):
        yield Unsafe(
            f"a member compressed by method {method}", system if method == 12 else (), made_zip({"model.pkl": EVIL}, method), "a.zip"
        )
    for mode in ("w:", "w:gz", "w:bz2", "w:xz"):
        yield Unsafe(f"a tar, {mode}", system, made_tar({"readme": b"hello", "weights.pt": evil}, mode), "a.tar")
    yield Unsafe("a tar whose first name is a pickle", system, made_tar({"cos\nsystem\n(S'touch canary'\ntR.": b""}), "a.tar")
    for what, squeeze in {"gzip": gzip.compress, "zlib": zlib.compress, "bz2": bz2.compress, "xz": lzma.compress}.items():
        yield Unsafe(f"{what}, as joblib writes it", system, squeeze(EVIL), f"a.pkl.{what}")
        names = () if what == "bz2" else system
        yield Unsafe(f"{what} that is cut", names, squeeze(EVIL + bytes(range(256)) * 8)[:-12], f"c.pkl.{what}")
    yield Unsafe("lzma, as joblib writes it", system, lzma.compress(EVIL, lzma.FORMAT_ALONE), "a.pkl.lzma")
    for what, magic in {"7z": b"7z\xbc\xaf\x27\x1c", "lz4": b"\x04\x22\x4d\x18", "zstd": b"\x28\xb5\x2f\xfd", "rar": b"Rar!\x1a\7"}.items():
        yield Unsafe(f"{what}, which is not read", (), magic + bytes(64), f"a.{what}")
        yield Unsafe(f"{what} in a zip", (), made_zip({"x/data.pkl": GOOD, "x/more": magic + bytes(64)}), f"b.{what}.zip")
    yield from joblib_files()
    yield from broken_zips()


def wrapped(dtype: str, data: bytes, aligned: int | None = 16) -> Raw:
    """joblib's array: an object of its class, and behind it the elements, amid the opcodes (joblib/numpy_pickle.py)."""
    code = call(name("numpy", "dtype"), dtype, False, True)
    state = {
        "subclass": name("numpy", "ndarray"),
        "shape": (len(data) // 8 or 1,),
        "order": "C",
        "dtype": code,
        "allow_mmap": True,
        "numpy_array_alignment_bytes": aligned,
    }
    padding = b"\x03\xff\xff\xff" if dtype != "O8" and aligned else b""
    return Raw(built(name("joblib.numpy_pickle", "NumpyArrayWrapper"), state) + padding + data)


def joblib_files() -> Iterator[Unsafe]:
    yield Unsafe("joblib, behind an array", ("os.system",), pickled({"w": wrapped("f8", bytes(16)), "x": SYSTEM}), "a.joblib")
    yield Unsafe(
        "joblib, in the elements of an array",
        ("os.system",),
        pickled([wrapped("f8", (b"\x95" + bytes(8)) + SYSTEM + b"0" + b"N" * 7, None), 1]),
        "b.joblib",
    )
    yield Unsafe("joblib, an array of objects", ("os.system",), pickled([wrapped("O8", EVIL)]), "c.joblib")
    yield Unsafe("joblib, compressed", ("os.system",), zlib.compress(pickled({"w": wrapped("f8", bytes(16)), "x": SYSTEM})), "d.joblib")


def broken_zips() -> Iterator[Unsafe]:
    """Zips that one program takes and another does not (huggingface's and picklescan's bypasses)."""
    system = ("os.system",)
    plain = zips.plain(EVIL, {})
    yield Unsafe("a wrong checksum", system, zips.archive([plain[0]._replace(local={"crc": 1}, central={"crc": 1}), *plain[1:]]), "a.pt")
    for flag in (1, 0x20, 0x40, 0x800):
        yield Unsafe(
            f"flags {flag:#x} in the central directory",
            system,
            zips.archive([plain[0]._replace(central={"flags": flag}), *plain[1:]]),
            "a.pt",
        )
        yield Unsafe(f"flags {flag:#x} in both", system, zips.archive([plain[0]._replace(flags=flag), *plain[1:]]), "a.pt")
    other = zips.Entry("a/other.pkl", EVIL, local={"name": b"a/data.pkl"})
    yield Unsafe("another name in the local header", system, zips.archive([zips.Entry("a/data.pkl", GOOD), other]), "a.pt")
    yield Unsafe("two data.pkl of one name", system, zips.archive([zips.Entry("a/data.pkl", GOOD), zips.Entry("a/data.pkl", EVIL)]), "a.pt")
    yield Unsafe(
        "two data.pkl in two folders", system, zips.archive([zips.Entry("a/data.pkl", GOOD), zips.Entry("b/data.pkl", EVIL)]), "a.pt"
    )
    yield Unsafe("a data.pkl that is not at the top", system, zips.archive([zips.Entry("a/b/c/data.pkl", EVIL)]), "a.pt")
    yield Unsafe("a data.pkl without a folder", system, zips.archive([zips.Entry("data.pkl", EVIL)]), "a.pt")
    yield Unsafe(
        "a member that no directory lists",
        system,
        zips.archive([zips.Entry("a/data.pkl", GOOD)], before=zips.local_part(zips.Entry("a/data.pkl", EVIL))),
        "a.pt",
    )
    yield Unsafe("no end", system, zips.archive(plain)[:-30], "a.pt")
    yield Unsafe("bytes before the zip", system, b"junk" * 8 + zips.torch_zip(EVIL, {}), "a.pt")
    yield Unsafe("bytes behind the zip", system, zips.torch_zip(EVIL, {}) + b"junk" * 8, "a.pt")
    yield Unsafe("a storage that is a pickle", system, made_zip({"model.pkl": EVIL, "a/data/0": bytes(4)}), "a.zip")
    yield Unsafe(
        "code in a torch.package",
        ("p/m.py",),
        made_zip({"p/.data/extern_modules": b"", "p/m.py": b"import os\n", "p/model.pkl": GOOD}),
        "a.pt",
    )
    yield Unsafe(
        "a module of a torch.package",
        ("m.Net",),
        made_zip({"p/.data/extern_modules": b"", "p/model.pkl": pickled(built(name("m", "Net"), {}))}),
        "a.pt",
    )
    yield Unsafe(
        "a TorchScript program",
        ("code/__torch__",),
        zips.archive([*zips.plain(GOOD, {}), zips.Entry("a/constants.pkl", GOOD), zips.Entry("a/code/__torch__.py", b"")]),
        "a.pt",
    )
    yield Unsafe("a library in a zip", ("machine code",), made_zip({"a/data.pkl": GOOD, "a/lib.so": b"\x7fELF" + bytes(60)}), "a.pt2")


def keras() -> Iterator[Unsafe]:
    """Configs of Keras 3 with code in them (CVE-2025-1550, CVE-2024-3660): a zip whose weights are not looked at here."""
    import json

    lambda_3 = {"class_name": "Lambda", "config": {"function": {"class_name": "__lambda__", "config": {"code": "4wEAAAA="}}}}
    layers = {
        "a Lambda layer": (lambda_3, ("Lambda", "__lambda__")),
        "a Lambda layer deep in a model": (
            {"class_name": "Functional", "config": {"layers": [{"config": {"layer": lambda_3}}]}},
            ("Lambda",),
        ),
        "a module that is imported": (
            {"module": "os", "class_name": "function", "config": "system", "registered_name": "function"},
            ("os.system",),
        ),
        "a class that is imported": ({"module": "subprocess", "class_name": "Popen", "config": {}}, ("subprocess.Popen",)),
        "a function of Keras that downloads": (
            {"module": "keras.utils", "class_name": "function", "config": "get_file"},
            ("keras.utils.get_file",),
        ),
        "a module of torch's": (
            {"module": "keras.layers", "class_name": "TorchModuleWrapper", "config": {"module": "gAJ9"}},
            ("TorchModuleWrapper",),
        ),
    }
    for what, (layer, names) in layers.items():
        document = json.dumps({"module": "keras", "class_name": "Sequential", "config": {"layers": [layer]}}).replace(
            "Lambda", "L\\u0061mbda"
        )
        yield Unsafe(f"Keras: {what}", names, made_zip({"metadata.json": b"{}", "config.json": document.encode()}), "a.keras")


def cases() -> Iterator[Unsafe]:
    for part in (gadgets, opcodes, nested, uncalled, positions, containers, keras):
        yield from part()


def clean() -> Iterator[tuple[str, bytes, str]]:
    """What loads without any name outside the lists: title, content, file."""
    for protocol in range(6):
        values = {"a": [1, 2.5, None, True, (), b"x", bytearray(b"y"), {3}, frozenset({4}), 10**40, 1j, "\u00e9"], "r": range(3)}
        yield f"plain values in protocol {protocol}", pickle.dumps(values, protocol), "a.pkl"
    yield "no value at all", b"\x80\x02N.", "a.pkl"
    yield "an OrderedDict", pickled(HOOKS), "a.pkl"
    yield "torch's zip", zips.torch_zip(WEIGHTS), "a.pt"
    yield "torch's zip without tensors", zips.torch_zip(GOOD, {}), "a.pt"
    yield "torch's legacy file", legacy.legacy(WEIGHTS), "a.pt"
    yield "an object array", npy(pickled([1, "a"])), "a.npy"
    yield "an object array in a zip", made_zip({"w.npy": npy(GOOD)}), "a.npz"
    yield "joblib", pickled({"w": wrapped("f8", bytes(16)), "x": 1}), "a.joblib"
    yield "joblib, with a call among the elements that is none", pickled([wrapped("f8", bytes(16)), "cos\nsystem\n"]), "a.joblib"
    yield "joblib, an array of objects", pickled([wrapped("O8", GOOD)]), "a.joblib"
    for what, squeeze in {"gzip": gzip.compress, "zlib": zlib.compress, "bz2": bz2.compress, "xz": lzma.compress}.items():
        yield f"joblib, {what}", squeeze(GOOD), "a.joblib"
    yield "Paddle's tensor", pickled(call(name("builtins", "eval"), "data", {"data": 1})), "a.pkl"
    yield "a tensor in a plain pickle", pickled(call(name("torch.storage", "_load_from_bytes"), legacy.legacy(WEIGHTS))), "a.pkl"
    yield "a zip of pickles", made_zip({"a.pkl": GOOD, "notes.txt": b"text"}), "a.zip"
    yield "a tar of a torch file", made_tar({"weights.pt": zips.torch_zip(WEIGHTS)}), "a.tar"
    yield "a tar of torch before 0.2", old_torch_tar(GOOD), "a.tar"
    yield "several pickles", GOOD * 3, "a.pkl"


def no_pickles() -> Iterator[tuple[str, bytes]]:
    """What is no pickle and no container of one."""
    yield "noise", bytes(range(255, 0, -1)) * 40
    yield "text", b"import os\nos.system('ls')\n" * 20
    yield "words", b"cat\ndog\nibis\ncow\nant\n" * 20
    yield "JSON", b'{"class_name": "os.system"}'
    yield "a PNG", b"\x89PNG\r\n\x1a\n" + bytes(200)
    yield "zeros", bytes(4000)
    yield "nothing", b""
