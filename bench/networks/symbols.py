"""Sequences of characters, phonemes and atoms whose next or missing symbol is known."""

from __future__ import annotations

import json
import re
from functools import cache
from itertools import product

import numpy as np
import torch
from torch import Tensor, nn

from networks.shipped import EVALUATION, RealTask, folder, weights

#: Label of a place where nothing is asked.
IGNORED = -100


class SpellingNet(nn.Module):
    """g2p_en (Park & Kim): a GRU reads the letters, another one says the phonemes, each next one from those said so far."""

    def __init__(self, letters: int, phonemes: int, size: int) -> None:
        super().__init__()
        self.enc_emb, self.dec_emb = nn.Embedding(letters, size), nn.Embedding(phonemes, size)
        self.enc, self.dec = nn.GRU(size, size, batch_first=True), nn.GRU(size, size, batch_first=True)
        self.fc = nn.Linear(size, phonemes)

    def forward(self, words: Tensor) -> Tensor:
        """Letters with their end, and phonemes with their beginning, one row a word: logits of each next phoneme."""
        letters, said = words.split((Spelling.letters, Spelling.phonemes), 1)
        last = (letters == Spelling.end).float().argmax(1)
        read, _ = self.enc(self.enc_emb(letters))
        begin = read.gather(1, last[:, None, None].expand(-1, 1, read.shape[2]))
        return self.fc(self.dec(self.dec_emb(said), begin.transpose(0, 1).contiguous())[0])


@cache
def pronounced() -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Words of 4 to 11 letters with one pronunciation in the CMU Pronouncing Dictionary of eng_to_ipa, in alphabetical order."""
    kept = json.loads((folder("eng_to_ipa") / "resources" / "CMU_dict.json").read_text())
    return tuple(
        (word, tuple(found[0].upper().split()))
        for word, found in sorted(kept.items())
        if len(found) == 1 and re.fullmatch("[a-z]{4,11}", word) and len(found[0].split()) <= Spelling.phonemes - 1
    )


class Spelling(RealTask):
    """How English words are said, by the dictionary: the share of next phonemes that are right, after the true ones.

    Evaluated are 200 words out of every tenth of the dictionary; calibration draws from the others. The network was trained on
    this dictionary: it is how much of what was learned a pruned network keeps.
    """

    batch, evaluated, at_a_time = 16, 200, 100
    letters, phonemes, end = 12, 13, 2
    symbols = (
        "<pad>", "<unk>", "<s>", "</s>", "AA0", "AA1", "AA2", "AE0", "AE1", "AE2", "AH0", "AH1", "AH2", "AO0", "AO1", "AO2",
        "AW0", "AW1", "AW2", "AY0", "AY1", "AY2", "B", "CH", "D", "DH", "EH0", "EH1", "EH2", "ER0", "ER1", "ER2", "EY0",
        "EY1", "EY2", "F", "G", "HH", "IH0", "IH1", "IH2", "IY0", "IY1", "IY2", "JH", "K", "L", "M", "N", "NG", "OW0", "OW1",
        "OW2", "OY0", "OY1", "OY2", "P", "R", "S", "SH", "T", "TH", "UH0", "UH1", "UH2", "UW", "UW0", "UW1", "UW2", "V", "W",
        "Y", "Z", "ZH",
    )  # fmt: skip

    def load(self) -> nn.Module:
        kept = np.load(folder("g2p_en") / "checkpoint20.npz")
        letters, size = kept["enc_emb"].shape
        net = SpellingNet(letters, len(kept["dec_emb"]), size)
        names = {"enc_emb": "enc_emb.weight", "dec_emb": "dec_emb.weight", "fc_w": "fc.weight", "fc_b": "fc.bias"}
        for part, kind, of in product(("enc", "dec"), ("w", "b"), ("ih", "hh")):
            names[f"{part}_{kind}_{of}"] = f"{part}.{'weight' if kind == 'w' else 'bias'}_{of}_l0"
        net.load_state_dict({name: torch.from_numpy(kept[file]) for file, name in names.items()})
        return net

    def targets(self, network: nn.Module) -> list[tuple[nn.Module, str]]:
        """Both GRUs."""
        return [(part, f"weight_{of}_l0") for part in (network.enc, network.dec) for of in ("ih", "hh")]

    def examples(self, draw: torch.Generator, n: int, part: int) -> tuple[Tensor, Tensor]:
        words = pronounced()
        wanted = torch.nonzero((torch.arange(len(words)) % 10 == 0) == (part == EVALUATION)).flatten()
        number = {symbol: i for i, symbol in enumerate(self.symbols)}
        x, y = torch.zeros(n, self.letters + self.phonemes, dtype=torch.long), torch.full((n, self.phonemes), IGNORED)
        for row, i in enumerate(wanted[torch.randperm(len(wanted), generator=draw)[:n]].tolist()):
            word, sounds = words[i]
            spelt, said = [ord(letter) - ord("a") + 3 for letter in word] + [self.end], [number[one] for one in sounds]
            x[row, : len(spelt)] = torch.tensor(spelt)
            x[row, self.letters : self.letters + len(said) + 1] = torch.tensor([number["<s>"], *said])
            y[row, : len(said) + 1] = torch.tensor([*said, number["</s>"]])
        return x, y

    def right(self, output: Tensor, target: Tensor) -> Tensor:
        asked = target != IGNORED
        return ((output.argmax(2) == target) & asked).sum(1) / asked.sum(1)


class CharacterNet(nn.Module):
    """textgenrnn (Woolf): two LSTMs over 40 characters, the attention-weighted mean of all they gave, and the next character."""

    def __init__(self, characters: int = 465, embedded: int = 100, size: int = 128) -> None:
        super().__init__()
        self.embedding = nn.Embedding(characters, embedded)
        self.rnn_1, self.rnn_2 = nn.LSTM(embedded, size, batch_first=True), nn.LSTM(size, size, batch_first=True)
        self.attention = nn.Linear(embedded + 2 * size, 1, bias=False)
        self.output = nn.Linear(embedded + 2 * size, characters)

    def forward(self, text: Tensor) -> Tensor:
        x = self.embedding(text)
        first, _ = self.rnn_1(x)
        second, _ = self.rnn_2(first)
        states = torch.cat([x, first, second], 2)
        return self.output((self.attention(states).softmax(1) * states).sum(1))


@cache
def prose() -> tuple[str, ...]:
    """Texts about data sets that scikit-learn ships, in the order of their names; white space is one blank."""
    texts = sorted((folder("sklearn") / "datasets" / "descr").glob("*.rst"))
    plain = (re.sub(r"[^\x20-\x7e]|[=*|`_+-]{2,}", " ", file.read_text()) for file in texts)
    return tuple(" ".join(text.split()).lower() for text in plain)


class Characters(RealTask):
    """The next character of English prose. Every third text is evaluated on; calibration draws from the others."""

    batch, evaluated, at_a_time, seen = 32, 400, 200, 40

    def load(self) -> nn.Module:
        import h5py

        net = CharacterNet()
        kept: dict[str, dict[str, Tensor]] = {}
        with h5py.File(folder("textgenrnn") / "textgenrnn_weights.hdf5") as file:
            for layer in ("embedding", "rnn_1", "rnn_2", "attention", "output"):
                held = file[layer][layer]
                kept[layer] = {name.split(":")[0]: torch.from_numpy(np.array(value)) for name, value in held.items()}
        state = {
            "embedding.weight": kept["embedding"]["embeddings"],
            "attention.weight": kept["attention"]["attention_W"].T,
            "output.weight": kept["output"]["kernel"].T,
            "output.bias": kept["output"]["bias"],
        }
        for name in ("rnn_1", "rnn_2"):
            # Kept in the layout of cuDNN: for each gate (input, forget, cell, output: torch's order) a transposed matrix.
            size = kept[name]["recurrent_kernel"].shape[0]
            gates = kept[name]["kernel"].split(size, 1)
            state[f"{name}.weight_ih_l0"] = torch.cat([gate.reshape(size, -1) for gate in gates])
            state[f"{name}.weight_hh_l0"] = torch.cat(kept[name]["recurrent_kernel"].split(size, 1))
            state[f"{name}.bias_ih_l0"], state[f"{name}.bias_hh_l0"] = kept[name]["bias"].split(4 * size)
        net.load_state_dict(state)
        return net

    def targets(self, network: nn.Module) -> list[tuple[nn.Module, str]]:
        """Both LSTMs."""
        return [(part, f"weight_{of}_l0") for part in (network.rnn_1, network.rnn_2) for of in ("ih", "hh")]

    def examples(self, draw: torch.Generator, n: int, part: int) -> tuple[Tensor, Tensor]:
        numbers = json.loads((folder("textgenrnn") / "textgenrnn_vocab.json").read_text())
        texts = [text for i, text in enumerate(prose()) if (i % 3 == 0) == (part == EVALUATION) and len(text) > 2 * self.seen]
        windows = []
        for _ in range(n):
            text = texts[int(torch.randint(len(texts), (1,), generator=draw))]
            at = int(torch.randint(len(text) - self.seen, (1,), generator=draw))
            windows.append([numbers.get(character, 0) for character in text[at : at + self.seen + 1]])
        found = torch.tensor(windows)
        return found[:, :-1], found[:, -1]


#: Reactions by template: what reacts, what comes of it, with one group, another one, and that other one after its bond.
TEMPLATES = (
    "{r}C(=O)O.{q}O>>{r}C(=O)O{s}",
    "{r}C(=O)O.{q}N>>{r}C(=O)N{s}",
    "{r}C(=O)Cl.{q}N>>{r}C(=O)N{s}",
    "{r}CBr.{q}O>>{r}CO{s}",
    "{r}CBr.{q}N>>{r}CN{s}",
    "{r}S(=O)(=O)Cl.{q}N>>{r}S(=O)(=O)N{s}",
    "{r}N=C=O.{q}N>>{r}NC(=O)N{s}",
    "{r}N=C=O.{q}O>>{r}NC(=O)O{s}",
    "{r}C=O.{q}N>>{r}CN{s}",
    "{r}C(=O)OC.{q}N>>{r}C(=O)N{s}",
)
#: The same group written before its bond and after it.
GROUPS = (
    ("CC", "CC"),
    ("CCC", "CCC"),
    ("CCCC", "CCCC"),
    ("CC(C)", "C(C)C"),
    ("CCOCC", "CCOCC"),
    ("CN(C)CC", "CCN(C)C"),
    ("C1CC1C", "CC1CC1"),
    ("C1CCCCC1C", "CC1CCCCC1"),
    ("c1ccccc1C", "Cc1ccccc1"),
    ("c1ccncc1C", "Cc1cccnc1"),
    ("c1ccoc1C", "Cc1ccco1"),
    ("c1ccsc1C", "Cc1cccs1"),
    ("Cc1ccc(cc1)C", "Cc1ccc(C)cc1"),
    ("COc1ccc(cc1)C", "Cc1ccc(OC)cc1"),
    ("Fc1ccc(cc1)C", "Cc1ccc(F)cc1"),
    ("Clc1ccc(cc1)C", "Cc1ccc(Cl)cc1"),
    ("Brc1ccc(cc1)C", "Cc1ccc(Br)cc1"),
    ("N#Cc1ccc(cc1)C", "Cc1ccc(C#N)cc1"),
    ("O=[N+]([O-])c1ccc(cc1)C", "Cc1ccc([N+](=O)[O-])cc1"),
    ("FC(F)(F)c1ccc(cc1)C", "Cc1ccc(C(F)(F)F)cc1"),
)


class Reactions(RealTask):
    """Chemical reactions with one token missing, by RXNMapper's ALBERT, all of whose layers are one: right is the missing token.

    Reactions are made from ten templates and twenty groups. Those whose two groups are alike in the parity of their places in
    the list are evaluated on, the others calibrated on.
    """

    batch, evaluated, at_a_time, tokens = 16, 128, 64, 64
    place = "models/transformers/albert_heads_8_uspto_all_1310k"
    pattern = re.compile(r"\[[^\]]+]|Br?|Cl?|>>?|%[0-9]{2}|[NOSPFIbcnosp().=#\-+\\/:~@?*$0-9]")

    def load(self) -> nn.Module:
        from transformers import AlbertConfig, AlbertForMaskedLM

        net = AlbertForMaskedLM(AlbertConfig.from_json_file(folder("rxnmapper") / self.place / "config.json"))
        kept = weights("rxnmapper", f"{self.place}/pytorch_model.bin")
        net.load_state_dict(kept, strict=False)  # an old file: it holds a pooler, too
        return Missing(net)

    def targets(self, network: nn.Module) -> list[tuple[nn.Module, str]]:
        """The linear layers of the encoder, which every one of its twelve passes shares."""
        return [(layer, "weight") for layer in network.net.albert.encoder.modules() if isinstance(layer, nn.Linear)]

    def examples(self, draw: torch.Generator, n: int, part: int) -> tuple[Tensor, Tensor]:
        lines = (folder("rxnmapper") / self.place / "vocab.txt").read_text().splitlines()
        number = {token: i for i, token in enumerate(lines)}
        pairs = [(i, j) for i, j in product(range(len(GROUPS)), repeat=2) if ((i - j) % 2 == 0) == (part == EVALUATION)]
        x, y = torch.zeros(n, self.tokens, dtype=torch.long), torch.zeros(n, dtype=torch.long)
        for row in range(n):
            tokens: list[int] = []
            while not 0 < len(tokens) <= self.tokens:  # a longer one is drawn anew
                i, j = pairs[int(torch.randint(len(pairs), (1,), generator=draw))]
                template = TEMPLATES[int(torch.randint(len(TEMPLATES), (1,), generator=draw))]
                text = template.format(r=GROUPS[i][0], q=GROUPS[j][0], s=GROUPS[j][1])
                tokens = [number["[CLS]"], *(number[token] for token in self.pattern.findall(text)), number["[SEP]"]]
            at = int(torch.randint(1, len(tokens) - 1, (1,), generator=draw))
            y[row], tokens[at] = tokens[at], number["[MASK]"]
            x[row, : len(tokens)] = torch.tensor(tokens)
        return x, y


class Missing(nn.Module):
    """A masked language model's logits at the one masked token of each row."""

    #: Number of [MASK] in the vocabulary.
    mask = 14

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, ids: Tensor) -> Tensor:
        logits = self.net(input_ids=ids, attention_mask=(ids != 0).long()).logits
        at = (ids == self.mask).float().argmax(1)
        return logits.gather(1, at[:, None, None].expand(-1, 1, logits.shape[2]))[:, 0]
