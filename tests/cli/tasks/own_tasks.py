"""Tasks as a user writes them, in a file of their own: a good one, and others that each do one thing otherwise."""

import random
import time
from pathlib import Path

import torch
from torch import nn

from sics_cli import Metric, Task


class Good(Task):
    """The parity of the first two of eight bits, by an MLP that learns it in a moment."""

    metric = Metric("accuracy")

    def __init__(self, hidden=16):
        self.hidden = hidden

    def bits(self):
        bits = (torch.arange(256)[:, None] >> torch.arange(8) & 1).float()
        return bits, (bits[:, 0] != bits[:, 1]).long()

    def network(self, seed):
        net = nn.Sequential(
            nn.Linear(8, self.hidden), nn.ReLU(), nn.Linear(self.hidden, self.hidden), nn.ReLU(), nn.Linear(self.hidden, 2)
        )
        optimiser, (x, y) = torch.optim.Adam(net.parameters(), 0.02), self.bits()
        for _ in range(15):
            optimiser.zero_grad()
            nn.functional.cross_entropy(net(x), y).backward()
            optimiser.step()
        return net

    def calibration(self, seed):
        x, y = self.bits()
        return [(0.999999 * x[part], y[part]) for part in torch.randperm(256).split(64)]  # no bits that are evaluated

    def evaluate(self, network, seed):
        x, y = self.bits()
        return network(x.to(self.device)).argmax(1).cpu() == y


class Learner:
    """What `InParts` trains with."""

    def __init__(self, task, seed):
        self.network = nn.Sequential(
            nn.Linear(8, task.hidden), nn.ReLU(), nn.Linear(task.hidden, task.hidden), nn.Linear(task.hidden, 2)
        )
        self.x, self.y = task.bits()
        self.momentum = [torch.zeros_like(weight) for weight in self.network.parameters()]

    def epoch(self, number):
        loss = torch.zeros(())
        for part in torch.randperm(256).split(32):
            loss = nn.functional.cross_entropy(self.network(self.x[part]), self.y[part])
            gradients = torch.autograd.grad(loss, list(self.network.parameters()))
            with torch.no_grad():
                for weight, kept, gradient in zip(self.network.parameters(), self.momentum, gradients, strict=True):
                    weight -= 0.1 * kept.mul_(0.9).add_(gradient)
        return {"loss": float(loss.detach())}

    def state(self):
        return {**self.network.state_dict(), **{f"momentum.{i}": kept for i, kept in enumerate(self.momentum)}}

    def load(self, state):
        for i, kept in enumerate(self.momentum):
            kept.copy_(state.pop(f"momentum.{i}"))
        self.network.load_state_dict(state)


class InParts(Good):
    epochs = 4

    def trainer(self, seed):
        return Learner(self, seed)


class Forgetful(Learner):
    """Leaves its momentum out of its state."""

    def state(self):
        return self.network.state_dict()

    def load(self, state):
        self.network.load_state_dict(state)


class ForgetfulParts(InParts):
    def trainer(self, seed):
        return Forgetful(self, seed)


class Squares(Good):
    """A number an example, lower is better, with a loss of its own."""

    metric = Metric("error", unit="bits", higher_is_better=False, delta=0.01)

    def loss(self, network, batch):
        x, y = batch
        return (network(x)[:, 0] - y).square().mean()

    def evaluate(self, network, seed):
        x, y = self.bits()
        return (network(x)[:, 0] - y).square()


class HoldsOut(Good):
    """Evaluates on one half of its examples and holds out the other; a line of asked.log a network says on which it was asked."""

    pause = 0.0

    def bits(self):
        x, y = super().bits()
        return x - 0.5, y

    def measured(self, network, part, what):
        x, y = (one[part] for one in self.bits())
        with Path("asked.log").open("a") as file:
            file.write(f"{what} {int((x[:, 7] > 0).sum())} of {len(x)}\n")
        logits = network(x.to(self.device)).cpu()
        return {"accuracy": logits.argmax(1) == y, "loss": nn.functional.cross_entropy(logits.double(), y).item()}

    def evaluate(self, network, seed):
        return self.measured(network, slice(None, 128), "evaluate")

    def held_out(self, network, seed):
        time.sleep(self.pause)
        return self.measured(network, slice(128, None), "held out")


class HoldsOutSlowly(HoldsOut):
    pause = 0.15


class HoldsOutNothing(HoldsOut):
    def held_out(self, network, seed):
        return {**super().held_out(network, seed), "loss": float("nan")}


class HoldsOutAWhile(HoldsOut):
    """Fails at the eighth pruned network of a seed, and at no other."""

    def held_out(self, network, seed):
        self.times = getattr(self, "times", 0) + 1
        if self.times == 9:
            raise RuntimeError("no more")
        return super().held_out(network, seed)


class HoldsOutTheSame(HoldsOut):
    def held_out(self, network, seed):
        return super().evaluate(network, seed)


class HoldsOutTheSameUnseen(HoldsOutTheSame):
    """Goes past the network itself, so that nobody sees what it is fed."""

    def measured(self, network, part, what):
        return super().measured(network[:], part, what)


class HoldsOutTraced(HoldsOut):
    """Runs what torch traced of the network, which takes no network that is watched."""

    def measured(self, network, part, what):
        return super().measured(torch.jit.trace(network, self.bits()[0][:2]), part, what)


class HoldsOutTheSameTraced(HoldsOutTraced):
    def held_out(self, network, seed):
        return self.evaluate(network, seed)


class HoldsOutSomeOfTheSame(HoldsOut):
    def held_out(self, network, seed):
        return self.measured(network, slice(118, None), "held out")


class HoldsOutByFile(HoldsOut):
    """What is held out is in files, of which no key knows: which examples, and whether their labels are turned round."""

    turned = False

    def bits(self):
        x, y = super().bits()
        return x, 1 - y if self.turned else y

    def held_out(self, network, seed):
        last = slice(128, 255) if Path("fewer").exists() else slice(128, None)
        self.turned = Path("turned").exists()
        try:
            return self.measured(network, last, "held out")
        finally:
            self.turned = False


class HoldsOutByChance(HoldsOut):
    """Adds what nobody seeded to the loss."""

    def held_out(self, network, seed):
        found = super().held_out(network, seed)
        return found | {"loss": found["loss"] + random.Random().random() * 1e-6}


class HoldsOutErrors(Good):
    """Of a metric that is better low, without a loss; and with targets."""

    metric = Metric("error", unit="bits", higher_is_better=False, delta=0.01)

    def errors(self, network, part):
        x, y = (one[part] for one in self.bits())
        return (network(x)[:, 0] - y).square()

    def evaluate(self, network, seed):
        return self.errors(network, slice(None, 128))

    def held_out(self, network, seed):
        return self.errors(network, slice(128, None))

    def targets(self, network):
        return [(network[2], "weight"), (network[0], "weight")]


# -- what is refused before anything is trained ------------------------------------------------------------------------


class NoMetric(Good):
    metric = None


class WrongMetric(Good):
    metric = "accuracy"


class NoEvaluate(Good):
    evaluate = property()  # as if there was none


class NoCalibration(Good):
    calibration = property()


class NoNetwork(Good):
    network = property()


class NoMethod(Good):
    evaluate = 0.5


class Signature(Good):
    def evaluate(self, network):
        return [1.0]


class NoEpochs(InParts):
    epochs = 0


class Raises(Good):
    def __init__(self):
        raise LookupError("no data here")


class Leaves(Good):
    def __init__(self):
        raise SystemExit("usage: ...")


# -- what a step of a trial finds --------------------------------------------------------------------------------------


class NoModule(Good):
    def network(self, seed):
        return {"weight": torch.ones(2, 2)}


class HalfATrainer(InParts):
    def trainer(self, seed):
        return nn.Linear(2, 2)


class NoBatches(Good):
    def calibration(self, seed):
        return []


class OneBatch(Good):
    def calibration(self, seed):
        return self.bits()[0]


class Triples(Good):
    def calibration(self, seed):
        x, y = self.bits()
        return [(x, y, y)]


class UsedUp(Good):
    def __init__(self):
        super().__init__()
        self.batches = iter(super().calibration(0))

    def calibration(self, seed):
        return self.batches


class OtherBatches(Good):
    dice = random.Random()

    def calibration(self, seed):
        x, y = self.bits()
        return [(x + self.dice.random() / 100, y)]


class VectorLoss(Squares):
    def loss(self, network, batch):
        return network(batch[0])[:, 0]


class NanLoss(Squares):
    def loss(self, network, batch):
        return network(batch[0]).mean() * float("nan")


class Floats(Squares):
    """A regression without a loss of its own: numbers as targets."""

    loss = property()

    def calibration(self, seed):
        return [(x, self.target(y)) for x, y in super().calibration(seed)]

    def target(self, y):
        return y.float()


class FloatColumns(Floats):
    def target(self, y):
        return torch.stack([y, 2 * y], 1).float()


class ShortTargets(Floats):
    def target(self, y):
        return y[:-1]


class OtherLabels(Floats):
    def target(self, y):
        return y + 7


class Named(Floats):
    """Batches by name, of a network that gives no loss."""

    def calibration(self, seed):
        return [{"input": x} for x, _ in super().calibration(seed)]


class Wide(Floats):
    """Does not take its batches: no fault of the loss."""

    def calibration(self, seed):
        return [(torch.ones(4, 9), torch.ones(4).long())]


class NoGradient(Squares):
    def loss(self, network, batch):
        return network(batch[0]).mean() * 0.0


class NotThere(Good):
    def targets(self, network):
        return [(network[0], "wieght")]


class TargetsWrite(Good):
    def targets(self, network):
        network[0].weight.data.mul_(0.9)
        return [(network[2], "weight")]


class NoTargets(Good):
    def targets(self, network):
        return []


class Elsewhere(Good):
    def targets(self, network):
        return [(nn.Linear(8, 16), "weight")]


class Norm(Good):
    """Leaves a batch norm training while it evaluates."""

    def network(self, seed):
        net = super().network(seed)
        return nn.Sequential(*net[:2], nn.BatchNorm1d(self.hidden), *net[2:])

    def evaluate(self, network, seed):
        network.train()
        return super().evaluate(network, seed)


class Writes(Good):
    def evaluate(self, network, seed):
        network[0].weight.data.mul_(0.99)
        return super().evaluate(network, seed)


class WritesLater(Good):
    """Leaves the dense network alone, and writes past the counter to one that is pruned far."""

    def evaluate(self, network, seed):
        found = super().evaluate(network, seed)
        if bool((network[2].weight == 0).float().mean() > 0.6):
            network[0].bias.data.add_(0.01)
        return found


class LossWrites(Squares):
    def loss(self, network, batch):
        network[0].bias.data.add_(0.01)
        return super().loss(network, batch)


class Results(Good):
    def given(self, right):
        raise NotImplementedError

    def evaluate(self, network, seed):
        return self.given(super().evaluate(network, seed))


class TwoDimensional(Results):
    def given(self, right):
        return right[:, None].float().expand(-1, 2)


class Words(Results):
    def given(self, right):
        return ["right" if one else "wrong" for one in right]


class Nothing(Results):
    def given(self, right):
        return []


class Forgot(Results):
    def given(self, right):
        return None


class Nan(Results):
    def given(self, right):
        return torch.where(torch.arange(256) == 7, float("nan"), 0.5)


class Percent(Results):
    def given(self, right):
        return 100.0 * float(right.float().mean())


class OtherName(Results):
    def given(self, right):
        return {"acc": right}


class Share(Results):
    """One fraction, without the unit that would have it told in points, at a δ of one point."""

    metric = Metric("F1", delta=1)

    def given(self, right):
        return right.float().mean()


class Reward(Results):
    metric = Metric("return", delta=0.5)

    def given(self, right):
        return right.float() - 2


class Fewer(Good):
    def evaluate(self, network, seed):
        return super().evaluate(network, seed)[seed:]


class Noisy(Good):
    metric = Metric("score", delta=0.1)
    dice = random.Random(0)

    def evaluate(self, network, seed):
        return super().evaluate(network, seed).float().mean() + self.dice.random()


class Shuffled(Good):
    """Gives its examples in another order at each seed."""

    def evaluate(self, network, seed):
        return super().evaluate(network, seed)[torch.randperm(256)]


class Kept(Good):
    """Its test data are in a file."""

    def evaluate(self, network, seed):
        x, y = self.bits()
        return network(x + float(Path("shift.txt").read_text())).argmax(1) == y


class Dropped(Good):
    """Leaves its dropout active while it evaluates."""

    def network(self, seed):
        net = super().network(seed)
        return nn.Sequential(*net[:4], nn.Dropout(0.3), net[4])

    def evaluate(self, network, seed):
        network.train()
        return super().evaluate(network, seed)


class Its(Good):
    """Evaluates a network of its own."""

    def evaluate(self, network, seed):
        with torch.enable_grad():
            its = super().network(seed)
        return super().evaluate(its, seed)


class Remembers(Good):
    """Keeps what the first network of a seed gave, for all."""

    def __init__(self):
        super().__init__()
        self.found = {}

    def evaluate(self, network, seed):
        if seed not in self.found:
            self.found[seed] = network(self.bits()[0])[:, 0] > 0.3
        return self.found[seed]


class Sparse(Good):
    """Makes a network that is pruned already."""

    def network(self, seed):
        net = super().network(seed)
        for layer in (net[0], net[2]):
            weight = layer.weight.data
            weight[weight.abs() < weight.abs().quantile(0.6)] = 0
        return net


class OneNetwork(Good):
    def network(self, seed):
        torch.manual_seed(0)
        return super().network(seed)


class OtherNetwork(Good):
    dice = random.Random()

    def network(self, seed):
        torch.manual_seed(self.dice.randrange(2**40))
        return super().network(seed)


class Unkept(Good):
    """Makes a network that cannot be written down whole, and another each time."""

    dice = random.Random()

    def network(self, seed):
        torch.manual_seed(self.dice.randrange(2**40))
        net = super().network(seed)
        net.lines = (line for line in ())
        return net


class NotSent(Good):
    def __init__(self):
        super().__init__()
        self.lines = (line for line in ())


class NotKept(Good):
    def __init__(self, width=8):
        super().__init__()


# -- what raises while it runs -----------------------------------------------------------------------------------------


class Unlucky(Good):
    """Raises at seed 1, deep in a helper of its own, unless there is a file `lucky`; seed 2 leaves by the back door."""

    def network(self, seed):
        if not Path("lucky").exists():
            self.check(seed)
        return super().network(seed)

    def check(self, seed):
        if seed == 1:
            raise RuntimeError(f"no luck at seed {seed}")
        if seed == 2:
            raise SystemExit("enough")
        if seed == 3:
            raise PermissionError(13, "Permission denied", "/data/secret.npz")


class UnluckyEvaluate(Good):
    def evaluate(self, network, seed):
        if seed == 1 and bool((network[2].weight == 0).float().mean() > 0.6):
            return torch.ones(3) @ torch.ones(4)  # where much is pruned alone
        return super().evaluate(network, seed)


class SeesItself(Good):
    """Calibrates on a quarter of what it evaluates, and some more."""

    def calibration(self, seed):
        x, y = self.bits()
        return [(x[:64], y[:64]), (0.9 * x, y)]


class FineMargin(Good):
    metric = Metric("accuracy", delta=0.1)


class Bare(Good):
    """A network of which nothing is pruned by itself."""

    def network(self, seed):
        return Shift()


class Shift(nn.Module):
    def __init__(self):
        super().__init__()
        self.by = nn.Parameter(torch.randn(2))

    def forward(self, x):
        return x[:, :2] + self.by


class Many(Squares):
    """As many numbers as fill a store."""

    def evaluate(self, network, seed):
        return super().evaluate(network, seed).repeat(8000)


ONE_NET = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 2))


class GoesOn(Good):
    """Trains one network of its module further at each seed."""

    def network(self, seed):
        optimiser, (x, y) = torch.optim.SGD(ONE_NET.parameters(), 0.1), self.bits()
        nn.functional.cross_entropy(ONE_NET(x), y).backward()
        optimiser.step()
        return ONE_NET


class Settings(Good):
    """Trains under settings of its own, and looks whether its evaluation meets them."""

    def network(self, seed):
        made = super().network(seed)
        torch.set_default_dtype(torch.float64)
        torch.set_num_threads(2)
        torch.backends.cudnn.benchmark = True
        return made

    def evaluate(self, network, seed):
        met = torch.get_default_dtype(), torch.get_num_threads(), torch.backends.cudnn.benchmark
        assert met == (torch.float32, 1, False), met
        return super().evaluate(network, seed)


class Annotated(Good):
    def __init__(self, hidden: int = 16, rate: float = 0.1, names: str | int = "a"):
        self.hidden, self.rate, self.names = hidden, rate, names
