"""JUnit XML, for continuous integration: a suite a run, a case a promise."""

from __future__ import annotations

import re
from collections import Counter
from xml.etree import ElementTree as Xml

from loadgen.model import Result, Verdict
from loadgen.report.parts import Head
from loadgen.report.when import moment_text
from loadgen.report.words import objective_text

# Characters that XML 1.0 does not allow, not even escaped.
_FORBIDDEN = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def junit_xml(head: Head) -> bytes:
    """The verdicts: broken is a failure, not told is an error, not applying is skipped."""
    counts = Counter(verdict.result for verdict in head.verdicts)
    run = head.name
    attributes = {
        "name": clean(run),
        "tests": str(len(head.verdicts)),
        "failures": str(counts[Result.FAIL]),
        "errors": str(counts[Result.UNKNOWN]),
        "skipped": str(counts[Result.SKIPPED]),
        "time": f"{head.length_s:.3f}",
    }
    root = Xml.Element("testsuites", {**attributes, "name": "loadgen"})
    timestamp = moment_text(head.began_ns).removesuffix(" UTC").replace(" ", "T")
    suite = Xml.SubElement(root, "testsuite", {**attributes, "timestamp": timestamp, "hostname": "loadgen"})
    for verdict in head.verdicts:
        _case(suite, run, verdict)
    Xml.indent(root)
    content: bytes = Xml.tostring(root, encoding="utf-8", xml_declaration=True)
    return content + b"\n"


def _case(suite: Xml.Element, run: str, verdict: Verdict) -> None:
    attributes = {"classname": clean(f"loadgen.{run}"), "name": clean(verdict.check), "time": "0"}
    case = Xml.SubElement(suite, "testcase", attributes)
    why = verdict.measured or next(iter(verdict.evidence), "")
    kinds = {Result.FAIL: "failure", Result.UNKNOWN: "error", Result.SKIPPED: "skipped"}
    if verdict.result in kinds:
        attributes = {"message": clean(f"{verdict.promise}: {why}")}
        if verdict.result is not Result.SKIPPED:
            attributes["type"] = "broken" if verdict.result is Result.FAIL else "unknown"
        node = Xml.SubElement(case, kinds[verdict.result], attributes)
        if verdict.result is not Result.SKIPPED:
            node.text = clean(_text(verdict))
    output = Xml.SubElement(case, "system-out")
    output.text = clean(_text(verdict))


def _text(verdict: Verdict) -> str:
    lines = [
        verdict.promise,
        f"objective: {objective_text(verdict)}",
        f"measured: {verdict.measured or '–'} ({verdict.samples:,} samples)",
        *([f"requirements: {', '.join(verdict.requirements)}"] if verdict.requirements else []),
        *verdict.evidence,
    ]
    return "\n".join([*lines, f"what to do: {verdict.remedy}"] if verdict.remedy else lines)


def clean(text: str) -> str:
    """Text without what XML cannot hold."""
    return _FORBIDDEN.sub("\ufffd", text)
