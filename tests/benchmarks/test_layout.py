"""Imports of the benchmarks."""

import ast
import subprocess
import sys
from pathlib import Path

import benchmarks
import vqcodec
import vqcodec.batch

ALLOWED = {
    "vqcodec": {*vqcodec.__all__, "defaults", "metrics"},
    "vqcodec.batch": set(vqcodec.batch.__all__),
    "vqcodec.defaults": {"EFFORT", "EFFORTS", "MAX_PIXELS", "MODEL", "QUALITY"},
}
"""The public interface.  ``metrics``, which is internal, is shared so that there is one formula of PSNR."""
STUDY = ALLOWED | {
    "vqcodec.config": {"BIT_PRICE", "SliceConfig"},
    "vqcodec.metrics": {"psnr_of_mse"},
    "vqcodec.model.layers": {"ResidualBlock", "conv", "upsample"},
    "vqcodec.model.quantizer": {"ProductQuantizer", "expected_bits_gradient", "straight_through"},
    "vqcodec.training.adversarial": {"hinge"},
    "vqcodec.training.data": {"Crops"},
    "vqcodec.training.objective": {"COMMITMENT"},
    "vqcodec.training.trainer": {"TrainingPlan"},
}
"""What the study of bottlenecks builds its members of as well."""
REALISM = ALLOWED | {"vqcodec.training.perceptual": {"PerceptualDistance"}}
"""The study of realism measures by the distance that training uses, too."""

GENERATION = ALLOWED | {
    "vqcodec.codec.sampler": {"Sampler"},
    "vqcodec.images.sheet": {"contact_sheet"},
    "vqcodec.model.classifier": {"Classifier"},
    "vqcodec.training.classifier": {"train_classifier"},
    "vqcodec.training.data": {"Crops"},
}
"""What the measures of samples need of the classifier and of sheets."""


def test_only_the_public_interface_is_used():
    paths = list(Path(benchmarks.__file__).parent.rglob("*.py"))
    assert len(paths) > 20
    for path in paths:
        allowed = {"bottlenecks": STUDY, "generation": GENERATION, "realism": REALISM}.get(path.parent.name, ALLOWED)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                assert not any(alias.name.startswith("vqcodec.") for alias in node.names), path
            elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "vqcodec":
                assert {alias.name for alias in node.names} <= allowed.get(node.module, set()), path
            elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "vqcodec":
                assert node.attr in {*vqcodec.__all__, "__file__"}, path


def test_help_is_quick():
    code = (
        "import sys, benchmarks.cli; print({'torch', 'numpy', 'matplotlib', 'skimage', 'sklearn'} & set(sys.modules))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "set()"
