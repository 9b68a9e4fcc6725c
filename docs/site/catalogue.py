"""The catalogue: a page for every registered scorer, from its class and from what the meter of complexity finds.

Measured on one small network that is trained here in seconds: the same pages and pictures every time, on one machine.
"""

from __future__ import annotations

import inspect
from pathlib import Path

import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from sklearn.datasets import load_digits
from torch import Tensor, nn

from sics_analysis.report.figures.drawing.files import quiet
from sics_analysis.report.figures.drawing.style import figure_style
from sics_analysis.report.figures.surface import surface
from sics_cli.console.tables import reads
from sics_cli.experiment.scorers import ScorerInfo, describe_scorers
from sics_cli.seeds.saliency import saliency_of
from sics_plugin import Saliency, build_scorer, get_scorer, list_scorers, method_for
from sics_plugin.complexity import Complexity, measure

DRAWS = 20
WIDTH = 128
KINDS = {
    "plateau": "its masks are magnitude's",
    "smooth": "a smooth, non-monotone feature of z",
    "raw": "a feature of z with high-frequency content",
    "monotone": "information without complexity, increasing or falling with z at a given magnitude",
    "fake": "a function of magnitude alone that does not increase",
    "noise": "neither magnitude nor z tells its score",
    "other": "neither magnitude nor z tells its score: it goes with the row, the column or the layer",
    "mixed": "no one part makes up half of what takes it away from magnitude",
    "varies": "of another kind at another sparsity",
    "shaped": "a non-monotone feature of z; too few units to tell more",
    "unresolved": "not told",
}
ROLES = {
    "feature": "Features of the default run",
    "control": "Controls",
    "baseline": "Baselines",
    "adaptive": "Adaptive and searched",
    "peer": "Published scorers",
    "request": "Features that run where they are named",
}


class Bench:
    """A small network on the digits, and the saliencies that scorers ask for."""

    def __init__(self) -> None:
        torch.set_num_threads(1)  # the same numbers whatever the machine has
        torch.manual_seed(0)
        data = load_digits()
        x, y = torch.tensor(data.data / 16, dtype=torch.float32), torch.tensor(data.target)
        x = x + 0.05 * torch.randn(x.shape)  # pixels that are always black would tie their saliencies
        net = nn.Sequential(nn.Linear(64, WIDTH), nn.GELU(), nn.Linear(WIDTH, WIDTH), nn.GELU(), nn.Linear(WIDTH, 10))
        optimiser = torch.optim.Adam(net.parameters(), 3e-3)
        for _ in range(300):
            batch = torch.randint(1000, (64,))
            optimiser.zero_grad()
            nn.functional.cross_entropy(net(x[batch]), y[batch]).backward()
            optimiser.step()
        self.network = net.eval()
        self.batches: list[tuple[Tensor, Tensor]] = [(x[batch], y[batch]) for batch in torch.arange(1000).split(100)]
        self._saliencies: dict[str, Saliency] = {}

    def saliency(self, kind: str) -> Saliency:
        """The signal of one kind, collected once."""
        if kind not in self._saliencies:
            self._saliencies[kind] = saliency_of(self.network, kind, self.batches)
        return self._saliencies[kind]

    def measured(self, info: ScorerInfo) -> Complexity:
        """What the meter says of a scorer, against the gradient."""
        return measure(
            build_scorer(info.name),
            self.network,
            self.saliency(info.signal or "gradient"),
            against=self.saliency("gradient") if info.signal else None,
            draws=DRAWS,
        )


def group(info: ScorerInfo) -> str:
    """The key of `ROLES` under which a scorer is listed."""
    return "request" if info.on_request and info.role == "feature" else info.role


def picture(found: Complexity, file: Path) -> None:
    """Draw the score over (ρ, z); the same bytes for the same numbers."""
    with figure_style(), quiet():
        shown = found.surface
        sketch = surface(found.name, shown.score, shown.curve, sparsity=shown.sparsity, said="")
        assert sketch.drawing is not None
        canvas = sketch.drawing.canvas
        FigureCanvasAgg(canvas)
        canvas.savefig(file, dpi=160, facecolor="white", metadata={"Software": None, "Title": f"{found.name} over ρ and z"})


def page(info: ScorerInfo, found: Complexity) -> str:
    """The page of one scorer, as Markdown."""
    cls = get_scorer(info.name)
    said = inspect.getdoc(cls) or cls.summary
    own = list(inspect.signature(cls).parameters)
    kappa = "–" if found.kappa is None else str(found.kappa)
    by_place = ", ".join(f"{one.kind} at S = {one.sparsity:g}" for one in found.at)
    kinds = by_place if found.kind == "varies" else KINDS[found.kind]
    claimed = "–, no feature" if info.kappa is None else str(info.kappa)
    default = "where it is named" if info.on_request else "`--scorers peers`" if info.role == "peer" else "by default"
    if info.role == "adaptive" and not info.on_request:
        default = "where it is named"
    facts = {
        "score, higher is kept": info.summary.replace("|", "\\|"),
        "role": info.role,
        "κ claimed by its class": claimed,
        "**κ measured**": f"**{kappa}**, {found.kind}: {kinds} ({100 * found.confidence:.0f} % of bootstrap draws agree)",
        "source": info.source or "this project's definition",
        "signal": reads(info),
        "native pool": info.pool,
        "units": ", ".join(info.units),
        "method of torch": f"[`{method_for(info.name).__name__}`](../api/sics_plugin.torch_methods.rst)",
        "parameters": ", ".join(f"`{name}`" for name in own) or "none",
        "in a run": default,
    }
    signal = ""
    if info.signal:
        given = f"model, batches, loss, kind={info.signal!r}" if info.calibrated else f"model, kind={info.signal!r}"
        signal = f", saliency=Saliency({given})".replace("'", '"')
    elif "saliency" in reads(info):
        signal = ", saliency=Saliency(model, batches)"
    flags = "".join(f"\n- Note of the meter: {flag}." for flag in found.flags)
    beside = "magnitude" if info.name == "information" else "information"
    overlap = ", ".join(f"{one.jaccard:.2f}" for one in found.at)
    places = ", ".join(f"{one.sparsity:g}" for one in found.at)
    rows = "\n".join(f"| {name} | {value} |" for name, value in facts.items())
    return f"""# {info.name}

{_prose(said)}

| | |
|---|---|
{rows}

```python
prune_model(model, "{info.name}", amount=0.7{signal})
```

```sh
sics-run replicate --scorers {info.name},{beside}
sics-run scorers {info.name} --measure
```

![Map of the score of {info.name} over magnitude and saliency, and the curve that the saliency adds]({info.name}.png)

Left: the mean percentile of the score over ρ and z at S = {found.surface.sparsity:g}; what lies below the thick line goes.
Vertical contours mean that magnitude alone decides. Right: what z adds, on average over ρ.

- Overlap of what is kept with what magnitude keeps: {overlap} at S = {places}.{flags}
- Measured on {found.n:,} weights of a network of the digits that is trained while this page is made;
  [the meter](../complexity.md) says how.
"""


def _prose(said: str) -> str:
    """A docstring as Markdown, as far as the docstrings of scorers go: its text before the first section, ``code`` as `code`."""
    lines: list[str] = []
    for line in said.splitlines():
        if lines and set(line.strip()) == {"-"}:
            lines.pop()
            break
        if line.lstrip().startswith(">>>"):
            break
        lines.append(line)
    return "\n".join(lines).strip().replace("``", "`").replace(":class:", "").replace(":func:", "")


def index(infos: list[ScorerInfo], found: dict[str, Complexity]) -> str:
    """The table of all."""
    parts = [
        "# Scorer catalogue\n\nEvery registered scorer. κ measured is what [the meter](../complexity.md) says, "
        "– where that is no number.\n"
    ]
    for role, title in ROLES.items():
        of_role = [info for info in infos if group(info) == role]
        rows = "\n".join(
            f"| [{info.name}]({info.name}.md) | {info.summary.replace('|', chr(92) + '|')} | {_or_dash(info.kappa)} "
            f"| {_or_dash(found[info.name].kappa)} | {found[info.name].kind} |"
            for info in of_role
        )
        parts.append(f"## {title}\n\n| name | score | κ claimed | κ measured | kind |\n|---|---|---|---|---|\n{rows}\n")
    menu = "\n".join(info.name for role in ROLES for info in infos if group(info) == role)
    return "\n".join(parts) + f"\n```{{toctree}}\n:hidden:\n\n{menu}\n```\n"


def _or_dash(kappa: int | None) -> str:
    return "–" if kappa is None else str(kappa)


def write(folder: Path, names: list[str] | None = None) -> list[str]:
    """Write pages and pictures of the scorers (all of them by default) and their table into `folder`; their names come back."""
    folder.mkdir(parents=True, exist_ok=True)
    wanted = names or list_scorers()
    infos = [info for info in describe_scorers(wanted, "gradient") if info.name in wanted]
    bench, found = Bench(), {}
    for info in infos:
        found[info.name] = bench.measured(info)
        picture(found[info.name], folder / f"{info.name}.png")
        (folder / f"{info.name}.md").write_text(page(info, found[info.name]), encoding="utf-8")
    (folder / "index.md").write_text(index(infos, found), encoding="utf-8")
    return [info.name for info in infos]
