"""What is public, what is light to import, and what each folder says of itself."""

import ast
import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import provenance
from provenance.cli import cli

PACKAGE = Path(provenance.__file__).parent

LIGHT_FOLDERS = [
    "attest",
    "audit",
    "checkpoints",
    "cli",
    "cluster",
    "estimate",
    "evidence",
    "gate",
    "identification",
    "plugin",
    "report",
    "store",
    "suite",
]
"""Folders of which every file is loaded at pytest's start, or reads and judges stored evidence."""

LIGHT_FILES = [
    "comparison/executor",
    "comparison/limits",
    "comparison/make_fingerprint",
    "comparison/kept_closeness",
    "comparison/models",
    "comparison/one_of_many",
    "comparison/pair",
    "comparison/per_model",
    "comparison/plan",
    "comparison/records",
    "inputs/corpus",
    "recipes/quickstart",
    "recipes/recipe",
    "recipes/settings",
    "recipes/sizes",
    "statistics/__init__",
    "statistics/_student_t",
    "statistics/pvalues",
    "statistics/registry",
]


def name_of(path):
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


LIGHT = sorted(
    {
        *(name_of(path) for path in PACKAGE.glob("*.py")),
        *(name_of(path) for folder in LIGHT_FOLDERS for path in (PACKAGE / folder).rglob("*.py")),
        *(name_of(PACKAGE / f"{file}.py") for file in LIGHT_FILES),
    }
    - {"provenance.__main__"}
)


# the public names


def isort_style(name):
    """Constants, then classes, then the rest: the order of ruff's RUF022."""
    kind = 0 if name.isupper() and len(name) > 1 else 1 if name[:1].isupper() else 2
    return kind, name


def test_all_is_sorted():
    assert provenance.__all__ == sorted(set(provenance.__all__), key=isort_style)


def test_all_names_have_a_home_and_no_others_do():
    assert set(provenance._HOMES) == set(provenance.__all__)


@pytest.mark.parametrize("name", provenance.__all__)
def test_a_public_name_is_what_its_home_holds(name):
    module, _, attribute = provenance._HOMES[name].partition(":")
    home = import_module(f"provenance.{module}")
    assert getattr(provenance, name) is getattr(home, attribute or name)


def test_a_type_checker_sees_the_same_names_from_the_same_homes():
    tree = ast.parse((PACKAGE / "__init__.py").read_text("utf-8"))
    guarded = [node for node in tree.body if is_type_checking(node)]
    seen = {
        alias.asname or alias.name: (node.module, alias.name)
        for guard in guarded
        for node in guard.body
        for alias in node.names
        if node.module != "collections.abc"
    }
    homes = {name: home.partition(":") for name, home in provenance._HOMES.items()}
    assert seen == {
        name: (f"provenance.{module}", attribute or name)
        for name, (module, _, attribute) in homes.items()
    }


def test_dir_shows_the_public_names_alone():
    assert dir(provenance) == sorted(provenance.__all__)


def test_a_star_import_brings_the_public_names_alone():
    names = {}
    exec("from provenance import *", names)
    assert set(names) - {"__builtins__"} == set(provenance.__all__)


@pytest.mark.parametrize("name", ["Comparison", "fisher", "compare_all", "_private"])
def test_another_name_is_no_attribute(name):
    with pytest.raises(AttributeError, match=f"^module 'provenance' has no attribute '{name}'$"):
        getattr(provenance, name)


@pytest.mark.parametrize("name", provenance.__all__)
def test_a_public_function_or_class_is_documented(name):
    value = getattr(provenance, name)
    if callable(value):
        assert value.__doc__


# what is light to import


def loaded_by(names):
    """Modules that a fresh Python holds after importing these, one a line."""
    code = "import importlib, sys\nfor name in sys.argv[1:]: importlib.import_module(name)\n"
    code += "print(*sys.modules, sep='\\n')"
    command = [sys.executable, "-W", "error", "-c", code, *names]
    return set(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split())


@pytest.fixture(scope="module")
def light():
    return loaded_by(LIGHT)


@pytest.mark.slow
@pytest.mark.parametrize(
    "heavy",
    ["torch", "transformers", "tokenizers", "safetensors.torch", "ray", "provenance.capture.units"],
)
def test_what_pytest_loads_at_its_start_is_light(light, heavy):
    assert set(LIGHT) <= light
    assert heavy not in light


def test_importing_the_package_loads_none_of_its_modules():
    assert [name for name in loaded_by(["provenance"]) if name.startswith("provenance.")] == []


def test_reading_a_suite_loads_no_engine():
    assert not loaded_by(["provenance.suite.read"]) & {
        "provenance.comparison.executor",
        "numpy",
        "scipy",
    }


def test_the_command_line_begins_without_what_computes():
    assert not loaded_by(["provenance.cli"]) & {
        "numpy",
        "pydantic",
        "sqlalchemy",
        "huggingface_hub",
    }


HEAVY = {
    *("torch", "numpy", "scipy", "transformers", "tokenizers", "safetensors", "pydantic", "yaml"),
    *("jinja2", "networkx", "sqlalchemy", "huggingface_hub", "fsspec", "psutil", "platformdirs"),
    *("ray", "pytest"),
}


def loaded_by_the_command(arguments, **variables):
    """Modules that `provenance` with these arguments has loaded when it ends."""
    code = (
        "import atexit, sys\natexit.register(lambda: print('\\n', *sys.modules, file=sys.stderr))\n"
    )
    code += "from provenance.cli import main\nmain(sys.argv[1:])"
    command = [sys.executable, "-c", code, *arguments]
    run = subprocess.run(
        command, capture_output=True, text=True, check=True, env={**os.environ, **variables}
    )
    assert run.stdout
    return set(run.stderr.splitlines()[-1].split())


@pytest.mark.parametrize("name", sorted(cli.commands))
def test_the_help_of_a_command_loads_what_it_is_made_of_alone(name):
    assert not loaded_by_the_command([name, "--help"]) & HEAVY


def test_the_help_of_compare_loads_no_other_command():
    loaded = loaded_by_the_command(["compare", "--help"])
    own = {
        "_base",
        "_compare",
        "_completion",
        "_console",
        "_executor",
        "_expect",
        "_inputs",
        "_options",
        "_progress",
    }
    own |= {"_sections"}
    names = {name.rpartition(".")[2] for name in loaded if name.startswith("provenance.cli.")}
    assert names == own
    assert not {name for name in loaded if name.startswith(("rich", "importlib.metadata"))}


@pytest.mark.parametrize("arguments", [["--help"], ["--version"]], ids=" ".join)
def test_help_and_version_load_no_engine(arguments):
    assert not loaded_by_the_command(arguments) & HEAVY


@pytest.mark.parametrize(
    "words", ["provenance com", "provenance compare q", "provenance compare --"]
)
def test_a_shell_completes_without_what_computes(words):
    told = {"_PROVENANCE_COMPLETE": "zsh_complete", "COMP_WORDS": words}
    loaded = loaded_by_the_command([], **told, COMP_CWORD=str(len(words.split()) - 1))
    assert not loaded & HEAVY


@pytest.mark.slow
def test_what_names_no_engine_names_no_pytest():
    assert "pytest" not in loaded_by(["provenance.cli", "provenance.comparison.executor"])


# what each folder says of itself


@pytest.mark.parametrize(
    "folder",
    sorted(path.parent for path in PACKAGE.rglob("__init__.py")),
    ids=lambda path: path.name,
)
def test_a_folder_says_what_it_is(folder):
    assert ast.get_docstring(ast.parse((folder / "__init__.py").read_text("utf-8")))


def is_type_checking(node):
    return isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")
