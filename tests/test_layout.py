"""Imports go down only, and some things are imported in one place or nowhere."""

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "vqcodec"

TIERS = (
    ("__main__",),
    ("cli",),
    ("distributed",),
    ("batch", "pillow_plugin"),
    ("vqcodec",),  # the package itself: the public names
    ("api",),
    ("codec",),
    ("weights", "images"),
    ("stream", "model", "coding"),
    ("files", "metrics", "concurrency"),
    ("config", "arithmetic"),
    ("errors", "defaults"),
)
"""Top to bottom.  A unit is a module or a folder of the package; ``training`` stands beside the tower."""

LEVEL = {unit: level for level, tier in enumerate(TIERS) for unit in tier}
MODULES = {
    ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__"): ast.parse(
        path.read_text(encoding="utf-8")
    )
    for path in sorted(PACKAGE.rglob("*.py"))
}


def unit(module: str) -> str:
    """``vqcodec.coding.rans`` -> ``coding``; ``vqcodec`` stays."""
    return module.split(".")[1] if "." in module else module


def imports(tree: ast.AST) -> set[str]:
    """Everything that is imported anywhere in a module, inside functions too, as dotted names."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide where they lead"
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                found.add(full if full in MODULES else str(node.module))
    return found


IMPORTS = {module: imports(tree) for module, tree in MODULES.items()}
OURS = {module: {n for n in names if n.split(".")[0] == "vqcodec"} for module, names in IMPORTS.items()}


@pytest.mark.parametrize("module", MODULES)
def test_imports_go_down(module):
    home = unit(module)
    assert home == "training" or home in LEVEL, f"{module} has no place in TIERS"
    for name in OURS[module]:
        target = unit(name)
        if target == "training":
            assert home == "training" or module == "vqcodec.cli.train", f"{module} imports {name}"
        elif home != "training":
            assert LEVEL[target] >= LEVEL[home] or module == "vqcodec", f"{module} imports {name} from above"


def test_imports_have_no_cycles():
    TopologicalSorter(OURS).prepare()  # raises CycleError


@pytest.mark.parametrize("module", [m for m in MODULES if unit(m) == "cli" and m != "vqcodec.cli.demo"])
def test_command_line_imports_heavy_things_on_demand_only(module):
    light = {"cli", "errors", "defaults", "config", "vqcodec.batch.jobs", "vqcodec.training"}
    body = [n for n in MODULES[module].body if isinstance(n, ast.Import | ast.ImportFrom)]
    ours = {name for name in imports(ast.Module(body, [])) if name in MODULES}
    assert {name for name in ours if unit(name) not in light} <= light


@pytest.mark.parametrize("one, other", [("model", "coding"), ("coding", "model")])
def test_networks_and_coding_do_not_know_each_other(one, other):
    for module, names in OURS.items():
        if unit(module) == one:
            assert other not in {unit(name) for name in names}, f"{module} imports {other}"


def test_one_module_imports_the_entropy_coder():
    users = {m for m, names in IMPORTS.items() if any(name.split(".")[0] == "constriction" for name in names)}
    assert users <= {"vqcodec.coding.rans"}


@pytest.mark.parametrize("module", MODULES)
def test_nothing_is_unpickled(module):
    roots = {name.split(".")[0] for name in IMPORTS[module]}
    assert not roots & {"pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}
    for node in ast.walk(MODULES[module]):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            assert (node.value.id, node.attr) not in {("torch", "load"), ("torch", "save")}
        if isinstance(node, ast.keyword):
            assert node.arg != "allow_pickle"
