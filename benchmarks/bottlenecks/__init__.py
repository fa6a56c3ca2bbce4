"""The VQ-VAE family and its ancestors, trained side by side: what each bottleneck costs and gives.

::

    protocol.py      what a bottleneck, a pair of transforms and a member of the family are
    no_code.py       autoencoders without a code: plain, sparse, denoising, contractive, masked
    continuous.py    VAE, beta-VAE, KL annealing, Wasserstein autoencoder
    bounds.py        importance-weighted and annealed-importance bounds on log p(x)
    discrete.py      VQ-VAE, moving averages, revival, Gumbel-softmax, evidential dVAE, entropy-constrained VQ
    index_prior.py   a small autoregressive prior of the indices: their rate, and samples
    convolutions.py  the transforms that all members share
    vit.py           a patch transformer in their place
    adversarial.py   patch discriminator, adaptive weight, feature matching
    affine.py        a decoder that draws through an affine matrix
    members.py       the table of members
    data.py          photographs, digits, rotated digits
    training.py      one training loop for all
    measure.py       one evaluation for all
    study.py         run the members, keep what is done
    table.py         the table of a study
    page.py          the HTML page
"""
