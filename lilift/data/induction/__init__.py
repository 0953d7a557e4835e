"""Lexicons without any dictionary: two sets of monolingual word vectors are rotated onto each other, and what ends up
side by side is a translation.

The method is MUSE's (Conneau et al., 2018, Word translation without parallel data): a rough first mapping, refinement by
Procrustes on its own best pairs, similarities corrected for hubs (CSLS), the best of several attempts chosen without gold data.
MUSE starts by a game between two networks; lilift starts from words spelled alike, or from the shape of each word's
similarities (Artetxe et al., 2018, A robust self-learning method), which needs no training.
"""

from __future__ import annotations
