"""The report as one page without scripts: whatever the log holds is shown as text and never as markup."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from html import escape
from typing import Any, Final

MAX_SHOWN: Final = 50
"""Rows of a table on the page; the CSV file has all of them."""

_STYLE: Final = """
body { font: 15px/1.5 system-ui, sans-serif; color: #1a1a1a; background: #fff; max-width: 72rem; margin: 2rem auto;
  padding: 0 1rem; }
h1 { font-size: 1.6rem; margin-bottom: 0; }
h2 { font-size: 1.2rem; margin-top: 2.5rem; border-bottom: 1px solid #ccc; }
table { border-collapse: collapse; width: 100%; font-size: 13px; margin: .5rem 0; }
th, td { text-align: left; padding: .3rem .6rem .3rem 0; border-bottom: 1px solid #e5e5e5; vertical-align: top;
  overflow-wrap: anywhere; }
th { white-space: nowrap; }
.figures { display: flex; flex-wrap: wrap; gap: 1rem; padding: 0; list-style: none; }
.figures li { border: 1px solid #ccc; border-radius: 6px; padding: .6rem 1rem; min-width: 9rem; }
.figures b { display: block; font-size: 1.5rem; }
.good { color: #116329; } .bad { color: #a40e26; }
.scroll { overflow-x: auto; }
pre { background: #f5f5f5; padding: .6rem; overflow-x: auto; font-size: 12px; }
@media print { body { margin: 0; max-width: none; } .scroll { overflow: visible; } }
"""


@dataclass(frozen=True, slots=True)
class Section:
    """A question, its answer in a sentence, and a table of which ``file`` has every row.

    ``pointed_out`` are the numbers of rows that deserve a look.
    """

    title: str
    answer: str
    file: str
    columns: Sequence[str]
    rows: Sequence[Sequence[object]]
    pointed_out: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Figure:
    value: str
    what: str
    file: str


def render(
    title: str, facts: Mapping[str, str], figures: Iterable[Figure], sections: Iterable[Section], proof: Proof
) -> str:
    """The whole document."""
    digest = base64.b64encode(sha256(_STYLE.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    body = [
        f"<h1>{escape(title)}</h1>",
        *_definitions(facts),
        '<ul class="figures">',
        *(f"<li><b>{_link(f.file, f.value)}</b>{escape(f.what)}</li>" for f in figures),
        "</ul>",
        *(line for section in sections for line in _section(section)),
        *_proof(proof),
    ]
    return "\n".join(
        [
            "<!DOCTYPE html>",
            '<html lang="en">',
            "<head>",
            '<meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{escape(policy)}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            '<meta name="referrer" content="no-referrer">',
            f"<title>{escape(title)}</title>",
            f"<style>{_STYLE}</style>",
            "</head>",
            "<body>",
            *body,
            "</body>",
            "</html>",
            "",
        ]
    )


@dataclass(frozen=True, slots=True)
class Proof:
    """``complete``: every entry of the period is in the evidence. ``checkpoints`` are signed notes by stream."""

    complete: bool
    sentences: Sequence[str]
    checkpoints: Mapping[str, str]


def _section(section: Section) -> Iterator[str]:
    yield f"<h2>{escape(section.title)}</h2>"
    yield f"<p>{escape(section.answer)} {_link(section.file, f'All {len(section.rows):,} rows: {section.file}')}</p>"
    if not section.rows:
        return
    yield '<div class="scroll"><table><thead><tr>'
    yield "".join(f'<th scope="col">{escape(column)}</th>' for column in section.columns)
    yield "</tr></thead><tbody>"
    for number, row in enumerate(section.rows[:MAX_SHOWN]):
        mark = ' class="bad"' if number in section.pointed_out else ""
        yield f"<tr{mark}>" + "".join(f"<td>{escape(str(cell))}</td>" for cell in row) + "</tr>"
    yield "</tbody></table></div>"
    if len(section.rows) > MAX_SHOWN:
        yield f"<p>The first {MAX_SHOWN} of {len(section.rows):,}.</p>"


def _proof(proof: Proof) -> Iterator[str]:
    yield "<h2>Is the log complete?</h2>"
    state, word = ("good", "Yes.") if proof.complete else ("bad", "Not shown.")
    yield f'<p><b class="{state}">{word}</b></p><ul>'
    yield from (f"<li>{escape(sentence)}</li>" for sentence in proof.sentences)
    yield "</ul>"
    for stream, note in proof.checkpoints.items():
        yield f"<p>Signed checkpoint of {escape(stream)}:</p><pre>{escape(note)}</pre>"


def _definitions(facts: Mapping[str, str]) -> Iterator[str]:
    yield "<table><tbody>"
    for name, value in facts.items():
        yield f'<tr><th scope="row">{escape(name)}</th><td>{escape(value)}</td></tr>'
    yield "</tbody></table>"


def _link(file: str, text: Any) -> str:
    return f'<a href="{escape(file)}">{escape(str(text))}</a>'
