"""What the encoder knows: a linear classifier on its mean-pooled states, trained on the same English sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from lilift.model.encoders.encoder import Encoder

PENALTIES = (1e-1, 1e-2, 1e-3, 1e-4)
"""Weights of the squared size of the classifier, tried on the English development sentences."""
BATCH = 32
STEPS = 200


def pooled(encoder: Encoder, texts: Sequence[str]) -> Tensor:
    """The mean state of each text, scaled to length 1: [N, E]."""
    found = []
    for start in range(0, len(texts), BATCH):
        ids = [torch.tensor(encoder.tokenizer.encode(text, encoder.max_positions)) for text in texts[start : start + BATCH]]
        padded = nn.utils.rnn.pad_sequence(ids, batch_first=True, padding_value=encoder.tokenizer.pad_id)  # [B, S]
        lengths = torch.tensor([len(one) for one in ids])
        mask = torch.arange(padded.shape[1])[None] < lengths[:, None]
        found.append(encoder(padded, mask).sum(1) / lengths[:, None])
    return functional.normalize(torch.cat(found), dim=-1)


def train(states: Tensor, labels: Tensor, classes: int, penalty: float) -> nn.Linear:
    """Logistic regression by L-BFGS."""
    probe = nn.Linear(states.shape[1], classes)
    nn.init.zeros_(probe.weight)
    nn.init.zeros_(probe.bias)
    optimizer = torch.optim.LBFGS(probe.parameters(), max_iter=STEPS, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        value = functional.cross_entropy(probe(states), labels) + penalty * probe.weight.square().mean() * classes
        value.backward()
        return value

    optimizer.step(loss)
    return probe


def probe_verdicts(
    encoder: Encoder,
    train_rows: Sequence[tuple[str, str]],
    dev_rows: Sequence[tuple[str, str]],
    test_rows: Mapping[str, Sequence[tuple[str, str]]],
) -> tuple[float, dict[str, str]]:
    """Train on (text, label) rows, choose the penalty on `dev_rows`, and answer `test_rows` of every language.

    Returns:
        The accuracy on `dev_rows`, and for each language a string with 1 for a right answer and 0 for a wrong one.
    """
    topics = sorted({label for _, label in train_rows})

    def read(rows: Sequence[tuple[str, str]]) -> tuple[Tensor, Tensor]:
        return pooled(encoder, [text for text, _ in rows]), torch.tensor([topics.index(label) for _, label in rows])

    states, labels = read(train_rows)
    dev_states, dev_labels = read(dev_rows)
    probes = [train(states, labels, len(topics), penalty) for penalty in PENALTIES]
    scores = [float((probe(dev_states).argmax(1) == dev_labels).float().mean()) for probe in probes]
    best = probes[scores.index(max(scores))]
    verdicts = {}
    for code, rows in test_rows.items():
        texts, wanted = read(rows)
        verdicts[code] = "".join(str(int(right)) for right in best(texts).argmax(1) == wanted)
    return max(scores), verdicts
