"""The shape of the code: which module may import which, what is public, and what a notebook may
hold.

After a deliberate change of the public names: `python -m tests.test_structure >
tests/public_names.json`.
"""

import ast
import json
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
NAMES = ROOT / "tests" / "public_names.json"
NOTEBOOKS = [*sorted((ROOT / "nbs").rglob("*.ipynb")), ROOT / "dashboard.ipynb"]
DIRECTIVE = re.compile(r"^#\| *(\w+) *(.*)$", re.MULTILINE)
ABSOLUTE = re.compile(r"(?<![\w.~/:<}\])-])/(tmp|root|home|work|Users|opt|var)\b|\b[A-Z]:\\")
DATA_URL = re.compile(r"base64,[A-Za-z0-9+/=\s]+")


@dataclass(frozen=True)
class Exported:
    "A cell that becomes a part of a module."

    source: str
    public: bool

    @property
    def tree(self):
        return ast.parse(self.source)


def text(value):
    return value if isinstance(value, str) else "".join(value)


@cache
def read(path):
    "A notebook's JSON."
    return json.loads(path.read_text(encoding="utf8"))


def code_cells(path):
    return [cell for cell in read(path)["cells"] if cell["cell_type"] == "code"]


def directives(cell):
    return dict(DIRECTIVE.findall(text(cell["source"])))


@cache
def exported(path):
    "The cells of a notebook that become its module."
    return [
        Exported(text(cell["source"]), "export" in directives(cell))
        for cell in code_cells(path)
        if directives(cell).keys() & {"export", "exporti", "exports"}
    ]


@cache
def modules():
    "The notebook of each module, by the module's name."
    found = [
        (directives(cell)["default_exp"], path)
        for path in NOTEBOOKS
        if path.exists()
        for cell in code_cells(path)
        if "default_exp" in directives(cell)
    ]
    assert len(found) == len(dict(found)), "two notebooks export the same module"
    return dict(found)


def number(path):
    return int(path.name.split("_")[0])


def imported(tree):
    """What a piece of code imports from this package: pairs of a module and a name in it, either ''
    where there is none.
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (
                (alias.name.partition(".")[2], "")
                for alias in node.names
                if alias.name.split(".")[0] == "mnist_nb"
            )
        elif isinstance(node, ast.ImportFrom) and (
            node.level or node.module.split(".")[0] == "mnist_nb"
        ):
            module = node.module or "" if node.level else node.module.partition(".")[2]
            yield from ((module, alias.name) for alias in node.names)


def imports_only(node):
    "Whether a statement imports, for the program or for its annotations alone."
    if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
        return all(map(imports_only, node.body))
    return isinstance(node, (ast.Import, ast.ImportFrom))


def definitions(tree):
    return [node for node in tree.body if isinstance(node, (ast.FunctionDef, ast.ClassDef))]


def is_command(node):
    "Whether a function is a command of click, whose options say its types."
    return any(
        re.search(r"\b(command|group)\(", ast.unparse(decorator))
        for decorator in node.decorator_list
    )


def public_definitions(path):
    "The functions and classes that a module shows, and the methods of those classes."
    tops = [
        node
        for cell in exported(path)
        if cell.public
        for node in definitions(cell.tree)
        if not node.name.startswith("_")
    ]
    methods = [
        node
        for top in tops
        if isinstance(top, ast.ClassDef)
        for node in definitions(top)
        if not node.name.startswith("_")
    ]
    return [*tops, *methods]


def unannotated(node):
    "The arguments of a function that say no type, and 'return' where the result says none."
    arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
    bare = [
        each.arg
        for each in arguments
        if each.annotation is None and each.arg not in ("self", "cls")
    ]
    return bare + ["return"] * (node.returns is None)


def public_names():
    "The `__all__` of each module, read without importing it."

    def names(path):
        for node in ast.parse(path.read_text(encoding="utf8")).body:
            if isinstance(node, ast.Assign) and node.targets[0].id == "__all__":
                return ast.literal_eval(node.value)

    return {
        name: names(ROOT / "mnist_nb" / f"{name.replace('.', '/')}.py")
        for name in sorted(modules())
    }


each_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
each_module = pytest.mark.parametrize(
    "path", [path for path in NOTEBOOKS if path in modules().values()], ids=lambda path: path.stem
)


@each_module
def test_a_module_imports_only_lower_numbers(path):
    numbers = {module: number(notebook) for module, notebook in modules().items()}
    for cell in exported(path):
        for module, name in imported(cell.tree):
            assert name != "*"
            if not module:
                assert name == "__version__", (
                    f"{name!r} is imported from the package, not from its module"
                )
            else:
                assert numbers[module] < number(path), module


def test_each_module_has_one_notebook_and_its_name():
    written = {
        ".".join(path.relative_to(ROOT / "mnist_nb").with_suffix("").parts)
        for path in (ROOT / "mnist_nb").rglob("*.py")
        if not path.stem.startswith("_")
    }
    assert written == set(modules())
    for name, path in modules().items():
        folder = path.parent.relative_to(ROOT / "nbs")
        assert name == ".".join((*folder.parts, path.stem.split("_", 1)[1]))
    assert len({number(path) for path in modules().values()}) == len(modules())


def test_public_names():
    assert public_names() == json.loads(NAMES.read_text(encoding="utf8"))


@each_notebook
def test_title_and_summary(path):
    first = read(path)["cells"][0]
    assert first["cell_type"] == "markdown"
    assert re.fullmatch(r"# \S[^\n]*\n\n> \S[^\n]*", text(first["source"]).strip())


@each_notebook
def test_format(path):
    notebook = read(path)
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    ids = [cell["id"] for cell in notebook["cells"]]
    assert len(set(ids)) == len(ids)
    assert "widgets" not in notebook["metadata"]


@each_notebook
def test_outputs(path):
    for cell in code_cells(path):
        assert cell["execution_count"] is None
        for output in cell["outputs"]:
            assert output.get("execution_count") is None
            assert output["output_type"] != "error" and output.get("name") != "stderr"
            assert "application/vnd.jupyter.widget-view+json" not in output.get("data", {})


@each_notebook
def test_no_absolute_paths(path):
    for cell in read(path)["cells"]:
        pieces = [cell["source"], *(output.get("text", "") for output in cell.get("outputs", []))]
        pieces += [
            value
            for output in cell.get("outputs", [])
            for kind, value in output.get("data", {}).items()
            if kind.startswith("text/") or kind == "image/svg+xml"
        ]
        for piece in pieces:
            assert not ABSOLUTE.search(DATA_URL.sub("", text(piece))), cell["id"]


@each_notebook
def test_directives_are_on_top_and_known(path):
    known = {"default_exp", "export", "exporti", "exports", "hide", "slow", "echo", "eval"}
    for cell in code_cells(path):
        lines = text(cell["source"]).splitlines()
        top = next((at for at, line in enumerate(lines) if not line.startswith("#|")), len(lines))
        assert not [line for line in lines[top:] if re.match(r"#\s*\|", line)], cell["id"]
        assert {line.split()[1].rstrip(":") for line in lines[:top]} <= known, cell["id"]


@each_module
def test_one_public_symbol_a_cell(path):
    for cell in exported(path):
        shown = [node.name for node in definitions(cell.tree) if not node.name.startswith("_")]
        assert len(shown) <= 1 or not cell.public, shown


@each_module
def test_imports_keep_to_themselves(path):
    for cell in exported(path):
        kinds = {imports_only(node) for node in cell.tree.body}
        assert len(kinds) <= 1, cell.source


@each_module
def test_public_names_are_documented(path):
    assert not [node.name for node in public_definitions(path) if not ast.get_docstring(node)]


@each_module
def test_public_names_are_annotated(path):
    found = {
        node.name: unannotated(node)
        for node in public_definitions(path)
        if isinstance(node, ast.FunctionDef) and not is_command(node)
    }
    assert not {name: bare for name, bare in found.items() if bare}


if __name__ == "__main__":
    print(json.dumps(public_names(), indent=1))
