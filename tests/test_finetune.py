"""Fine-tuning on the encoder's own indices: what changes, what stays, and that a run resumes."""

import pytest
import torch

from vqcodec.cli.train import main
from vqcodec.codec.encoder import Encoder
from vqcodec.training.data import Crops, find_photos, load_photos
from vqcodec.training.finetune import FinetuneRun
from vqcodec.training.indexed_crops import IndexedCrops
from vqcodec.training.network import load_state
from vqcodec.training.stages import network_from
from vqcodec.training.trainer import TrainingPlan
from vqcodec.weights import registry

CPU = torch.device("cpu")


def train(*arguments):
    with pytest.raises(SystemExit) as stop:
        main([str(argument) for argument in arguments])
    assert stop.value.code == 0


@pytest.fixture(scope="module")
def crops(photo_folder, tiny_codec):
    source = Crops(load_photos(find_photos(photo_folder)), seed=0)
    encoder = Encoder(tiny_codec.model, tiny_codec.model.vqvae, CPU, tints=False)
    return IndexedCrops.make(encoder, source, 8, 32, lambda uniform: uniform, lambda line: None)


def test_loss_falls_and_the_encoder_s_part_stays(crops, tiny_weights, tmp_path):
    network = network_from(tiny_weights)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    plan = TrainingPlan("finetune", batch=8, warmup=1, steps=30, rate=3e-3, half=False)
    run = FinetuneRun(tmp_path, plan, network, crops, CPU)
    losses = [run.train_step()["loss"] for _ in range(30)]
    assert losses[-1] < 0.97 * losses[0]
    changed = {name for name, tensor in network.state_dict().items() if not torch.equal(tensor, before[name])}
    assert any(name.startswith("prior.") for name in changed)
    assert any(name.startswith("vqvae.pixel_synthesis.") for name in changed)
    assert all(name.startswith(("prior.", "vqvae.pixel_synthesis.")) for name in changed)
    assert not any(".transform." in name for name in changed)  # the analysis uses it, too


def test_command_resumes_and_its_run_is_exported(photo_folder, tiny_weights, tmp_path):
    run, out = tmp_path / "run", tmp_path / "tuned.safetensors"
    common = ["finetune", "--run", run, "--crop", "32", "--batch", "2", "--full"]
    train(*common, "--data", photo_folder, "--init", tiny_weights, "--crops", "4", "--steps", "2")
    kept = (run / "crops.safetensors").read_bytes()
    train(*common, "--resume", "--steps", "4")
    assert (run / "crops.safetensors").read_bytes() == kept
    assert load_state(run / "state.safetensors")[2]["step"] == 4
    train("export", "--run", run, "--out", out, "--blend", tiny_weights)
    exported = registry.load_weights(out)
    assert exported.config == registry.load_weights(tiny_weights).config
    assert (exported.facts["run"], exported.facts["blended_with"]) == ("run", tiny_weights.name)


def test_a_damaged_run_is_named(photo_folder, tiny_weights, tmp_path, capsys):
    common = ["finetune", "--run", tmp_path, "--crop", "32", "--batch", "2", "--full"]
    train(*common, "--data", photo_folder, "--init", tiny_weights, "--crops", "4", "--steps", "1")
    for name, message in (("crops", "no encoded crops of a run"), ("state", "nor the state of a run")):
        path = tmp_path / f"{name}.safetensors"
        content = path.read_bytes()
        path.write_bytes(content[: len(content) // 2])
        with pytest.raises(SystemExit) as stop:
            main([str(argument) for argument in [*common, "--resume"]])
        told = capsys.readouterr().err
        assert stop.value.code == 1 and message in told and path.name in told and "Traceback" not in told
        path.write_bytes(content)


@pytest.mark.parametrize("stage", ["finetune", "lifelike", "all"])
def test_several_processes_are_refused(stage, photo_folder, tiny_weights, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    extra = ["--out", tmp_path / "out.safetensors"] if stage == "all" else ["--init", tiny_weights]
    with pytest.raises(SystemExit) as stop:
        main([str(a) for a in [stage, "--data", photo_folder, "--run", tmp_path / "run", *extra]])
    assert stop.value.code == 1 and "torchrun is for 'train joint' and 'train prior'" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
