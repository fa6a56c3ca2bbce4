"""The members of the family, in the order of the report."""

from benchmarks.bottlenecks.affine import through_affine_matrix, without_matrix
from benchmarks.bottlenecks.continuous import Gaussian, Wasserstein
from benchmarks.bottlenecks.convolutions import convolutions
from benchmarks.bottlenecks.discrete import EntropyConstrained, Evidential, Gumbel, Learned, MovingAverage
from benchmarks.bottlenecks.no_code import Plain, Sparse, add_noise, contraction, hide_patches
from benchmarks.bottlenecks.protocol import Member, Shape
from benchmarks.bottlenecks.vit import patch_transformer
from benchmarks.defaults import MEMBERS
from benchmarks.errors import UnknownMember


def _beta(value: float) -> Member:
    return Member(
        "beta-vae",
        "continuous code",
        "Higgins et al. 2017",
        "the KL weighs beta times as much",
        lambda shape: Gaussian(shape, beta=value),
        convolutions,
        setting=f"beta {value:g}",
    )


def _annealed(beta: float) -> Member:
    return Member(
        "annealed-vae",
        "continuous code",
        "Bowman et al. 2016",
        "the KL's weight rises from 0",
        lambda shape: Gaussian(shape, beta=beta, annealed=True),
        convolutions,
        setting="" if beta == 1 else f"beta {beta:g}",
    )


def _revived(shape: Shape) -> MovingAverage:
    return MovingAverage(shape, revival=True)


FAMILY = (
    Member("ae", "no code", "Hinton & Salakhutdinov 2006", "the latents as they are", Plain, convolutions),
    Member("sparse-ae", "no code", "Ng 2011", "L1 penalty on the latents", Sparse, convolutions),
    Member(
        "dae", "no code", "Vincent et al. 2008", "removes noise from its input", Plain, convolutions, corrupt=add_noise
    ),
    Member(
        "cae",
        "no code",
        "Rifai et al. 2011",
        "penalty on the encoder's Jacobian",
        Plain,
        convolutions,
        penalty=contraction,
    ),
    Member("mae", "no code", "He et al. 2022", "fills in hidden patches", Plain, convolutions, corrupt=hide_patches),
    Member("vae", "continuous code", "Kingma & Welling 2014", "Gaussian posterior, KL", Gaussian, convolutions),
    _beta(0.25),
    _beta(4),
    _annealed(1),
    _annealed(4),
    Member(
        "wae", "continuous code", "Tolstikhin et al. 2018", "MMD between latents and prior", Wasserstein, convolutions
    ),
    Member(
        "vqvae",
        "discrete code",
        "van den Oord et al. 2017",
        "nearest codeword, codebook and commitment loss",
        Learned,
        convolutions,
    ),
    Member(
        "vqvae-ema",
        "discrete code",
        "van den Oord et al. 2017, A.1",
        "codewords are moving averages",
        MovingAverage,
        convolutions,
    ),
    Member(
        "vqvae-revival",
        "discrete code",
        "Dhariwal et al. 2020",
        "unused codewords move onto latents",
        _revived,
        convolutions,
    ),
    Member(
        "dvae",
        "discrete code",
        "Jang et al. 2017; Maddison et al. 2017; Ramesh et al. 2021",
        "Gumbel-softmax, falling temperature",
        Gumbel,
        convolutions,
    ),
    Member(
        "edvae", "discrete code", "Baykal et al. 2023", "Dirichlet posterior of the codewords", Evidential, convolutions
    ),
    Member(
        "ecvq",
        "discrete code",
        "Chou et al. 1989; this codec",
        "codewords chosen by distance and bits",
        EntropyConstrained,
        convolutions,
    ),
    Member(
        "vqgan",
        "loss",
        "Esser et al. 2021",
        "patch discriminator, feature matching",
        _revived,
        convolutions,
        adversarial=True,
    ),
    Member(
        "vit-vqgan",
        "transform",
        "Yu et al. 2022",
        "patch transformer for the convolutions of vqgan",
        _revived,
        patch_transformer,
        adversarial=True,
    ),
    Member(
        "affine-vae",
        "symmetry",
        "Bepler et al. 2019; Bidart & Wong 2019",
        "draws through an affine matrix",
        Gaussian,
        through_affine_matrix,
        rotated=True,
    ),
    Member(
        "affine-vae",
        "symmetry",
        "for comparison",
        "the same without the matrix",
        Gaussian,
        without_matrix,
        rotated=True,
        setting="no matrix",
    ),
)


def choose(names: tuple[str, ...]) -> tuple[Member, ...]:
    """Return the members named, every setting of each, in the order of the report.  Raises :class:`UnknownMember`.

    ``beta-vae`` includes ``vae``, which is its setting ``beta = 1``.
    """
    if not names:
        raise UnknownMember(f"no member is named: choose among {' '.join(MEMBERS)}")
    unknown = [name for name in names if name not in MEMBERS]
    if unknown:
        raise UnknownMember(f"no member {', '.join(unknown)}: choose among {' '.join(MEMBERS)}")
    wanted = {*names, *(["vae"] if "beta-vae" in names else [])}
    return tuple(member for member in FAMILY if member.name in wanted)
