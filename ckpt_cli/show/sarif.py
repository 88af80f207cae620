"""Findings as SARIF 2.1.0 (OASIS, 2020), the format of code scanning services: one run, a rule for each kind, a result for each finding.

GitHub requires more than the schema: descriptions and a help text of every rule, a line number for every location, and the fingerprint
`primaryLocationLineHash`, by which it tells results apart. Without that, GitHub computes one from the text of the line, and all results of
a binary file would have the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

_SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"


class Finding(NamedTuple):
    """One finding: its kind, the file, the name of the tensor or record (empty for the whole file), and a text."""

    kind: str
    file: str
    name: str
    what: str


def sarif(findings: Iterable[Finding], path: str, kinds: Mapping[str, str], version: str) -> dict[str, Any]:
    """Return the SARIF document.

    Args:
        findings: What was found in the file, and in the files that it consists of.
        path: The file that was checked.
        kinds: What each kind of finding means.
        version: The version of this program.
    """
    rules = [_rule(kind, text) for kind, text in kinds.items()]
    driver = {"name": "ckpt", "version": version, "rules": rules}
    fingerprinted = list(_fingerprinted(findings))
    uris = list(dict.fromkeys([_uri(path), *(_uri(finding.file) for finding, _ in fingerprinted)]))
    artifacts = [{"location": {"uri": uri}, "roles": ["analysisTarget"]} for uri in uris]
    results = [
        _result(finding, list(kinds).index(finding.kind), uris.index(_uri(finding.file)), fingerprint)
        for finding, fingerprint in fingerprinted
    ]
    return {"$schema": _SCHEMA, "version": "2.1.0", "runs": [{"tool": {"driver": driver}, "artifacts": artifacts, "results": results}]}


def _rule(kind: str, text: str) -> dict[str, Any]:
    texts = {key: {"text": text} for key in ("shortDescription", "fullDescription", "help")}
    return {"id": kind, **texts, "defaultConfiguration": {"level": "error"}}


def _fingerprinted(findings: Iterable[Finding]) -> Iterator[tuple[Finding, str]]:
    """Yield each finding with a fingerprint that is the same in every run: a digest of its subject, and its number in it."""
    from hashlib import sha256

    seen: dict[str, int] = {}
    for finding in findings:
        about = "\t".join((finding.kind, _uri(finding.file), finding.name)).encode("utf-8", "surrogatepass")
        digest = sha256(about).hexdigest()[:16]
        seen[digest] = seen.get(digest, 0) + 1
        yield finding, f"{digest}:{seen[digest]}"


def _result(finding: Finding, rule: int, artifact: int, fingerprint: str) -> dict[str, Any]:
    # A binary file has no lines, but services do not show a result without a line.
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
        "partialFingerprints": {"primaryLocationLineHash": fingerprint},
    }


def _uri(path: str) -> str:
    """Return a path as a URI, relative if it is below the current folder, which is the root of the scan."""
    import os
    from urllib.parse import quote

    below = os.path.relpath(path)
    chosen = path if below.startswith(os.pardir) else below
    plain = quote(os.fsencode(chosen.replace(os.sep, "/")))
    return f"file://{plain}" if os.path.isabs(chosen) else plain
