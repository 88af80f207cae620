"""`ckpt check --sarif`: documents that SARIF 2.1.0's schema and GitHub's code scanning take, judged by a validator of JSON Schema."""

from __future__ import annotations

import math
import zipfile
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import fastjsonschema
import pytest
import torch
from conftest import SAMPLES, Ckpt

from ckpt_cli.checking import KINDS

TEXT = {"type": "string"}
INDEX = {"type": "integer", "minimum": -1}
LEVEL = {"enum": ["none", "note", "warning", "error"]}


def record(required: str = "", /, **properties: Any) -> dict[str, Any]:
    """An object that has these properties and no others, of which it must have the `required`."""
    return {"type": "object", "additionalProperties": False, "required": required.split(), "properties": properties}


def every(items: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"type": "array", "items": items} | more


# Of the schema: the objects that ckpt writes, with all that they may and must have.
MESSAGE = record("text", text=TEXT, markdown=TEXT, id=TEXT, arguments=every(TEXT))
DESCRIPTION = record("text", text=TEXT, markdown=TEXT)
CONFIGURATION = record(enabled={"type": "boolean"}, level=LEVEL, rank={"type": "number", "minimum": -1, "maximum": 100})
RULE = record(
    "id", id=TEXT, name=TEXT, shortDescription=DESCRIPTION, fullDescription=DESCRIPTION, help=DESCRIPTION, helpUri=TEXT,
    defaultConfiguration=CONFIGURATION,
)  # fmt: skip
REGION = record(startLine={"type": "integer", "minimum": 1}, byteOffset=INDEX, byteLength={"type": "integer", "minimum": 0})
FILE = record(uri={"type": "string", "format": "uri-reference"}, uriBaseId=TEXT, index=INDEX)
ARTIFACT = record(
    location=FILE, roles=every({"enum": ["analysisTarget", "resultFile"]}, uniqueItems=True), length=INDEX, mimeType=TEXT, parentIndex=INDEX
)
LOGICAL = record(name=TEXT, index=INDEX, fullyQualifiedName=TEXT, decoratedName=TEXT, parentIndex=INDEX, kind=TEXT)
PLACE = record("artifactLocation", artifactLocation=FILE, region=REGION)
LOCATION = record(id=INDEX, physicalLocation=PLACE, logicalLocations=every(LOGICAL, uniqueItems=True))
RESULT = record(
    "message", ruleId=TEXT, ruleIndex=INDEX, level=LEVEL, message=MESSAGE, locations=every(LOCATION),
    partialFingerprints={"type": "object", "additionalProperties": TEXT},
)  # fmt: skip
DRIVER = record("name", name=TEXT, version=TEXT, informationUri=TEXT, rules=every(RULE, uniqueItems=True))
RUN = record("tool", tool=record("driver", driver=DRIVER), results=every(RESULT), artifacts=every(ARTIFACT, uniqueItems=True))
LOG = record("version runs", **{"$schema": TEXT}, version={"enum": ["2.1.0"]}, runs=every(RUN))

valid = fastjsonschema.compile(LOG | {"$schema": "http://json-schema.org/draft-07/schema#"})


def fit_for_upload(document: Any) -> list[dict[str, Any]]:
    """The results, once it is sure that GitHub takes them and tells them apart."""
    valid(document)
    (run,) = document["runs"]
    rules = run["tool"]["driver"]["rules"]
    assert len({rule["id"] for rule in rules}) == len(rules)
    for rule in rules:
        assert all(rule[key]["text"] for key in ("shortDescription", "fullDescription", "help")) and len(rule["id"]) <= 255
    paths = [artifact["location"]["uri"] for artifact in run["artifacts"]]
    for result in run["results"]:
        place = result["locations"][0]["physicalLocation"]["artifactLocation"]
        assert paths[place["index"]] == place["uri"]
        assert rules[result["ruleIndex"]]["id"] == result["ruleId"] and result["message"]["text"] and result["level"] == "error"
        assert result["locations"][0]["physicalLocation"]["region"]["startLine"] == 1
    prints = [result["partialFingerprints"]["primaryLocationLineHash"] for result in run["results"]]
    assert len(set(prints)) == len(prints)
    results: list[dict[str, Any]] = run["results"]
    return results


def uri(result: dict[str, Any]) -> str:
    found: str = result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]
    return found


@pytest.fixture
def broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file with a wrong checksum and NaN in two tensors, in a folder with a blank in its name; the current folder is above it."""
    path = tmp_path / "my models" / "ü 50%.pt"
    path.parent.mkdir()
    torch.save({"good": torch.ones(2), "nan": torch.tensor([1, math.nan]), "inf\n": torch.tensor(math.inf)}, path)
    with zipfile.ZipFile(path) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith("data/0")]
        at = path.read_bytes().index(archive.read(name))
    with path.open("r+b") as file:
        file.seek(at)
        file.write(b"\1")
    monkeypatch.chdir(tmp_path)
    return path


@pytest.mark.parametrize("way", ["relative", "dotted", "absolute"])
def test_a_result_for_each_violation_at_a_path_from_the_current_folder(way: str, broken: Path, ckpt: Ckpt) -> None:
    path = {"relative": "my models/ü 50%.pt", "dotted": "./my models/../my models/ü 50%.pt", "absolute": broken}[way]
    results = fit_for_upload(ckpt("check", path, "--finite", "--sarif", status=1).json)
    assert [result["ruleId"] for result in results] == ["checksum", "finite", "finite"]
    assert {unquote(uri(result)) for result in results} == {"my models/ü 50%.pt"} and uri(results[0]).isascii()
    names = [result["locations"][0]["logicalLocations"][0]["fullyQualifiedName"] for result in results]
    assert names[0].endswith("/data/0") and names[1:] == ["nan", "inf\n"]
    assert results[1]["message"]["text"].startswith("nan: NaN at [1]")


def test_a_file_elsewhere_is_named_whole(broken: Path, ckpt: Ckpt, monkeypatch: pytest.MonkeyPatch) -> None:
    (broken.parent / "below").mkdir()
    monkeypatch.chdir(broken.parent / "below")
    (first, *_) = fit_for_upload(ckpt("check", broken, "--finite", "--sarif", status=1).json)
    assert unquote(uri(first)) == f"file://{broken}"


def test_the_fingerprint_stays_while_a_violation_does(broken: Path, ckpt: Ckpt) -> None:
    def prints() -> list[str]:
        return [
            one["partialFingerprints"]["primaryLocationLineHash"]
            for one in fit_for_upload(ckpt("check", broken, "--finite", "--sarif", status=1).json)
        ]

    before = prints()
    torch.save({"new": torch.tensor(math.nan), "nan": torch.tensor([math.nan, 1, 2])}, broken)
    assert len(prints()) == 2 and prints()[1] == before[1] and prints()[0] not in before


def test_two_violations_of_one_kind_by_one_tensor_are_two(ckpt: Ckpt, tmp_path: Path) -> None:
    (tmp_path / "s.toml").write_text("extra = 'allow'\n[tensors]\n'0.bias' = { min = [5, 6], max = [5, 6] }\n")
    results = fit_for_upload(ckpt("check", SAMPLES / "mlp.pt", "--spec", tmp_path / "s.toml", "--sarif", status=1).json)
    assert [result["ruleId"] for result in results] == ["figure", "figure"]


def test_what_holds_has_no_results_and_every_rule(ckpt: Ckpt) -> None:
    document = ckpt("check", SAMPLES / "mlp.pt", "--sarif").json
    assert fit_for_upload(document) == []
    assert [rule["id"] for rule in document["runs"][0]["tool"]["driver"]["rules"]] == list(KINDS)


def test_of_the_whole_file_no_tensor_is_named(ckpt: Ckpt, tmp_path: Path) -> None:
    (tmp_path / "s.toml").write_text("params = 1\n[tensors]\n'*' = {}\n")
    (result,) = fit_for_upload(ckpt("check", SAMPLES / "mlp.pt", "--spec", tmp_path / "s.toml", "--sarif", status=1).json)
    assert result["ruleId"] == "params" and "logicalLocations" not in result["locations"][0]


def test_the_file_that_was_checked_is_named_whether_it_holds_or_not(broken: Path, ckpt: Ckpt) -> None:
    for options, status in (((), 1), (("nan",), 0)):
        (run,) = ckpt("check", broken, *options, "--sarif", status=status).json["runs"]
        assert [unquote(one["location"]["uri"]) for one in run["artifacts"]] == ["my models/ü 50%.pt"]


BROKEN: dict[str, bytes | None] = {
    "missing": None,
    "empty": b"",
    "no checkpoint": b"hello",
    "cut": (SAMPLES / "mlp.pt").read_bytes()[:-100],
    "malformed": (5).to_bytes(8, "little") + b"{nope}",
    "a pointer": f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\nsize 1\n".encode(),
}


@pytest.mark.parametrize("which", BROKEN)
def test_a_file_that_cannot_be_opened_is_a_result_and_an_error(
    which: str, ckpt: Ckpt, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    content = BROKEN[which]
    if content is not None:
        Path("m.safetensors").write_bytes(content)
    said = ckpt("check", "m.safetensors", "--sarif", status=2)
    (result,) = fit_for_upload(said.json)
    assert result["ruleId"] == "unreadable" and uri(result) == "m.safetensors"
    assert said.err == f"ckpt: error: m.safetensors: {result['message']['text']}\n"


def test_a_shard_that_cannot_be_opened_is_the_file_of_the_result(ckpt: Ckpt, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("m.safetensors.index.json").write_text('{"weight_map": {"a": "one.safetensors"}}')
    Path("one.safetensors").write_bytes(b"hello")
    (result,) = fit_for_upload(ckpt("check", "m.safetensors.index.json", "--sarif", status=1).json)
    assert result["ruleId"] == "unreadable" and uri(result) == "one.safetensors"


def test_a_question_that_makes_no_sense_is_no_result(ckpt: Ckpt, tmp_path: Path) -> None:
    """A document without results would close the alerts that there are."""
    (tmp_path / "s.toml").write_text("nothing = 1")
    for question in (("--spec", tmp_path / "s.toml"), ("--spec", tmp_path / "none.toml"), ("nothing",), ("--same-names-as", "none.pt")):
        assert ckpt("check", SAMPLES / "mlp.pt", *question, "--sarif", status=2).out == ""


def test_one_document_at_a_time(ckpt: Ckpt) -> None:
    assert "choose one" in ckpt("check", SAMPLES / "mlp.pt", "--sarif", "--json", status=2).err
