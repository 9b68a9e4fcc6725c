"""A slip of the pen in any closed set of names of the command line is answered with the name that was meant."""

from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from sics_cli.base.errors import ConfigError
from sics_cli.commands.options import Word
from sics_cli.main import COMMANDS, cli, main
from sics_cli.settings.config import SALIENCIES, experiment_from_mapping, merged
from sics_cli.settings.images import PATHS, PRECISIONS, SCHEDULES
from sics_cli.settings.presets import DIGITS, PRESETS

ROOT = Path(__file__).parents[3]


def slip(word: str) -> str:
    """The word with two letters in each other's place."""
    return word[:1] + word[2] + word[1] + word[3:]


def words() -> Iterator[tuple[str, str, str]]:
    """Command, option and choice, of every option that takes one of a few words."""
    for name in COMMANDS:
        command = cli.get_command(click.Context(cli), name)
        assert command is not None
        for parameter in command.params:
            if isinstance(parameter.type, click.Choice):
                assert isinstance(parameter.type, Word), f"{name} {parameter.opts[0]}: says nothing of a slip"
                yield from ((name, parameter.opts[0], str(choice)) for choice in parameter.type.choices if len(choice) > 3)


@pytest.mark.parametrize(("command", "option", "word"), words())
def test_every_option_of_a_few_words(command: str, option: str, word: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, option, slip(word)]) == 2
    assert f"{slip(word)!r} is not accepted (did you mean {word}?): give " in capsys.readouterr().err


@pytest.mark.parametrize("name", [name for name in COMMANDS if len(name) > 3])
def test_every_command(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([name[:-1]]) == 2
    assert f"(did you mean {name}?)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("line", "meant"),
    [
        ("replicate --dry-run --data digts", "digits"),
        ("replicate --dry-run --data cifar01", "cifar10"),
        ("replicate --dry-run --device cdua", "cuda"),
        ("replicate --dry-run --model vitt", "vit"),
        ("replicate --dry-run --model tmim:resnet18", "timm:"),
        ("replicate --dry-run --model torchvison:resnet18", "torchvision:"),
        ("replicate --dry-run --standardise imagnet", "imagenet"),
        ("replicate --dry-run --executor slurm --slurm partitoin=gpu", "partition"),
        ("replicate --dry-run --scorers smoth_chaos", "smooth_chaos"),
        ("replicate --dry-run --scorers serached", "searched"),
        ("replicate --dry-run --scorers chaos/layr", "layer"),
        ("replicate --dry-run --scorers fusion_obrit_20", "orbit"),
        ("replicate --dry-run --reference magnitde", "magnitude"),
        ("replicate --dry-run --until decidde --max-seeds 9", "decided"),
        ("replicate --dry-run --until decidde:plateau@0.7 --max-seeds 9", "decided:plateau@0.7"),
        ("replicate --dry-run --until decided:platau@0.7 --max-seeds 9", "plateau@0.7"),
        ("replicate --dry-run --until decided:kapa1-at-0.7 --max-seeds 9", "kappa1-at-0.7"),
        ("replicate --dry-run --config bench/strenght.toml", "bench/strength.toml"),
        ("replicate --dry-run --task examples/image_foldr.py:ImageFolder", f"{ROOT}/examples/image_folder.py"),
        ("scorers smoth_chaos", "smooth_chaos"),
        ("scorers --measure -o all.cvs", ".csv"),
        ("report reference:digits", "reference:digits-weight"),
        ("report refrence:digits-weight", "reference:digits-weight"),
        ("report data/comparisons/adaptive-digits-wieght.csv", "data/comparisons/adaptive-digits-weight.csv"),
        ("report reference:digits-weight --metric accuracey", "accuracy"),
        ("report reference:digits-weight --reference magnitde", "magnitude"),
        ("report reference:digits-weight --fail-on escap:chaos@0.7", "escape:chaos@0.7"),
        ("report reference:digits-weight --fail-on escape:caos@0.7", "chaos"),
        ("report reference:digits-weight --fail-on kapa1-at-0.7", "kappa1-at-0.7"),
        ("report reference:digits-weight -o page.hmtl", ".html"),
        ("report data/comparisons/adaptive-digits-weight.csv --columns scorr=method", "scorer"),
        ("report data/comparisons/adaptive-digits-weight.csv --columns scorer=socrer", "scorer"),
        ("report data/comparisons/adaptive-digits-weight.csv --metric acuracy", "accuracy"),
        ("report data/comparisons/adaptive-digits-weight.csv --where sede=1", "seed"),
        ("report data/comparisons/adaptive-digits-weight.csv --where scorer=wnada", "wanda"),
        ("report data/comparisons/adaptive-digits-weight.csv --repeats sede", "seed"),
        ("plan --from reference:digits-wieght", "reference:digits-weight"),
        ("compare reference:digits-wieght reference:digits-weight", "reference:digits-weight"),
        ("map reference:digits-wieght", "reference:digits-weight"),
        ("map reference:digits-weight -o a.pfd", ".pdf"),
        ("status reference:digits-wieght", "reference:digits-weight"),
        ("status refrence:digits-weight", "reference:digits-weight"),
        ("export reference:digits-wieght", "reference:digits-weight"),
        ("export reference:digits-weight -o rows.cvs", ".csv"),
        ("check-task examples/image_foldr.py:ImageFolder", f"{ROOT}/examples/image_folder.py"),
        ("prune README.dm --model vit --sparsity .5 -o /tmp/none.safetensors", "README.md"),
        ("prune README.md --model vitt --sparsity .5 -o /tmp/none.safetensors", "vit"),
        ("prune README.md --model vit --sparsity .5 --device cdua -o /tmp/none.safetensors", "cuda"),
        ("prune README.md --model vit --sparsity .5 --scorer smoth_chaos -o /tmp/none.safetensors", "smooth_chaos"),
        ("prune README.md --model vit --sparsity .5 --data digts -o /tmp/none.safetensors", "digits"),
    ],
)
def test_every_other_closed_set(
    line: str, meant: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)
    assert main(line.split()) in (1, 2)
    shown, said = capsys.readouterr()
    if line.startswith("check-task"):  # which says on stdout how every step went, over lines
        assert f"(did you mean {meant}?)" in " ".join(shown.split())
    else:
        assert f"(did you mean {meant}?)" in said
        assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("settings", "meant"),
    [
        *(({"training": {"precision": slip(word)}}, word) for word in PRECISIONS),
        *(({"training": {"schedule": slip(word)}}, word) for word in SCHEDULES),
        *(({"training": {"path": slip(word)}}, word) for word in PATHS),
        *(({"saliency": slip(word)}, word) for word in SALIENCIES),
        ({"trainig": {}}, "training"),
        ({"training": {"epoch": 3}}, "epochs"),
    ],
)
def test_every_setting_of_a_few_words(settings: dict[str, object], meant: str) -> None:
    with pytest.raises(ConfigError) as caught:
        experiment_from_mapping(merged(DIGITS, settings))
    assert f"(did you mean {meant}?)" in str(caught.value)


def test_a_preset_in_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for preset in PRESETS:
        (tmp_path / "mine.toml").write_text(f'preset = "{slip(preset)}"\n')
        assert main(["replicate", "--dry-run", "--config", str(tmp_path / "mine.toml")]) == 2
        assert f"(did you mean {preset}?)" in capsys.readouterr().err


def test_what_is_near_nothing_is_answered_with_what_there_is_alone(capsys: pytest.CaptureFixture[str]) -> None:
    for line in ("replicate --preset zzzz", "replicate --device zzzz --dry-run", "report reference:zzzzzzzzzzzzzzzzzzzzzzzzz"):
        assert main(line.split()) == 2
        said = capsys.readouterr().err
        assert "did you mean" not in said
        assert ": give " in said
