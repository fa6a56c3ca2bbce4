"""Names that ``--help`` shows, apart from what needs torch to import."""

MEMBERS = (
    *("ae", "sparse-ae", "dae", "cae", "mae"),
    *("vae", "beta-vae", "annealed-vae", "wae"),
    *("vqvae", "vqvae-ema", "vqvae-revival", "dvae", "edvae", "ecvq"),
    *("vqgan", "vit-vqgan", "affine-vae"),
)
"""Members of the ``bottlenecks`` study; ``benchmarks/bottlenecks/members.py`` defines them."""
