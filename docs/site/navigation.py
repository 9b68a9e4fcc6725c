"""The pages of the site in the order in which they are offered: to begin, to do, to look up, to know why, what was found."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Page:
    """A page by its place in the site without ending, its name in the menu, and what it is for in a few words."""

    name: str
    title: str
    about: str


@dataclass(frozen=True, slots=True)
class Section:
    """A heading of the menu; `name` is its own page."""

    name: str
    title: str
    about: str
    pages: tuple[Page, ...]


SECTIONS = (
    Section(
        "start",
        "Start here",
        "",  # docs/start.md itself
        (
            Page("examples/notebook", "A first notebook", "A task in a cell, its tables and its report."),
            Page("a-report", "A real report", "Forty seeds of digits, as the page that a run ends with."),
        ),
    ),
    Section(
        "guides",
        "How to",
        "One task a page.",
        (
            Page("tasks", "Own networks", "Your network, data, training and metric; trained checkpoints too."),
            Page("examples", "Examples", "torchvision, transformers, Lightning, regression, five checkpoints."),
            Page("tables", "Results from anywhere", "A CSV, a sweep, a workbook: verdicts from what you have."),
            Page("report", "Reading the report", "What stands where, and what to look at first."),
            Page("looks", "How many seeds", "Plan a number, or run until it is decided."),
            Page("scorers", "Choosing a scorer", "Which one to take, what it gains and where it loses."),
            Page("prune", "Pruning a model", "In Python and from the command line; letting the method choose."),
            Page("channels", "Channels, heads, N:M", "Whole units, and patterns that hardware reads."),
            Page("traps", "Traps of torch's prune", "What surprises, and the way round."),
            Page("recipes", "Other libraries", "transformers' Trainer, LoRA, graph networks."),
            Page("writing-a-scorer", "Writing a scorer", "One class, checked and measured."),
            Page("cifar10", "CIFAR-10", "The presets with images, and what they cost."),
            Page("cluster", "On a cluster", "Slurm and Ray, jobs that are lost, costs."),
            Page("gpu", "On a GPU", "What runs there, and what its numbers rest on."),
        ),
    ),
    Section(
        "reference",
        "Reference",
        "To look things up.",
        (
            Page("catalogue/index", "Scorer catalogue", "A page a scorer: formula, source, picture, measured κ."),
            Page("peers", "Published scorers and pools", "Definitions, decisions, pools, what a signal costs."),
            Page("cli", "Command line", "Every command and option of sics-run."),
            Page("api/index", "Python API", "Every public name."),
            Page("table-rules", "Tables, every rule", "Columns, cells, sparsities, and layouts that open as they are."),
            Page("glossary", "Glossary", "κ, α, δ, z, ρ, S, and the verdicts with what to do."),
            Page("architectures", "Architectures", "What works on which of some fifty networks."),
            Page("calibration", "Calibration", "Simulated error rates of every test and interval."),
            Page("calibration-cells", "Calibration, every cell", "Each simulated rate, section by section."),
            Page("data", "Data and licences", "Where data and weights come from."),
            Page("changelog", "Changelog", "What is new."),
        ),
    ),
    Section(
        "background",
        "Background",
        "Why it is done as it is, and how sure it is.",
        (
            Page("verdicts", "Verdicts and error rates", "The seven verdicts, what to do, how often they err."),
            Page("complexity", "The meter of complexity", "How κ is measured, and what the meter recovered."),
            Page("strength", "How strong a feature should be", "Why α has to fall with what is kept."),
            Page("fusion", "Searched scorers", "Layer ranks, orbit indicators, searched weights."),
            Page("architecture", "Design", "The rooms of the code, and the two roads through them."),
            Page("contributing", "Contributing", "Where to add what."),
        ),
    ),
    Section(
        "results",
        "Findings",
        "What was found, and the commands that make it again.",
        (
            Page("findings", "What was found", "The paper's claims on our own runs."),
            Page("fusion-runs", "Searched fusions", "The paper's features, and controls with the same search."),
            Page("adaptive", "SICSAdaptive, compared", "Both its tables against magnitude and eleven published scorers."),
            Page("real-networks", "Trained networks of others", "Fourteen networks that nobody here trained."),
            Page("speed", "Speed and memory", "Pruning from a million to a billion weights."),
            Page("speed-replicates", "Speed of replicates", "The default run beside a plain loop."),
            Page("reference/digits-weight", "digits-weight", "Report of a shipped run."),
            Page("reference/digits-channel", "digits-channel", "Report of a shipped run."),
            Page("reference/cifar10-vit-micro-weight", "cifar10-vit-micro-weight", "Report of a shipped run."),
            Page("reference/cifar10-vit-micro-channel", "cifar10-vit-micro-channel", "Report of a shipped run."),
        ),
    ),
)
#: Pages of the repository that lie outside docs/, and where the site has them.
OUTSIDE = {
    "data/README.md": "data.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "README.md": "start.md",
}


def names() -> list[str]:
    """All pages but the first, those of sections too, in order."""
    return [name for section in SECTIONS for name in (section.name, *(page.name for page in section.pages))]
