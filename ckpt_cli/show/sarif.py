"""Findings as SARIF 2.1.0 (OASIS, 2020), which services that scan code take: one run, a rule a kind, a result a finding.

GitHub wants more than the schema does: descriptions and help of every rule, a line of every place, and `primaryLocationLineHash`, the one
fingerprint that it tells results apart by. It would otherwise compute one from the text of the line: the same for all of a binary file.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

_SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"


class Finding(NamedTuple):
    """Of a kind, in a file, about a tensor or a record of that name (empty: about the whole file)."""

    kind: str
    file: str
    name: str
    what: str


def sarif(findings: Iterable[Finding], path: str, kinds: Mapping[str, str], version: str) -> dict[str, Any]:
    """The document of what was found in the file at `path`, and in those that it is made of; `kinds` says what each kind means."""
    rules = [_rule(kind, text) for kind, text in kinds.items()]
    driver = {"name": "ckpt", "version": version, "rules": rules}
    marked = list(_marked(findings))
    uris = list(dict.fromkeys([_uri(path), *(_uri(finding.file) for finding, _ in marked)]))
    artifacts = [{"location": {"uri": uri}, "roles": ["analysisTarget"]} for uri in uris]
    results = [_result(finding, list(kinds).index(finding.kind), uris.index(_uri(finding.file)), mark) for finding, mark in marked]
    return {"$schema": _SCHEMA, "version": "2.1.0", "runs": [{"tool": {"driver": driver}, "artifacts": artifacts, "results": results}]}


def _rule(kind: str, text: str) -> dict[str, Any]:
    said = {key: {"text": text} for key in ("shortDescription", "fullDescription", "help")}
    return {"id": kind, **said, "defaultConfiguration": {"level": "error"}}


def _marked(findings: Iterable[Finding]) -> Iterator[tuple[Finding, str]]:
    """Each with what tells it apart in every run: of what it is about, and the how-manieth it is of those about the same."""
    from hashlib import sha256

    seen: dict[str, int] = {}
    for finding in findings:
        about = "\t".join((finding.kind, _uri(finding.file), finding.name)).encode("utf-8", "surrogatepass")
        digest = sha256(about).hexdigest()[:16]
        seen[digest] = seen.get(digest, 0) + 1
        yield finding, f"{digest}:{seen[digest]}"


def _result(finding: Finding, rule: int, artifact: int, mark: str) -> dict[str, Any]:
    # A binary file has no lines, but services show no result without one.
    file = {"uri": _uri(finding.file), "index": artifact}
    place: dict[str, Any] = {"physicalLocation": {"artifactLocation": file, "region": {"startLine": 1}}}
    if finding.name:
        place["logicalLocations"] = [{"fullyQualifiedName": finding.name, "kind": "member"}]
    return {
        "ruleId": finding.kind,
        "ruleIndex": rule,
        "level": "error",
        "message": {"text": f"{finding.name}: {finding.what}" if finding.name else finding.what},
        "locations": [place],
        "partialFingerprints": {"primaryLocationLineHash": mark},
    }


def _uri(path: str) -> str:
    """A path as a URI: relative where it is below the current folder, which is the root of what is scanned."""
    import os
    from urllib.parse import quote

    below = os.path.relpath(path)
    found = path if below.startswith(os.pardir) else below
    plain = quote(os.fsencode(found.replace(os.sep, "/")))
    return f"file://{plain}" if os.path.isabs(found) else plain
