"""The direction of imports, what the command line loads, and the name that must never be taken."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
# A folder may import from folders before it; folders on one line do not know each other.
ORDER = (
    ("recipe",),
    ("processes",),
    ("data",),
    ("model", "stand_ins"),
    ("memory",),
    ("train", "evaluate", "export"),
    ("translation",),
    ("phases",),
    ("cli",),
)
LEVEL = {name: level for level, names in enumerate(ORDER) for name in names}
PACKAGES = ("lilift", "kernels/lilift_kernels")
MOST_LINES = 320
MOST_FILES = 16  # of a folder's own; sub-folders have their own count
ONE_MODULE_A_VERB = "lilift/cli"  # as many files as there are verbs
HEAVY = ("torch", "transformers", "bitsandbytes", "peft", "datasets", "numpy", "pydantic", "rich", "jinja2", "yaml")


def python_files(folder: str) -> Iterator[Path]:
    return (ROOT / folder).rglob("*.py")


def all_python_files() -> Iterator[Path]:
    for folder in (*PACKAGES, "tests", "benchmarks"):
        yield from python_files(folder)


def imported_modules(path: Path, *, top_level_only: bool = False) -> Iterator[str]:
    """Every module that a file imports; `from a import b` gives both ``a`` and ``a.b``."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    nodes = _executed_at_import(tree) if top_level_only else ast.walk(tree)
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{path}: relative import"
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _executed_at_import(tree: ast.Module) -> Iterator[ast.stmt]:
    for node in tree.body:
        type_checking = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        if not type_checking:
            yield node


def test_imports_go_one_way() -> None:
    wrong = []
    for path in python_files("lilift"):
        parts = path.relative_to(ROOT / "lilift").parts
        if len(parts) < 2:
            continue
        here = parts[0]
        for module in imported_modules(path):
            there = module.split(".")[1] if module.startswith("lilift.") else here
            if there in LEVEL and there != here and LEVEL[there] >= LEVEL[here]:
                wrong.append(f"{path.relative_to(ROOT)} imports {module}")
    assert not wrong


def test_every_folder_of_the_package_has_its_place_in_the_order() -> None:
    folders = {path.parent.name for path in (ROOT / "lilift").glob("*/__init__.py")}
    assert folders == set(LEVEL)


def test_no_two_modules_import_each_other() -> None:
    modules = {".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in python_files("lilift")}
    edges = {name: {other for other in imported_modules(path) if other in modules} - {name} for name, path in modules.items()}
    done: set[str] = set()

    def visit(name: str, trail: tuple[str, ...]) -> None:
        assert name not in trail, " → ".join((*trail[trail.index(name) :], name))
        if name not in done:
            for other in sorted(edges[name]):
                visit(other, (*trail, name))
            done.add(name)

    for name in modules:
        visit(name, ())


def test_no_file_does_several_things() -> None:
    lengths = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in all_python_files()}
    assert not {str(path.relative_to(ROOT)): length for path, length in lengths.items() if length > MOST_LINES}


def test_no_folder_is_a_heap() -> None:
    counts = Counter(str(path.parent.relative_to(ROOT)) for path in all_python_files() if path.name != "__init__.py")
    assert not {folder: count for folder, count in counts.items() if count > MOST_FILES and folder != ONE_MODULE_A_VERB}


def test_no_two_modules_share_a_name() -> None:
    """A traceback or an editor's tab shows the name alone. A verb's module has the verb's name, whatever else has it."""
    named = defaultdict(list)
    for folder in PACKAGES:
        for path in python_files(folder):
            if path.stem not in ("__init__", "__main__") and path.parent != ROOT / ONE_MODULE_A_VERB:
                named[path.stem.replace("_", "").removesuffix("s")].append(str(path.relative_to(ROOT)))
    assert not {name: paths for name, paths in named.items() if len(paths) > 1}


def test_every_file_opens_by_saying_what_it_is_for() -> None:
    """One line that ends as a sentence does: lists of files quote it."""
    without = []
    for path in all_python_files():
        docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        first, _, following = docstring.partition("\n")
        if not first.endswith((".", "?")) or following.split("\n")[0].strip():
            without.append(str(path.relative_to(ROOT)))
    assert not without


def test_tests_mirror_what_they_test() -> None:
    """``tests/data/texts`` tests ``lilift/data/texts``: a folder of tests has a folder of the same name behind it."""
    homes = [ROOT / "lilift", ROOT / "kernels" / "lilift_kernels", ROOT]
    for folder in {path.parent.relative_to(ROOT / "tests") for path in python_files("tests")}:
        inside_kernels = folder.parts[:1] == ("kernels",)
        wanted = Path(*folder.parts[1:]) if inside_kernels else folder
        assert any((home / wanted).is_dir() for home in homes), f"tests/{folder} mirrors nothing"


def test_contributing_shows_every_room_and_only_files_that_exist() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`((?:lilift|kernels|tests|benchmarks|docs|recipes)/[\w./-]*)`", text))
    assert not {name for name in named if not (ROOT / name).exists() and name != "recipes/NAME.yaml"}
    rooms = {str(path.parent.relative_to(ROOT)) for folder in PACKAGES for path in (ROOT / folder).rglob("__init__.py")}
    assert rooms - {"lilift"} <= named


def test_the_kernels_know_nothing_of_lilift() -> None:
    for path in python_files("kernels"):
        assert not [module for module in imported_modules(path) if module.split(".")[0] == "lilift"], path


def test_the_command_line_loads_nothing_heavy_before_a_verb_runs() -> None:
    for path in python_files("lilift/cli"):
        assert not [module for module in imported_modules(path, top_level_only=True) if module.split(".")[0] in HEAVY], path
    listing = "import sys, lilift.cli.app as app; app.build_parser().format_help(); print(*sorted(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", listing], capture_output=True, text=True, check=True).stdout.split()
    assert not set(HEAVY) & set(loaded)


def test_a_recipe_is_validated_with_the_libraries_that_read_it_alone() -> None:
    """`recipe validate` answers at once: models in folders are checked without numpy, gguf, torch or the hub's client."""
    listing = (
        "import sys; before = set(sys.modules); import lilift.cli.app as app; "
        "assert app.main(['recipe', 'validate', 'tiny-cpu']) == 0; print(*sorted(set(sys.modules) - before))"
    )
    loaded = subprocess.run([sys.executable, "-c", listing], capture_output=True, text=True, check=True, cwd=ROOT).stdout
    packages = {name for module in loaded.split("\n")[1].split() if not (name := module.split(".")[0]).startswith("_")}
    of_libraries = {
        "pydantic",
        "pydantic_core",
        "annotated_types",
        "typing_extensions",
        "typing_inspection",
        "yaml",
        "cython_runtime",
    }
    assert packages - set(sys.stdlib_module_names) <= {"lilift", *of_libraries}
    assert "lilift.evaluate.answers" not in loaded  # its many patterns serve answers and benchmarks of one's own


def test_recipes_speak_without_any_heavy_library() -> None:
    allowed = {"lilift", "pydantic", "yaml", *sys.stdlib_module_names}
    for path in python_files("lilift/recipe"):
        assert {module.split(".")[0] for module in imported_modules(path)} <= allowed, path


@pytest.mark.parametrize("package", ["kernels", "recipes"])
def test_our_folders_are_not_installed_under_names_that_others_own(package: str) -> None:
    """Hugging Face publishes a package `kernels`, and transformers and bitsandbytes look for it."""
    assert not (ROOT / package / "__init__.py").exists()
    search = f"import importlib.util; print(importlib.util.find_spec({package!r}).origin)"
    found = subprocess.run([sys.executable, "-c", search], capture_output=True, text=True, cwd=ROOT, check=True)
    assert str(ROOT) not in found.stdout, "from the repository root the folder may only be seen as a bare namespace"


@pytest.mark.parametrize("start", [["-m", "lilift", "--version"], ["-c", "import lilift.model.llms.llm"]])
def test_transformers_and_bitsandbytes_load_from_the_repository_root(start: list[str]) -> None:
    done = subprocess.run([sys.executable, *start], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    assert "kernels" not in done.stderr


def test_nothing_that_could_run_code_is_ever_loaded() -> None:
    for folder in ("lilift", "kernels", "benchmarks"):
        for path in python_files(folder):
            text = path.read_text(encoding="utf-8")
            assert "torch.load(" not in text, path
            assert not {"pickle", "dill", "cloudpickle"} & set(imported_modules(path)), path
