"""Imports go down the tiers only; some libraries are imported in one module or in none."""

import ast
from collections.abc import Collection, Mapping
from graphlib import CycleError, TopologicalSorter
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
    ("config", "arithmetic", "outer_points"),
    ("errors", "defaults"),
)
"""Units, that is modules and folders of the package, top to bottom.  ``training`` is in no tier: see the rule below."""

LEVEL = {unit: level for level, tier in enumerate(TIERS) for unit in tier}


def unit(module: str) -> str:
    """Return the unit of a module: ``vqcodec.coding.rans`` -> ``coding``; ``vqcodec`` stays."""
    return module.split(".")[1] if "." in module else module


def imports(tree: ast.AST, modules: Collection[str]) -> set[str]:
    """Return everything that a module imports, inside functions too, as dotted names."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "import by the full name, not relatively"
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                found.add(full if full in modules else str(node.module))
    return found


def import_graph(modules: Mapping[str, ast.AST]) -> dict[str, set[str]]:
    """Return the imports of each module from the package itself."""
    return {
        module: {name for name in imports(tree, modules) if name.split(".")[0] == "vqcodec"}
        for module, tree in modules.items()
    }


def upward_imports(graph: Mapping[str, set[str]]) -> list[str]:
    """Return what breaks the order of :data:`TIERS`, one sentence each.

    The package itself may import anything: it does so on first use of a name.
    """
    found = []
    for module, names in graph.items():
        home = unit(module)
        if home != "training" and home not in LEVEL:
            found.append(f"{module} is missing in TIERS")
            continue
        for name in sorted(names):
            target = unit(name)
            if target == "training":
                allowed = home == "training" or module == "vqcodec.cli.train"
            else:
                allowed = home == "training" or module == "vqcodec" or LEVEL.get(target, -1) >= LEVEL[home]
            if not allowed:
                found.append(f"{module} imports {name}")
    return found


def check_no_circles(graph: Mapping[str, set[str]]) -> None:
    """Raise :class:`CycleError` for modules, or units, that import each other."""
    TopologicalSorter(graph).prepare()
    units: dict[str, set[str]] = {}
    for module, names in graph.items():
        if module != "vqcodec":  # imports on first use only
            units.setdefault(unit(module), set()).update(unit(name) for name in names)
    TopologicalSorter({home: targets - {home} for home, targets in units.items()}).prepare()


MODULES = {
    ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__"): ast.parse(
        path.read_text(encoding="utf-8")
    )
    for path in sorted(PACKAGE.rglob("*.py"))
}
IMPORTS = {module: imports(tree, MODULES) for module, tree in MODULES.items()}
OURS = import_graph(MODULES)


def test_imports_go_down():
    assert upward_imports(OURS) == []


def test_imports_have_no_circles():
    check_no_circles(OURS)


MADE_UP = {
    "vqcodec.cli.main": "from vqcodec.codec import codec",
    "vqcodec.codec.codec": "def work():\n    from vqcodec import coding",
    "vqcodec.coding": "",
    "vqcodec.coding.rans": "import vqcodec.errors",
    "vqcodec.images.reading": "",
    "vqcodec.weights.registry": "from vqcodec.images.reading import Picture",
    "vqcodec.errors": "",
}
"""Sources of a package that keeps the rules."""


def made_up(**changed: str) -> dict[str, set[str]]:
    """Return the import graph of the made-up package with some sources changed; ``__`` stands for a dot."""
    sources = MADE_UP | {f"vqcodec.{name.replace('__', '.')}": source for name, source in changed.items()}
    return import_graph({module: ast.parse(source) for module, source in sources.items()})


def test_the_rules_allow_imports_that_go_down():
    assert upward_imports(made_up()) == []
    check_no_circles(made_up())


@pytest.mark.parametrize(
    ("module", "source", "said"),
    [
        ("coding__rans", "from vqcodec.codec import codec", "vqcodec.coding.rans imports vqcodec.codec.codec"),
        ("errors", "def late():\n    import vqcodec.cli.main", "vqcodec.errors imports vqcodec.cli.main"),
        ("codec__codec", "from vqcodec.training import export", "vqcodec.codec.codec imports vqcodec.training"),
        ("images__reading", "import vqcodec", "vqcodec.images.reading imports vqcodec"),
        ("novel__module", "", "vqcodec.novel.module is missing in TIERS"),
        ("coding__rans", "import vqcodec.novel", "vqcodec.coding.rans imports vqcodec.novel"),
    ],
)
def test_the_rules_refuse_imports_that_go_up(module, source, said):
    assert upward_imports(made_up(**{module: source})) == [said]


@pytest.mark.parametrize(
    "changed",
    [
        {"coding__rans": "from vqcodec.coding import symbols", "coding__symbols": "from vqcodec.coding import rans"},
        {"images__reading": "from vqcodec.weights import registry"},  # two modules of one tier
        {"images__formats": "from vqcodec.weights import registry"},  # two folders of one tier, through other modules
    ],
)
def test_the_rules_refuse_circles(changed):
    assert upward_imports(made_up(**changed)) == []
    with pytest.raises(CycleError):
        check_no_circles(made_up(**changed))


@pytest.mark.parametrize("module", [m for m in MODULES if unit(m) == "cli" and m != "vqcodec.cli.demo"])
def test_command_line_imports_heavy_things_on_demand_only(module):
    light = {"cli", "errors", "defaults", "config", "vqcodec.batch.jobs", "vqcodec.training"}
    body = [n for n in MODULES[module].body if isinstance(n, ast.Import | ast.ImportFrom)]
    ours = {name for name in imports(ast.Module(body, []), MODULES) if name in MODULES}
    assert {name for name in ours if unit(name) not in light} <= light


@pytest.mark.parametrize("one, other", [("model", "coding"), ("coding", "model")])
def test_networks_and_coding_do_not_know_each_other(one, other):
    for module, names in OURS.items():
        if unit(module) == one:
            assert other not in {unit(name) for name in names}, f"{module} imports {other}"


def test_one_module_imports_the_entropy_coder():
    users = {m for m, names in IMPORTS.items() if any(name.split(".")[0] == "constriction" for name in names)}
    assert users <= {"vqcodec.coding.rans"}


def test_numba_is_optional():
    """One module needs it, one tries to import it, one needs the former; all others work without."""
    users = {m for m, names in IMPORTS.items() if any(name.split(".")[0] == "numba" for name in names)}
    assert users <= {"vqcodec.coding.kernels", "vqcodec.coding.grids"}
    assert {m for m, names in OURS.items() if "vqcodec.coding.kernels" in names} == {"vqcodec.coding.compiled"}
    assert {m for m, names in OURS.items() if "vqcodec.coding.compiled" in names} == {"vqcodec.coding.grids"}


UNPICKLED = {"vqcodec.training.perceptual": {("torch", "load")}}
"""What a module may call although it reads pickles; see the test below."""


@pytest.mark.parametrize("module", MODULES)
def test_nothing_is_unpickled(module):
    roots = {name.split(".")[0] for name in IMPORTS[module]}
    assert not roots & {"pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}
    for node in ast.walk(MODULES[module]):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            known = {("torch", "load"), ("torch", "save")} - UNPICKLED.get(module, set())
            assert (node.value.id, node.attr) not in known
        if isinstance(node, ast.keyword):
            assert node.arg != "allow_pickle"


def test_weights_of_other_packages_are_read_as_tensors_alone():
    for module in UNPICKLED:
        calls = [node for node in ast.walk(MODULES[module]) if isinstance(node, ast.Call)]
        loads = [call for call in calls if ast.unparse(call.func) == "torch.load"]
        assert loads
        for call in loads:
            assert ("weights_only", "True") in {(k.arg, ast.unparse(k.value)) for k in call.keywords}
