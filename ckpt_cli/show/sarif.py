"""Findings as SARIF 2.1.0 (OASIS, 2020), which services that scan code take: one run, a rule a kind, a result a finding."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

_SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"


class Finding(NamedTuple):
    """Of a kind, in a file, about a tensor or a record of that name (empty: about the whole file)."""

    kind: str
    file: str
    name: str
    what: str


def sarif(findings: Iterable[Finding], kinds: Mapping[str, str], version: str) -> dict[str, Any]:
    """The document; `kinds` says what each kind means."""
    rules = [{"id": kind, "shortDescription": {"text": text}, "defaultConfiguration": {"level": "error"}} for kind, text in kinds.items()]
    driver = {"name": "ckpt", "version": version, "rules": rules}
    results = [_result(finding, list(kinds).index(finding.kind)) for finding in findings]
    return {"$schema": _SCHEMA, "version": "2.1.0", "runs": [{"tool": {"driver": driver}, "results": results}]}


def _result(finding: Finding, rule: int) -> dict[str, Any]:
    from hashlib import sha256

    # A binary file has no lines, but services show no result without one.
    place: dict[str, Any] = {"physicalLocation": {"artifactLocation": {"uri": _uri(finding.file)}, "region": {"startLine": 1}}}
    if finding.name:
        place["logicalLocations"] = [{"fullyQualifiedName": finding.name, "kind": "member"}]
    mark = "\t".join((finding.kind, finding.file, finding.name)).encode("utf-8", "surrogatepass")
    return {
        "ruleId": finding.kind,
        "ruleIndex": rule,
        "level": "error",
        "message": {"text": f"{finding.name}: {finding.what}" if finding.name else finding.what},
        "locations": [place],
        "partialFingerprints": {"ckpt/v1": sha256(mark).hexdigest()},
    }


def _uri(path: str) -> str:
    """A path as a URI: one that is relative stays so, for it counts from the root of what is scanned."""
    import os
    from urllib.parse import quote

    plain = quote(os.fsencode(path.replace(os.sep, "/")))
    return f"file://{plain}" if os.path.isabs(path) else plain.removeprefix("./")
