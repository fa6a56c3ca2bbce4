"""Classifiers on disk: a safetensors file with the names of the classes in its metadata."""

import json
from collections.abc import Mapping

import torch
from safetensors import SafetensorError
from safetensors.torch import load

from vqcodec.errors import InvalidWeights
from vqcodec.files import AnyPath, read_bytes, write_atomically
from vqcodec.model.classifier import Classifier
from vqcodec.weights.array_file import ArrayFile, array_file

FORMAT = "vqcodec-classifier-1"


def write_classifier(path: AnyPath, classifier: Classifier, facts: Mapping[str, object]) -> None:
    """Write a classifier atomically, with facts about its training."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in classifier.state_dict().items()}
    metadata = {
        "format": FORMAT,
        "classes": json.dumps(classifier.classes),
        "facts": json.dumps(dict(facts), sort_keys=True),
    }
    write_atomically(path, array_file(tensors, metadata))


def load_classifier(path: AnyPath) -> Classifier:
    """Read a classifier, ready for use.

    Raises :class:`MissingFile`, :class:`UnreadableFile`, or :class:`InvalidWeights` if it is not one.
    """
    content = read_bytes(path)
    try:
        tensors = load(content)
        metadata = ArrayFile.parse(content).metadata
        if metadata.get("format") != FORMAT:
            raise InvalidWeights(f"not a classifier: its metadata have no format {FORMAT}")
        with torch.device("meta"):
            classifier = Classifier([str(name) for name in json.loads(metadata["classes"])])
        classifier.load_state_dict(tensors, assign=True)
    except (SafetensorError, LookupError, TypeError, ValueError, RuntimeError, AttributeError) as error:
        raise InvalidWeights(f"not a classifier: {str(error).splitlines()[0]}") from error
    return classifier.eval().requires_grad_(False)
