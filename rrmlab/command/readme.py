"""The numbers of README.md, docs/ and the notebooks' texts, written from the stored tables so that they cannot drift
from them, and figures/README.md, written from the captions in the notebooks' pairs."""

from __future__ import annotations

import json
import re
import textwrap
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from ..agents.config import method_name
from ..config import NetworkConfig
from ..storage import new_file
from ..study.answers import NOTEBOOKS, answer
from ..study.answers import findings as found
from ..study.claims import CLAIMS, FILE, gather
from ..study.figures.system import system_svg
from ..study.methods import METHODS
from ..study.practice import practice
from ..study.presets import PRESETS
from ..study.store import read_table
from ..study.tuning import graph_agent, offline_agents
from .promises import promises

SIGNS = {"✔": "reproduced", "◐": "reproduced in part", "≈": "equivalent", "✘": "not reproduced", "?": "undecided"}


def _interval(row: pd.Series, name: str, digits: int) -> str:
    return f"{row[name]:.{digits}f} [{row[f'{name}_low']:.{digits}f}, {row[f'{name}_high']:.{digits}f}]"


def results(tables: Path, up: str) -> str:
    """Scores of notebook 04 as a Markdown table."""
    table = read_table(tables / "04_training_paradigms_summary.csv").set_index("method")
    network = NetworkConfig()  # that of every notebook, but for the length of an episode
    baseline = table.index[table.ratio_low == table.ratio_high][0]  # the reference's ratio to itself has no width
    lines = [
        f"| method | exchanged per TTI | sum rate | 5-percentile rate | R_score | normalised | ratio to {baseline} |",
        "|---|---|---|---|---|---|---|",
    ]
    # A method that is newer than the tables has no row yet.
    for method in (method for method in METHODS.values() if method.in_readme and method.name in table.index):
        row = table.loc[method.name]
        cells = [_interval(row, "sum_rate", 1), _interval(row, "tail_rate", 3)]
        cells += [
            _interval(row, "score", 2),
            f"{row.normalised_score:.0f}",
            "1" if method.name == baseline else _interval(row, "ratio", 2),
        ]
        lines.append(f"| {method.name} | {method.knowledge.exchanged(network)} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def claims(tables: Path, up: str) -> str:
    """The claims of the paper with the reasons of their verdicts as a Markdown table, with links to the notebooks."""
    lines = ["| id | claim | paper | ours [95% interval] | verdict | reason | |", "|---|---|---|---|---|---|---|"]
    for _, row in read_table(tables / FILE).iterrows():
        link = f"[{row.notebook[:2]}]({up}notebooks/{row.notebook}.ipynb)"
        word, colon, parts = row.verdict.partition(":")
        verdict = f"**{word}**{colon}{parts}"
        lines.append(f"| {row.id} | {row.claim} | {row.paper} | {_ours(row)} | {verdict} | {row.reason} | {link} |")
    return "\n".join(lines)


def verdicts(tables: Path, up: str) -> str:
    """The tally of the verdicts, and each claim of the paper as a sentence with its sign, as a Markdown table."""
    rows = read_table(tables / FILE)
    paper = rows[rows.id.str.startswith("K")]
    own = rows.drop(paper.index)
    tally = f"Of {len(paper)} claims: {_tally(paper)}."
    if len(own):
        tally += f" Of {len(own)} of this study's own ({', '.join(own.id)}): {_tally(own)}."
    lines = [tally, "", "| | claim | paper | ours | |", "|---|---|---|---|---|"]
    for _, row in paper.iterrows():
        lines.append(f"| {row.id} | {CLAIMS[row.id]} | {row.paper} | {_ours(row)} | {_sign(row.verdict)} |")
    return "\n".join(lines)


def _tally(rows: pd.DataFrame) -> str:
    count = Counter(map(_sign, rows.verdict))
    return ", ".join(f"{count[sign]} {sign} {meaning}" for sign, meaning in SIGNS.items() if count[sign])


def _ours(row: pd.Series) -> str:
    return f"{row.ours:.3f} [{row.low:.3f}, {row.high:.3f}]" if row.low < row.high else f"{row.ours:.3f}"


def _sign(verdict: str) -> str:
    """Of the word that a verdict of several parts begins with."""
    word = verdict.partition(":")[0]
    return next(sign for sign, meaning in SIGNS.items() if meaning == word)


def findings(tables: Path, up: str) -> str:
    """The findings as a Markdown list."""
    return "\n".join(f"- {sentence}" for sentence in found(tables))


def notebooks(tables: Path, up: str) -> str:
    """Question, answer and figure of each notebook as a Markdown table."""
    lines = ["| | question | answer | |", "|---|---|---|---|"]
    for name, (question, figure, _) in NOTEBOOKS.items():
        if (tables / f"{name}.csv").is_file():  # one that is newer than the tables has no row yet
            link, picture = f"[{name[:2]}]({up}notebooks/{name}.ipynb)", f"{up}figures/{figure}.png"
            image = f'<img src="{picture}" width="160" alt="Figure of notebook {name[:2]}: {question}">'
            lines.append(f"| {link} | {question} | *{answer(name, tables)}* | {image} |")
    return "\n".join(lines)


def tuned(tables: Path, up: str) -> str:
    """What the tuning chose for each learner as a Markdown table."""
    updates = PRESETS["paper"].updates
    graph = graph_agent(updates // 2)
    agents = {name: agent for name, agent in offline_agents(updates).items() if not agent.clones}
    lines = ["| learner | γ | α | learning rate | hidden units | batch | updates |", "|---|---|---|---|---|---|---|"]
    for name, agent in (agents | {method_name(graph): graph}).items():
        width = " × ".join(map(str, agent.hidden))
        facts = (name, agent.gamma, agent.alpha, agent.learning_rate, width, agent.batch_size, agent.num_updates)
        lines.append("| " + " | ".join(map(str, facts)) + " |")
    return "\n".join(lines)


def performance(tables: Path, up: str) -> str:
    """Rows of notebook 13 as a Markdown table."""
    lines = ["| what | measured | compared with | ratio [smallest, largest repeat] | target | reached by the median |"]
    lines.append("|---|---|---|---|---|---|")
    for _, row in read_table(tables / "13_benchmarks.csv", keep_default_na=False).iterrows():
        reference, ratio, spread = row.reference, "", ""
        if reference and row.reference_value != "":
            reference = f"{reference}: {_short(row.reference_value)}"
            ratio = f"{_short(row.ratio)} [{_short(row.ratio_low)}, {_short(row.ratio_high)}]"
        elif row.ratio_low != row.ratio_high:  # of the value itself
            spread = f" [{_short(row.ratio_low)}, {_short(row.ratio_high)}]"
        reached = {"True": "yes", "False": "**no**"}.get(str(row.reached), "")
        measured = f"{_short(row.value)}{spread} {row.unit}"
        lines.append(f"| {row.row} | {measured} | {reference} | {ratio} | {row.target} | {reached} |")
    return "\n".join(lines)


def _short(number: float | str) -> str:
    """Three digits, and thousands with a comma."""
    value = float(number)
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


BLOCKS: dict[str, Callable[[Path, str], str]] = {
    make.__name__: make for make in (findings, verdicts, notebooks, results, claims, tuned, performance, promises)
}


# What stands in a notebook's source between `# <!-- name -->` and `# <!-- /name -->`.
IN_NOTEBOOKS: dict[str, Callable[[str, Path], str]] = {
    "answer": lambda name, tables: f"**Answer.** {answer(name, tables)}",
    "practice": practice,
}


def in_notebook(text: str, name: str, tables: Path) -> str:
    """The source of a notebook with its blocks written anew; one that is newer than the tables stays as it is."""
    if not (tables / f"{name}.csv").is_file():
        return text
    for block, make in IN_NOTEBOOKS.items():
        found = re.search(rf"(^# <!-- {block} -->\n).*?(^# <!-- /{block} -->)", text, re.S | re.M)
        if found:
            lines = [line for part in make(name, tables).splitlines() for line in _wrapped(part)]
            body = "".join(f"# {line}".rstrip() + "\n" for line in lines)
            text = text[: found.end(1)] + body + text[found.start(2) :]
    return text


def _wrapped(line: str) -> list[str]:
    indent = "  " * line.startswith("* ")
    return textwrap.wrap(line, 118, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False) or [""]


def captions(notebook: Path) -> dict[str, str]:
    """Figure -> caption, from the outputs of a notebook's pair."""
    found = {}
    for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"]:
        for output in cell.get("outputs", []):
            text = "".join(output.get("data", {}).get("text/markdown", []))
            if match := re.match(r"\*\*Figure (\w+)\.\*\* (.*)", text, re.S):
                found[match[1]] = match[2]
    return found


def figures_page(root: Path) -> str:
    """figures/README.md: every figure with its caption."""
    parts = [
        "# Figures",
        "Each is drawn by its notebook from `tables/` and lies here as PNG and PDF. `rrmlab figures --format svg "
        "--width column` draws all of them in another format or width. The main tables lie beside their CSV as LaTeX "
        "(booktabs).",
    ]
    for pair in sorted((root / "notebooks").glob("[0-9][0-9]_*.ipynb")):
        for name, caption in captions(pair).items():
            alt = caption.partition(". ")[0].replace("`", "").rstrip(".")
            links = f"[PDF]({name}.pdf), [notebook](../notebooks/{pair.name})"
            parts += [f"## {name}", f'<img src="{name}.png" width="700" alt="{alt}">', f"{caption} ({links})"]
    return "\n\n".join(parts) + "\n"


def filled(root: Path) -> dict[Path, str]:
    """The pages: README.md and docs/**/*.md with their blocks `<!-- name -->` ... `<!-- /name -->` written anew from
    `figures/tables`, the sources of the notebooks with theirs, the picture docs/system.svg, and figures/README.md. A
    page links to the repository's files relative to itself.

    Raises:
        ValueError: a block that no function makes, or that stands on no page.
    """
    pages: dict[Path, str] = {}
    seen = set()
    for page in (root / "README.md", *sorted((root / "docs").rglob("*.md"))):
        text = page.read_text(encoding="utf-8")
        up = "../" * (len(page.relative_to(root).parts) - 1)
        for name in re.findall(r"^<!-- (\w+) -->$", text, re.M):
            block = re.search(rf"(^<!-- {name} -->\n).*?(^<!-- /{name} -->)", text, re.S | re.M)
            if name not in BLOCKS or block is None:
                raise ValueError(f"{page.name}: <!-- {name} --> must be one of {', '.join(BLOCKS)} and be closed")
            text = text[: block.end(1)] + BLOCKS[name](root / "figures" / "tables", up) + "\n" + text[block.start(2) :]
            seen.add(name)
        pages[page] = text
    if (root / "docs").is_dir():
        pages[root / "docs" / "system.svg"] = system_svg()
    for source in sorted((root / "notebooks").glob("[0-9][0-9]_*.py")):
        pages[source] = in_notebook(source.read_text(encoding="utf-8"), source.stem, root / "figures" / "tables")
    if (root / "notebooks").is_dir():
        pages[root / "figures" / "README.md"] = figures_page(root)
    if missing := BLOCKS.keys() - seen:
        raise ValueError(
            f"README.md and docs/ have no block {', '.join(f'<!-- {name} -->' for name in sorted(missing))}"
        )
    return pages


def stale(root: Path) -> list[Path]:
    """The pages whose numbers are not those of the tables."""
    pages = filled(root).items()
    return [page for page, text in pages if not page.exists() or text != page.read_text(encoding="utf-8")]


def update(root: Path) -> list[Path]:
    """Write the pages' blocks anew; the pages that changed."""
    pages, changed = filled(root), stale(root)
    for page in changed:
        with new_file(page) as beside:
            beside.write_text(pages[page], encoding="utf-8")
    return changed


def renew(root: Path) -> None:
    """Write claims.csv anew, then the pages; says which ones changed."""
    gather(root / "figures" / "tables")
    if (root / "README.md").is_file():
        for page in update(root):
            print(f"{page.relative_to(root)}: renewed from figures/")
