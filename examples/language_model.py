"""A small GPT-2 of `transformers`, trained from scratch on English text, pruned, and judged by its perplexity: lower is better.

Batches are mappings of the network's arguments with ``labels``, so the loss is the output's own and the task needs no `loss`.
Run it: ``sics-run replicate --task examples/language_model.py:Perplexity --seeds 3``
"""

import math
from pydoc_data.topics import topics  # the language reference, 460 000 characters that come with Python

import torch
from torch.nn.functional import cross_entropy
from transformers import GPT2Config, GPT2LMHeadModel

from sics_cli import Metric

WINDOW = 64


class Perplexity:
    metric = Metric("perplexity", higher_is_better=False, delta=0.1, of=lambda nll: math.exp(nll.mean()))
    device = "cpu"  # a run sets it: a GPU where there is one

    def __init__(self, layers: int = 2, width: int = 64, steps: int = 200) -> None:
        self.layers, self.width, self.steps = layers, width, steps
        text = "\n".join(topics[name] for name in sorted(topics)).encode("ascii", "replace")  # a byte is a token
        windows = torch.tensor(list(text)).unfold(0, WINDOW, WINDOW)
        windows = windows[torch.randperm(len(windows), generator=torch.Generator().manual_seed(0))]
        self.test, self.train = windows[:256], windows[256:]

    def network(self, seed: int) -> torch.nn.Module:
        sizes = GPT2Config(vocab_size=128, n_positions=WINDOW, n_embd=self.width, n_layer=self.layers, n_head=4, bos_token_id=0)
        net = GPT2LMHeadModel(sizes).train().to(self.device)
        optimizer = torch.optim.AdamW(net.parameters(), 3e-3)
        for _ in range(self.steps):
            optimizer.zero_grad()
            net(**self.batch(32)).loss.backward()
            optimizer.step()
        return net

    def batch(self, size: int) -> dict[str, torch.Tensor]:
        some = self.train[torch.randint(len(self.train), (size,))].to(self.device)
        return {"input_ids": some, "labels": some}

    def calibration(self, seed: int) -> list[dict[str, torch.Tensor]]:
        return [self.batch(32) for _ in range(8)]

    def evaluate(self, network: torch.nn.Module, seed: int) -> torch.Tensor:
        """Mean negative log-likelihood of a byte, one number a window; `metric.of` makes the perplexity of them."""
        test = self.test.to(self.device)
        logits = network(input_ids=test).logits[:, :-1]
        return cross_entropy(logits.transpose(1, 2), test[:, 1:], reduction="none").mean(1)
