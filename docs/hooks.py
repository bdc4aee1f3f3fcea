"""What `make docs` adds to MkDocs: files from outside docs/, pages of the API, formulas without a script, a check."""

import ast
import base64
import io
import re
import tempfile
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import griffe
import nbformat
from matplotlib.font_manager import FontProperties
from matplotlib.mathtext import math_to_image
from mkdocs.exceptions import PluginError
from mkdocs.plugins import event_priority
from mkdocs.structure.files import File

import rrmlab
from rrmlab.study.answers import NOTEBOOKS

ROOT = Path(__file__).resolve().parents[1]
# What the pages link to outside docs/; it has the same path in the site.
OUTSIDE = (
    "figures/*.p*",
    "figures/*.md",
    "figures/tables/*.csv",
    "figures/tables/*.tex",
    "examples/*",
    "CHANGELOG.md",
    "CITATION.cff",
    "LICENSE",
)
OUTSIDE += ("tests/mutants_survivors.csv", "tests/test_open_doors.py")
FOLDERS = sorted({pattern.split("/")[0] for pattern in OUTSIDE} | {"notebooks"})
ROOMS = {
    "game": ("config", "game"),
    "agents": ("agents",),
    "learning": ("learning",),
    "interop": ("interop", "joint_env", "with_d3rlpy"),
}
_notebooks = tempfile.TemporaryDirectory()  # of this build, as they are rendered


@event_priority(100)  # before mkdocs-jupyter looks for notebooks
def on_files(files, config):
    """Add what lies outside docs/, the notebooks and the pages of the API."""
    for pattern in OUTSIDE:
        for path in sorted(ROOT.glob(pattern)):
            name = path.relative_to(ROOT).as_posix()
            files.append(File.generated(config, name, abs_src_path=str(path)))
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        copy = Path(_notebooks.name) / "notebooks" / path.name
        copy.parent.mkdir(exist_ok=True)
        nbformat.write(rendered(nbformat.read(path, 4), path.stem), copy)
        files.append(File(f"notebooks/{path.name}", _notebooks.name, config.site_dir, config.use_directory_urls))
    for name, text in api_pages().items():
        files.append(File.generated(config, f"api/{name}.md", content=text))
    return files


def on_page_markdown(markdown, page, config, files):
    """A link that leaves docs/ has one step up less in the site; `<img>` becomes an image that MkDocs follows."""
    if page.file.src_dir is not None:  # examples/ and the changelog keep their places
        markdown = re.sub(rf"\.\./({'|'.join(FOLDERS)})", r"\1", markdown)
    image = r'<img src="([^"]+)" width="(\d+)" alt="([^"]+)">'
    return re.sub(image, r'![\3](\1){ width="\2" loading="lazy" }', markdown)


def on_page_content(html, page, config, files):
    """A notebook without the scripts of MathJax and Mermaid, which nbconvert loads from elsewhere."""
    return re.sub(r"<script[^>]*>(?:(?!</script>).)*?</script>", _own_script, html, flags=re.S)


def _own_script(match):
    return "" if re.search(r'src=""|mathjax|mermaid', match[0]) else match[0]


def on_post_build(config):
    """Fail unless every link of every page leads to a file of the site, and no page loads anything from elsewhere."""
    site, problems = Path(config.site_dir), []
    for page in sorted(set(site.rglob("*.html")) - {site / "404.html"}):  # a server shows that one in any folder
        html = page.read_text(encoding="utf-8")
        links = Links(html)
        problems += [f"{page.relative_to(site)}: {load}" for load in re.findall(r"import\W{1,4}https?://[^\"']*", html)]
        for tag, target in links.found:
            parts = urlsplit(target)
            if parts.scheme or parts.netloc:
                if tag != "a" and parts.scheme != "data":
                    problems.append(f"{page.relative_to(site)}: <{tag}> loads {target}")
            elif parts.path and not (page.parent / unquote(parts.path)).exists():
                problems.append(f"{page.relative_to(site)}: <{tag}> leads to {target}, which is not there")
        problems += [f"{page.relative_to(site)}: a picture without a text" for _ in range(links.without_text)]
    if problems:
        raise PluginError("\n".join(problems))


class Links(HTMLParser):
    """The targets of a page, with their tags, and the number of its pictures without a text."""

    def __init__(self, html):
        super().__init__()
        self.found, self.without_text = [], 0
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.found += [(tag, given[key]) for key in ("href", "src") if given.get(key)]
        self.without_text += tag == "img" and not given.get("alt")


class Docstrings(griffe.Extension):
    """Doctests become blocks of code; the fields of a configuration are listed with what is said of them."""

    def on_class_members(self, *, cls, **kwargs):
        lines = []
        for field in cls.attributes.values():
            if isinstance(field.value, griffe.ExprCall) and str(field.value.function) == "constant":
                default, *texts = field.value.arguments
                unit, origin, text = (ast.literal_eval(str(each)) for each in texts)
                field.value = default
                lines.append(f"    {field.name}: {text} ({', '.join(filter(None, (unit, origin)))}; default {default})")
        if lines:
            cls.docstring.value += "\n\nAttributes:\n" + "\n".join(lines)

    def on_instance(self, *, obj, **kwargs):
        if obj.docstring:
            lines = r"(?m)(^>>> .*(?:\n(?!\s*$).*)*)"
            obj.docstring.value = re.sub(lines, r"```pycon\n\1\n```", obj.docstring.value)


def rendered(notebook, name):
    """The notebook with formulas as pictures, and a text for every picture."""
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = re.sub(r"\$\$?([^$]+)\$?\$", formula, cell.source)
        for number, output in enumerate(cell.get("outputs", [])):
            if "image/png" in output.get("data", {}):
                text = f"Figure {number + 1} of notebook {name[:2]}: {NOTEBOOKS[name][0]}"
                facts = output.metadata.setdefault("image/png", {})
                facts["alt"] = facts.get("alt") or text
    return notebook


def formula(match):
    """The SVG of a formula in TeX, drawn by Matplotlib, on the line of the text."""
    tex = re.sub(r"\\(ge|le)\b", r"\\\1q", match[1].replace("\n", " "))  # Matplotlib has the long names alone
    svg = io.BytesIO()
    depth = math_to_image(f"${tex}$", svg, prop=FontProperties(size=12), format="svg", dpi=72)
    picture = base64.b64encode(svg.getvalue()).decode()
    text = tex.replace("&", "&amp;").replace("<", "&lt;").replace('"', "&quot;")
    place = f'class="formula" style="vertical-align:-{depth:.1f}px"'
    return f'<img {place} alt="{text}" src="data:image/svg+xml;base64,{picture}">'


def api_pages():
    """Name -> Markdown with directives of mkdocstrings."""
    public = "\n\n".join(f"::: rrmlab.{name}" for name in sorted(rrmlab.__all__))
    pages = {"public": f"# Public names\n\nEach of these is imported from `rrmlab`.\n\n{public}\n"}
    for room, modules in ROOMS.items():
        paths = [path for module in modules for path in module_files(module)]
        names = [path.relative_to(ROOT).with_suffix("").as_posix().replace("/", ".") for path in paths]
        pages[room] = f"# {room}\n\n" + "\n\n".join(f"::: {name}" for name in names) + "\n"
    return pages


def module_files(module):
    """The files of a module, or of all modules of a room."""
    folder = ROOT / "rrmlab" / module
    if not folder.is_dir():
        return [folder.with_suffix(".py")]
    return sorted(path for path in folder.glob("*.py") if path.stem != "__init__")
