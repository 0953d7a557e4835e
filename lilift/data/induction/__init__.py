"""Makes lexicons without a dictionary: it rotates word vectors of two languages onto each other and pairs the nearest words.

The method is from MUSE (Conneau et al., 2018, Word translation without parallel data). It starts with a rough mapping and
refines it by Procrustes on its own best pairs. Similarities are corrected for hubs (CSLS), and the best of several attempts is
chosen without gold data. MUSE starts with a game between two networks. lilift starts with words that are spelled alike, or with
the distribution of each word's similarities (Artetxe et al., 2018, A robust self-learning method), which needs no training.
"""

from __future__ import annotations
