"""Cost of a collection of small pictures."""

import pytest
from click.testing import CliRunner

from benchmarks.cli import main
from vqcodec.weights import registry


@pytest.mark.skipif("vqc-1" not in registry.model_ids(), reason="it measures the shipped model")
def test_scale():
    result = CliRunner().invoke(main, ["scale", "--sizes", "0.01", "--effort", "0"])
    assert result.exit_code == 0, result.output
    row = result.stdout.splitlines()[-1].replace(",", "").split()
    megapixels, effort, seconds, per_hour, base, peak, core_hours = map(float, row)
    assert (megapixels, effort) == (0.01, 0)
    assert 0 < seconds < 5 and peak >= base > 50
    assert core_hours == pytest.approx(1e7 / per_hour, rel=0.01)
    assert per_hour == pytest.approx(3600 / seconds, rel=0.2)
