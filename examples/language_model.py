"""A causal language model of transformers, by its perplexity on text that it did not see.

sics-run replicate --task examples/language_model.py:Characters --seeds 5 --sparsities .3,.5
"""

import math
from pydoc_data import topics

import torch
from torch import nn
from transformers import GPT2Config, GPT2LMHeadModel

from sics_cli import Metric


class Characters:
    """A small GPT-2 on the English of Python's own help pages, character by character."""

    metric = Metric("perplexity", higher_is_better=False, delta=0.1, of=lambda nll: math.exp(nll.mean()))
    device = torch.device("cpu")  # a run sets it: a GPU where there is one

    def __init__(self, steps: int = 300, width: int = 64) -> None:
        self.steps, self.width = steps, width
        text = "\n".join(topics.topics[name] for name in sorted(topics.topics)).encode("ascii", "replace")
        tokens = torch.frombuffer(bytearray(text), dtype=torch.uint8).long()[:400_000]
        windows = tokens[: len(tokens) // 64 * 64].view(-1, 64)
        self.train, self.test = windows[:-400], windows[-200:]

    def network(self, seed: int) -> nn.Module:
        """Trained here; the seed's draws are set already."""
        config = GPT2Config(
            vocab_size=128, n_positions=64, n_embd=self.width, n_layer=2, n_head=2, bos_token_id=0, eos_token_id=0
        )
        model = GPT2LMHeadModel(config).to(self.device)
        optimiser = torch.optim.AdamW(model.parameters(), 3e-3)
        for _ in range(self.steps):
            batch = self.train[torch.randint(len(self.train), (16,))].to(self.device)
            optimiser.zero_grad()
            model(input_ids=batch, labels=batch).loss.backward()
            optimiser.step()
        return model

    def calibration(self, seed: int) -> list[dict[str, torch.Tensor]]:
        """Mappings with labels: the loss is the model's own."""
        draws = [self.train[torch.randint(len(self.train), (16,))] for _ in range(8)]
        return [{"input_ids": batch, "labels": batch} for batch in draws]

    def evaluate(self, network: nn.Module, seed: int) -> torch.Tensor:
        """Mean negative log-likelihood of a character in each test window."""
        batch = self.test.to(self.device)
        logits = network(input_ids=batch).logits[:, :-1]
        return nn.functional.cross_entropy(logits.transpose(1, 2), batch[:, 1:], reduction="none").mean(1)
