"""Published rate-distortion curves of other codecs on well-known data sets, as references in a report.

``NAME.json`` has the curves on the data set of that name, in CompressAI's schema with a ``source``.  They are numbers
that others have measured: nothing is encoded here.
"""

import json
from importlib.resources import files

from benchmarks.rd.datasets import Dataset
from benchmarks.rd.results import Result

_PICTURES = {"kodak": 24}
"""Number of pictures in each data set; a curve is the mean over all of them."""


def published_results(dataset: Dataset) -> dict[str, Result]:
    """Return the published curves on a data set by name; none if there are none, or if pictures are missing."""
    if _PICTURES.get(dataset.name) != len(dataset.photos):
        return {}
    records = json.loads((files(__name__) / f"{dataset.name}.json").read_text(encoding="utf-8"))
    results = [Result(**record) for record in records]
    return {result.name: result for result in results}
