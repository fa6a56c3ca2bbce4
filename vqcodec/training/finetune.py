"""The last stage: the synthesis and the prior learn the indices that the encoder chooses.

Joint training assigns codewords in two parallel passes.  The encoder chooses position by position with exact prices and
refines its latents, so that its indices are others.  Here the analysis, the codebooks and the coarser levels' synthesis
are frozen; the pixel synthesis learns the distortion of these indices, and the prior their rate.
"""

from pathlib import Path

import torch

from vqcodec.training.indexed_crops import IndexedCrops
from vqcodec.training.network import Network
from vqcodec.training.objective import fixed_indices_loss, mix
from vqcodec.training.trainer import NetworkRun, TrainingPlan


class FinetuneRun(NetworkRun):
    """A run that trains the pixel synthesis and the prior on indices of the encoder."""

    def __init__(self, folder: Path, plan: TrainingPlan, network: Network, crops: IndexedCrops, device: torch.device):
        self.crops, network = crops, network.to(device)
        shared = set(network.vqvae.pixel_synthesis.transform.parameters())  # with the analysis
        synthesis = [p for p in network.vqvae.pixel_synthesis.parameters() if p not in shared]
        super().__init__(folder, plan, network, [*synthesis, *network.prior.parameters()], device)

    def train_step(self) -> dict[str, float]:
        """Take one optimizer step and return the numbers to log."""
        plan, vqvae = self.plan, self.network.vqvae
        numbers = self.crops.shuffled(self.step * self.world + self.rank, plan.batch, plan.seed)
        x, grids, quality = self.crops.batch(numbers, self.network.config, self.device)
        with self.half():
            with torch.no_grad():
                latents, conditioning = vqvae.decode_latents(grids, quality)
            y = vqvae.pixel_synthesis(latents, conditioning, quality)
            bits = torch.stack(self.network.prior.bits(grids, quality)).sum(0)
        bpp = bits / (x.shape[2] * x.shape[3])
        mse = (y - x).square().mean((1, 2, 3)) * 255**2
        loss = fixed_indices_loss(vqvae, bpp, mix(mse, x, y, plan.similarity), quality)
        rate = self.descend(loss)
        self.finish_step()
        return {"bpp": bpp.mean().item(), "mse": mse.mean().item(), "rate": rate, "loss": loss.item()}
