"""The report as one HTML file that needs nothing else: styles, data and the charts' library are inside it."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Sequence
from importlib import resources

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from loadgen.report.parts import Chart, Heading, Part
from loadgen.report.when import moment_text
from loadgen.report.words import SIGN, WORD, objective_text


def page(head: Heading, parts: Sequence[Part]) -> str:
    """The whole file. Every text is escaped by the template; only our own style, script and data go in as they are."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["kind"] = lambda block: type(block).__name__
    template = environment.from_string(_own("report.html.j2"))
    charts = {block.name: block.figure for part in parts for block in part.blocks if isinstance(block, Chart)}
    library = packed_plotly() if charts else ""
    return template.render(
        run=head.name,
        what=head.what,
        began=moment_text(head.began_ns),
        overall=head.overall,
        sentences=head.sentences,
        version=head.version,
        parts=parts,
        sign=SIGN,
        word=WORD,
        objective_text=objective_text,
        style=Markup(_own("style.css")),
        script=Markup(_own("charts.js")),
        charts=Markup(_json(charts)),
        library=Markup(library),
    )


def packed_plotly() -> str:
    """plotly.js as the package brings it, compressed, in base64; empty when the package does not have it."""
    try:
        script = resources.files("plotly").joinpath("package_data", "plotly.min.js").read_bytes()
    except (OSError, ModuleNotFoundError):
        return ""
    return base64.b64encode(gzip.compress(script, 9, mtime=0)).decode()


def _own(name: str) -> str:
    return resources.files("loadgen.report").joinpath("page", name).read_text(encoding="utf-8")


def _json(value: object) -> str:
    """JSON that cannot end the script element that it stands in."""
    text = json.dumps(value, ensure_ascii=True, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
