"""Pictures drawn from the prior, and how good they are (Razavi et al. 2019, arXiv:1906.00446, sections 3.3, 4 and 5).

::

    digits.py     scikit-learn's digits as class folders: data for a demonstration that runs anywhere
    pictures.py   real pictures by class, for training and held out
    features.py   networks whose features compare sets of pictures
    measures.py   Frechet distance, inception score, precision and recall, classification accuracy score
    study.py      samples of a model, all measures, sheets, JSON and page
"""
