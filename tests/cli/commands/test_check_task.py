"""`sics-run check-task`: what a trial of a task finds, in a line a step, and what it takes."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

TASKS = Path(__file__).parents[1] / "tasks" / "own_tasks.py"
SMALL = ("--scorers", "magnitude,chaos", "--sparsities", ".5", "--seeds", "2")


@pytest.fixture
def check(cli: Any) -> Any:
    shutil.copy(TASKS, cli.folder / "tasks.py")

    def run(name: str, *options: str) -> subprocess.CompletedProcess[str]:
        done = cli.here("check-task", f"tasks.py:{name}", *SMALL, *options)
        assert not done.stderr
        return done

    return run


def steps(done: subprocess.CompletedProcess[str]) -> dict[str, list[str]]:
    """Marks and texts by step, lines put together again."""
    found: list[list[str]] = []
    for line in done.stdout.splitlines():
        if line[:1] in ("✓", "!", "✗"):
            found.append([line[2:13].strip(), line[0] + " " + line[14:].strip()])
        elif found and line.startswith(" " * 14):
            found[-1][1] += " " + line.strip()
        elif not line.startswith("    "):
            break
    said: dict[str, list[str]] = {}
    for step, text in found:
        said.setdefault(step, []).append(text)
    return said


def one(done: subprocess.CompletedProcess[str], step: str) -> str:
    (text,) = steps(done)[step]
    return text


def test_a_good_task_passes_every_step(check: Any) -> None:
    done = check("Good")
    assert done.returncode == 0
    said = steps(done)
    assert {text[0] for texts in said.values() for text in texts} == {"✓"}, done.stdout
    assert list(said) == [
        "import", "metric", "network", "calibration", "loss", "saliency", "evaluate", "pruned", "other seed", "again",
        "in Python",
    ]  # fmt: skip
    assert "Good() has network, calibration, evaluate; loss and targets are the default" in said["import"][0]
    assert "accuracy in points, higher is better; δ = 0.5" in said["metric"][0]
    assert "Sequential of 450 parameters" in said["network"][0]  # 8·16 + 16 + 16·16 + 16 + 16·2 + 2
    assert "2 layers can be pruned: covers 384 of 416 matrix weights (92.3 %)" in said["network"][0]
    assert "4 batches, the first (float32 64×8, int64 64); the same when asked again" in said["calibration"][0]
    assert "256 examples, right or wrong: their mean 100.00 % in " in said["evaluate"][0]
    assert "90.1 % removed" in said["pruned"][0]  # 346 of 384
    last = "can run   sics-run replicate --task tasks.py:Good --scorers magnitude,chaos --sparsities 0.5 --seeds 2"
    assert done.stdout.splitlines()[-1] == last, "what was asked is asked again"


def test_the_time_of_the_grid_is_told(check: Any) -> None:
    table = [
        line.split() for line in check("Good").stdout.splitlines() if line.startswith(("dense network", "mask and", "whole"))
    ]
    assert table[0][3] == "s"
    assert table[0][4] == "2"  # seeds
    assert table[1][-2] == str(2 * (1 + 2 + 1))  # dense, two scorers, one repeat
    assert table[2][:3] == ["whole", "run", "about"]


def test_a_metric_of_another_kind_and_a_loss_of_ones_own(check: Any) -> None:
    said = steps(check("Squares", "--saliency", "activation", "--seed", "3"))
    assert "error in bits, lower is better; δ = 0.01" in said["metric"][0]
    assert "loss" not in said  # activation asks no loss
    assert "256 examples, a float each" in said["evaluate"][0]
    assert "another network at seed 4" in said["other seed"][0]
    assert "(the task's own); " in one(check("Squares"), "loss")


def test_of_a_trainer_one_epoch_is_trained(check: Any) -> None:
    said = steps(check("InParts"))
    assert "one of 4 epochs in " in said["trainer"][0]
    assert said["resume"] == ["✓ two epochs in one go and in two parts give the same network"]
    assert "network" not in said
    assert "InParts() has trainer, calibration, evaluate; " in said["import"][0]


def test_what_takes_long_is_made_once_unless_asked(check: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from sics_cli.seeds import trial

    monkeypatch.setattr(trial, "CHEAP_SECONDS", 0.0)
    said = steps(check("Good"))
    assert said["other seed"] == ["✓ as many examples at seed 1; its network is made with --thorough"]
    assert "again" not in said
    said = steps(check("Good", "--thorough"))
    assert said["other seed"] == ["✓ another network at seed 1, evaluated on as many examples"]
    assert said["again"] == ["✓ the same network of seed 0 when asked again"]


def test_options_come_from_a_file(check: Any, cli: Any) -> None:
    (cli.folder / "own.toml").write_text("[task]\nhidden = 12\n")
    done = check("Good", "--config", "own.toml")
    assert "Good(hidden=12) has" in one(done, "import")
    assert "Sequential of 290 parameters" in one(done, "network")


@pytest.mark.parametrize(
    ("name", "step", "words"),
    [
        ("NoMetric", "import", "has no metric: give a sics_cli.Metric"),
        ("WrongMetric", "import", "metric is str: give a sics_cli.Metric"),
        ("NoEvaluate", "import", "has no method evaluate(network, seed)"),
        ("NoCalibration", "import", "has no method calibration(seed)"),
        ("NoNetwork", "import", "has neither network(seed) nor trainer(seed)"),
        ("NoMethod", "import", "evaluate is float, not a method evaluate(network, seed)"),
        ("Signature", "import", "evaluate(network) is not called with (network, seed)"),
        ("NoEpochs", "import", "epochs is 0: a task with a trainer says how many it trains, at least 1"),
        ("Nosuch", "import", "cannot be imported (module"),
        ("NoModule", "network", "network(0) gave dict, expected a torch.nn.Module"),
        ("Unkept", "network", "ConflictError: network(0) gave another network than before, and the first could not be kept"),
        ("HalfATrainer", "trainer", "trainer(0) gave Linear without network: see sics_cli.Trainer"),
        ("NoBatches", "calibration", "calibration(0) gave no batches"),
        ("OneBatch", "calibration", "calibration gave Tensor: expected an iterable of (input, target) pairs"),
        ("Triples", "loss", "Expected every batch to be an (input, target) pair"),
        ("UsedUp", "calibration", "gave no batches when asked again: make a new iterator in the method, or give a list"),
        ("VectorLoss", "loss", "expected a tensor of one number"),
        ("NanLoss", "loss", "Expected a finite loss on the calibration batches, got nan on batch 1"),
        ("NoGradient", "loss", "384 of 384 prunable weights have none"),
        ("NotThere", "network", "targets(network): Expected wieght to be a parameter of Linear"),
        (
            "Elsewhere",
            "network",
            "targets(network): Expected `parameters` of this Sequential, got 'weight' of a Linear outside it",
        ),
        ("NoTargets", "network", "targets(network) gave nothing that can be pruned"),
        ("LossWrites", "loss", "the network changed while its saliency was measured: loss() and forward() must leave"),
        ("Norm", "evaluate", "the network changed while it was evaluated"),
        ("Writes", "evaluate", "the network changed while it was evaluated"),
        ("TwoDimensional", "evaluate", "evaluate gave shape (256, 2) for accuracy: expected (examples,), or one number"),
        ("Words", "evaluate", "evaluate gave list for accuracy: expected numbers"),
        ("Nothing", "evaluate", "evaluate gave no numbers for accuracy"),
        ("Forgot", "evaluate", "evaluate gave NoneType for accuracy: expected numbers"),
        ("Nan", "evaluate", "evaluate gave nan for accuracy for example 7: expected finite numbers"),
        ("Percent", "evaluate", "for accuracy, whose unit is points: expected fractions from 0 to 1"),
        ("OtherName", "evaluate", "evaluate gave acc: expected 'accuracy'"),
        ("Fewer", "other seed", "gave 255 examples, right or wrong, evaluate(network, 0) 256 examples, right or wrong"),
        ("ForgetfulParts", "resume", "state() leaves out what the next epoch depends on"),
    ],
)
def test_what_cannot_run_is_named_at_its_step(check: Any, name: str, step: str, words: str) -> None:
    done = check(name)
    failed = {found: text for found, texts in steps(done).items() for text in texts if text[0] == "✗"}
    assert list(failed) == [step], done.stdout
    assert words in failed[step]
    assert done.returncode == 1
    assert "cannot run" in done.stdout
    assert "whole run" not in done.stdout


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("Floats", "does not take this batch (expected target dtype to be Long or Byte, but got Float)"),
        ("FloatColumns", "takes classes, or a probability for each class, not targets of other floats (64×2)"),
        ("ShortTargets", "does not take this batch (Expected input batch_size (64) to match target batch_size (63).)"),
        ("OtherLabels", "does not take this batch (Expected labels in [0, 2) on batch 1, got 8: the model has 2 outputs)"),
        (
            "Named",
            "does not take this batch (Expected the model to return its `loss` for a batch that is a mapping, got Tensor "
            "without one)",
        ),
    ],
)
def test_what_fails_in_the_default_loss_says_that_it_is_the_default(check: Any, name: str, reason: str) -> None:
    default = "the default loss, cross-entropy on (input, target) or the output's own .loss of a mapping,"
    done = check(name)
    assert one(done, "loss") == f"✗ {default} {reason}: loss(self, network, batch) gives another"
    assert "Traceback" not in done.stdout  # nothing of it is the user's


def test_what_fails_before_the_loss_is_not_laid_on_it(check: Any) -> None:
    text = one(check("Wide"), "loss")
    assert text.startswith("✗ RuntimeError: ")
    assert "mat1 and mat2 shapes cannot be multiplied (4x9 and 8x16)" in text
    assert "default loss" not in text


@pytest.mark.parametrize(
    ("name", "step", "words"),
    [
        ("OtherBatches", "calibration", "gave other batches when asked again"),
        ("Noisy", "evaluate", "gave other numbers when asked again"),
        ("Its", "pruned", "to the bit what the dense network gives"),
        ("Shuffled", "other seed", "gave this network other numbers for the examples than evaluate(network, 0)"),
        ("Dropped", "evaluate", "left the network in training mode"),
        ("OneNetwork", "other seed", "seeds 0 and 1 have one and the same network"),
        ("OtherNetwork", "again", "gave another network when asked again: a lost checkpoint cannot be made again"),
        ("NotSent", "in Python", "its attribute lines, generator, cannot be pickled"),
        ("NotKept", "in Python", "its argument width is not kept as an attribute of that name"),
    ],
)
def test_what_runs_but_is_doubtful_is_remarked(check: Any, name: str, step: str, words: str) -> None:
    done = check(name)
    remarks = {found: text for found, texts in steps(done).items() for text in texts if text[0] == "!"}
    # A network that is another each time may by chance not change when it is pruned, which is remarked as well. What draws
    # while it evaluates draws otherwise at another seed.
    also = {"OtherNetwork": {"pruned"}, "Its": {"other seed"}, "Dropped": {"other seed"}}.get(name, set())
    assert set(remarks) - also == {step}, done.stdout
    assert words in remarks[step]
    assert done.returncode == 0
    assert f"look at what is marked ! ({len(remarks)})" in " ".join(done.stdout.split())


def test_one_number_is_no_mean_of_examples(check: Any) -> None:
    said = steps(check("Share"))
    assert "mean" not in said["metric"][0]
    assert said["evaluate"][0].startswith("✓ one number: 1 F1 in ")


def test_a_margin_beside_which_nothing_is_a_difference_is_a_remark(check: Any) -> None:
    _, doubt = steps(check("Share"))["metric"]
    assert doubt == (
        "! δ = 1 F1 is no less than the dense result itself (1 F1): even 0 would be no difference; of fractions from 0 to 1, a δ "
        "in points goes with Metric('F1', unit='points')"
    )
    assert len(steps(check("Reward"))["metric"]) == 1  # returns about −1, at δ = 0.5
    assert "their mean −1 return in " in steps(check("Reward"))["evaluate"][0]


def test_no_margin_is_a_remark(check: Any, cli: Any) -> None:
    text = (cli.folder / "tasks.py").read_text()
    (cli.folder / "tasks.py").write_text(text.replace(", delta=0.01)", ")"))
    done = check("Squares")
    assert one(done, "metric").startswith("! error in bits")
    assert "no δ: give replicate --delta, or the metric delta=" in one(done, "metric")
    assert done.returncode == 0


def test_a_failure_shows_the_users_frames_alone(check: Any, cli: Any) -> None:
    done = check("Raises")
    assert done.returncode == 1
    assert "raises LookupError: no data here (tasks.py, line" in one(done, "import")
    done = check("Unlucky", "--seed", "2")
    assert one(done, "network") == "✗ SystemExit: enough"
    assert 'raise SystemExit("enough")' in done.stdout
    (cli.folder / "tasks.py").write_text(
        "import torch\n" + TASKS.read_text() + "\n\nclass Deep(Good):\n    def evaluate(self, network, seed):\n"
        "        return network(torch.ones(1, 5))\n"
    )
    done = check("Deep")
    shown = [line.strip() for line in done.stdout.splitlines() if line.startswith("    ") and "File" in line]
    assert len(shown) == 1
    assert shown[0].startswith(f'File "{cli.folder}/tasks.py", line ')
    assert shown[0].endswith("in evaluate")
    assert "return network(torch.ones(1, 5))" in done.stdout
    assert "mat1 and mat2 shapes cannot be multiplied (1x5 and 8x16)\n" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["tasks.py"], "FILE.py:CLASS 'tasks.py' is not accepted: give FILE.py:CLASS or MODULE:CLASS"),
        (["tasks.py:Good", "--scorers", "nosuch"], "nosuch"),
        (["tasks.py:Good", "--sparsities", "1.5"], "--sparsities 1.5: is not accepted"),
        (["tasks.py:Good", "--config", "none.toml"], "--config none.toml: cannot be read"),
        (["tasks.py:Elsewhere", "--unit", "channel"], "targets() of tasks.py:Elsewhere names weights: give --unit weight"),
    ],
)
def test_usage(cli: Any, check: Any, arguments: list[str], words: str) -> None:
    done = cli.here("check-task", *arguments)
    assert done.returncode == 2
    last = done.stderr.splitlines()[-1]
    assert last.startswith("sics-run: ")
    assert words in last


def test_as_a_process_of_its_own(cli: Any) -> None:
    """Workers and all; help loads no torch."""
    shutil.copy(TASKS, cli.folder / "tasks.py")
    done = cli("check-task", "tasks.py:Good", *SMALL)
    assert done.returncode == 0, done.stderr
    assert one(done, "pruned").startswith("✓ S = 0.9 by magnitude")
    assert sorted(path.name for path in cli.folder.iterdir() if path.name != "__pycache__") == ["tasks.py", "tiny.toml"]


def test_what_a_task_prints_is_shown_beside_the_findings(cli: Any) -> None:
    (cli.folder / "tasks.py").write_text(
        TASKS.read_text() + "\n\nprint('imported by', __name__)\n\n\nclass Talks(Good):\n    def evaluate(self, network, seed):\n"
        "        print('evaluating', seed)\n        return super().evaluate(network, seed)\n"
    )
    done = cli("check-task", "tasks.py:Talks", *SMALL)
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines().count("evaluating 0") == 4  # twice the dense network, and a pruned one
    assert done.stderr.splitlines().count("evaluating 1") == 1
    assert "imported by" in done.stderr
    assert "evaluating" not in done.stdout
    assert "imported by" not in done.stdout
    assert one(done, "evaluate")[0] == "✓"


def test_a_worker_that_dies_is_a_failure(cli: Any) -> None:
    text = (
        TASKS.read_text()
        + "\n\nclass Dies(Good):\n    def evaluate(self, network, seed):\n        import os\n        os._exit(9)\n"
    )
    (cli.folder / "tasks.py").write_text(text)
    done = cli("check-task", "tasks.py:Dies", *SMALL)
    assert done.returncode == 1
    assert one(done, "saliency")[0] == "✓"
    assert one(done, "worker") == "✗ died in the step after the last line (killed, or out of memory?)"


def test_examples_that_calibration_and_evaluation_share_are_counted(check: Any) -> None:
    """64 of 256 but the row of zeros, beside 256 that are scaled but those of one number: 63 + 254."""
    found = steps(check("SeesItself"))["evaluate"]
    assert found[1].startswith("! the network is fed 63 of the 317 different examples that calibration hands over")


def test_held_out_examples_are_tried_and_told_apart_from_those_of_the_evaluation(check: Any) -> None:
    good = check("HoldsOut", "--scorers", "magnitude,fusion_orbit_20,fusion_orbit_8")
    assert good.returncode == 0
    found = steps(good)["held out"]
    assert len(found) == 1
    assert found[0].startswith("✓ 128 examples, right or wrong: ")
    assert found[0].endswith("searches go by minus its loss; the same when asked again")
    (searches,) = (line for line in good.stdout.splitlines() if line.startswith("evaluation of a search"))
    assert searches.split()[-2] == str(2 * 20)  # seeds; one search serves both
    same = steps(check("HoldsOutTheSame"))["held out"]
    assert same[1].startswith("! 127 of the 127 different examples that the network is fed are those of evaluate: a search would")
    assert same[1].endswith("a run refuses searched scorers")
    some = steps(check("HoldsOutSomeOfTheSame"))["held out"]
    assert some[1].startswith("! 10 of the 137 different examples")
    assert some[1].endswith("a run flags searched scorers")
    assert steps(check("HoldsOutErrors"))["held out"][0].count("searches go by error") == 1
    assert "held_out gave no finite number" in steps(check("HoldsOutNothing"))["held out"][0]
    assert "held out" not in steps(check("Good"))


def test_a_margin_below_one_example_is_remarked(check: Any) -> None:
    found = steps(check("FineMargin"))["metric"]
    assert found[1].startswith("! one of 256 examples is 0.39 points, more than δ = 0.1: no network can show so little")


def test_a_network_of_which_nothing_is_pruned_is_told_of_targets(check: Any) -> None:
    done = check("Bare")
    assert done.returncode == 1
    assert one(done, "network").endswith(
        "there is nothing to prune in this Shift beside its head: targets(self, network) names what may be pruned"
    )


def test_units_that_are_not_there_send_to_weights(check: Any) -> None:
    done = check("Good", "--unit", "head")
    assert done.returncode == 1
    assert one(done, "network").endswith("no head to prune in this Sequential: known are timm Attention: give --unit weight")


def test_a_store_that_grows_large_is_announced(check: Any) -> None:
    """256 · 8000 numbers of 4 bytes, at 8 cells."""
    lines = check("Many").stdout.splitlines()
    (store,) = [line for line in lines if line.startswith("store ")]
    assert store.split(maxsplit=1)[1] == "about 66 MB: 8.19 MB of examples' numbers an evaluation"


def test_one_module_for_two_seeds_is_refused(check: Any) -> None:
    done = check("GoesOn")
    assert done.returncode == 1
    assert "✗ network(1) gave the very module that network(0) gave: trained further from there" in steps(done)["other seed"][0]
