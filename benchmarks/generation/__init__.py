"""Pictures drawn from the prior, and how good they are (Razavi et al. 2019, arXiv:1906.00446, sections 4 and 5)."""
