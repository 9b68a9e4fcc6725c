"""A pretend GPU on the CPU: it refuses what a real one refuses, and counts operations and waits.

Inside `PretendDevice` a tensor is on the device if its memory was brought there, and everything made of it is. Numbers are the
CPU's own, so that results can be compared bit for bit. It refuses operations that mix devices, and NumPy's look into the device's
memory. A wait is what `torch.cuda.set_sync_debug_mode` would report of a real one: the host stands still until the device has
done all it was asked for, because a number is fetched, a shape depends on data, or memory is copied either way. An operation is
a call that a GPU gets as one kernel or more; views are none.

It captures graphs as a real one does: nothing is computed then, whoever looks has rubbish, and a wait is refused; a replay does
the same operations on the same memory with the host's numbers as they were, and is one operation. It draws from a generator of
its own, of the CPU's kind, which begins as the CPU's does and is seeded with it: what draws there alone has the CPU's numbers.

One thread alone: torch's modes are a thread's own.
"""

from __future__ import annotations

import contextlib
import sys
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self
from unittest import mock

import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

#: What a pretend device is called: branches that ask for "cuda" are taken.
DEVICE = torch.device("cuda", 0)
CPU = torch.device("cpu")
NAME = "Pretend GPU"
#: What lies on it, by address, whoever brought it there: tables that a process keeps on the device stay there.
_held: dict[int, StorageWeakRef] = {}
#: Operations whose result has a shape that depends on data, or that look at data on the host.
WAITING = {
    "nonzero", "masked_select", "_unique", "_unique2", "unique_dim", "unique_consecutive", "equal", "bincount", "argwhere",
}  # fmt: skip
#: Neither kernels nor copies: another look at the same memory, or memory nobody has written to.
FREE = {
    "alias", "as_strided", "detach", "detach_", "diagonal", "empty", "empty_like", "empty_strided", "expand", "lift_fresh",
    "narrow", "new_empty", "new_empty_strided", "permute", "resize_", "select", "slice", "split", "split_with_sizes", "squeeze",
    "squeeze_", "t", "transpose", "unbind", "unfold", "unsafe_split", "unsqueeze", "unsqueeze_", "view", "view_as_real",
    "_local_scalar_dense", "_unsafe_view", "is_same_size", "set_", "unflatten", "_reshape_alias", "t_", "is_pinned",
}  # fmt: skip
_COMPOSITE = torch._C.DispatchKey.CompositeImplicitAutograd
_HERE = Path(__file__).resolve()
_LIBRARIES = ("site-packages", "dist-packages", "<")


class PretendDevice:
    """Counts what happens on the device while the context lasts; `waits` has how often the host waited, by place in the code.

    >>> with PretendDevice() as device:
    ...     total = torch.ones(3, device=DEVICE).sum()
    ...     value = total.item()
    >>> value, device.operations, sum(device.waits.values())
    (3.0, 2, 1)
    """

    def __init__(self) -> None:
        self.operations = 0
        self.by_name: Counter[str] = Counter()
        self.waits: Counter[str] = Counter()
        self.capturing: PretendGraph | None = None
        self._generator = torch.get_rng_state()

    def __enter__(self) -> Self:
        import torch._dynamo  # optimizers do; what it sees of `torch.cuda` is the real thing then
        import torch.optim

        nothing: Callable[..., None] = lambda *_, **__: None  # noqa: E731
        device = self

        class CUDAGraph(PretendGraph):  # a class, as libraries that are loaded meanwhile write `torch.cuda.CUDAGraph | None`
            def __init__(self) -> None:
                super().__init__(device)

        cards: dict[str, Any] = {
            "is_initialized": lambda: True,
            "device_count": lambda: 1,
            "current_device": lambda: 0,
            "set_device": nothing,
            "synchronize": nothing,
            "empty_cache": nothing,
            "get_device_name": lambda *_: NAME,
            "get_rng_state": lambda *_: self._generator.clone(),
            "set_rng_state": self._set_generator,
            "CUDAGraph": CUDAGraph,
            "graph": self._captured,
            "Stream": PretendStream,
            "current_stream": PretendStream,
            "stream": contextlib.nullcontext,
            "manual_seed_all": self._seed,
            "mem_get_info": lambda *_: (1 << 36, 1 << 36),
            "get_device_properties": lambda *_: mock.Mock(total_memory=1 << 36, major=9, minor=0),
        }
        self._patches = [mock.patch.object(torch.cuda, name, made) for name, made in cards.items()]
        for patch in self._patches:
            patch.start()
        self._modes = _Dispatch(self), _Function(self)
        for mode in self._modes:
            mode.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        for mode in reversed(self._modes):
            mode.__exit__(*error)
        for patch in self._patches:
            patch.stop()

    @contextlib.contextmanager
    def _captured(self, graph: PretendGraph, stream: Any = None) -> Iterator[None]:
        """What `torch.cuda.graph` is: where something in it failed, ending it fails too, and that is what is raised."""
        self.capturing = graph
        try:
            yield
        except RuntimeError:
            raise RuntimeError("CUDA error: operation failed due to a previous error during capture")  # noqa: B904 (as torch does)
        finally:
            self.capturing = None

    def _seed(self, seed: int) -> None:
        self._generator = torch.Generator().manual_seed(seed).get_state()

    def _set_generator(self, state: Tensor, *_: Any) -> None:
        self._generator = state.clone()

    @contextlib.contextmanager
    def drawing(self) -> Iterator[None]:
        """Draw from the card's generator, and leave the host's as it was."""
        host = torch.get_rng_state()
        torch.set_rng_state(self._generator)
        try:
            yield
        finally:
            self._generator = torch.get_rng_state()
            torch.set_rng_state(host)

    @property
    def waited(self) -> int:
        """How often the host waited."""
        return sum(self.waits.values())

    def forget(self) -> None:
        """Count from zero."""
        self.operations = 0
        self.by_name.clear()
        self.waits.clear()

    def has(self, tensor: Tensor) -> bool:
        """Whether a tensor lies on the device."""
        return _key(tensor) in _held

    def take(self, made: Any) -> Any:
        """Say that tensors lie on the device."""
        for tensor in tree_leaves(made):
            if isinstance(tensor, Tensor) and (key := _key(tensor)) is not None:
                # A weak reference keeps the address from being given to another tensor.
                _held.setdefault(key, StorageWeakRef(_plain(tensor).untyped_storage()))
        if len(_held) > 4096:
            for gone in [key for key, kept in _held.items() if kept.expired()]:
                del _held[gone]
        return made

    def leave(self, made: Tensor) -> None:
        """Say that a tensor is the host's."""
        if (key := _key(made)) is not None:
            _held.pop(key, None)

    def wait(self, why: str) -> None:
        """Count a wait, at the innermost line of code that is neither a library's nor this file's."""
        if self.capturing is not None:
            raise RuntimeError(f"CUDA error: operation not permitted when stream is capturing ({why})")
        for frame, line in traceback.walk_stack(sys._getframe()):
            name = frame.f_code.co_filename
            if Path(name) != _HERE and not any(part in name for part in _LIBRARIES):
                self.waits[f"{why} at {'/'.join(Path(name).parts[-3:])}:{line} {frame.f_code.co_name}"] += 1
                return
        self.waits[why] += 1


class PretendStream:
    """What `torch.cuda.Stream` is, as far as it is used."""

    def __init__(self, *_: Any) -> None: ...

    def wait_stream(self, other: PretendStream) -> None: ...


class PretendGraph:
    """What `torch.cuda.CUDAGraph` is: operations, and the memory they were captured with."""

    def __init__(self, device: PretendDevice) -> None:
        self._device = device
        self._steps: list[tuple[Any, Any, dict[str, Any], Any]] = []

    def capture(self, func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        """Note an operation. What it would have written to is as it was, and what it gives is rubbish until a replay."""
        given = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        writes = func._schema.is_mutable or "batch_norm" in func._schema.name
        before = [(tensor, tensor.clone()) for tensor in given] if writes else []
        made = func(*args, **kwargs)
        for tensor, was in before:
            tensor.copy_(was)
        for tensor in self._fresh(given, made):
            tensor.fill_(float("nan") if tensor.is_floating_point() else 0)
        self._steps.append((func, args, kwargs, made))
        return made

    @staticmethod
    def _fresh(given: list[Tensor], made: Any) -> list[Tensor]:
        """What has memory of its own."""
        known = {_key(tensor) for tensor in given}
        return [leaf for leaf in tree_leaves(made) if isinstance(leaf, Tensor) and _key(leaf) not in known]

    def replay(self) -> None:
        """Do it all again, in the same memory."""
        if not self._steps:
            raise RuntimeError("Called CUDAGraph::replay without a preceding successful capture")
        with _off(), self._device.drawing():
            for func, args, kwargs, made in self._steps:
                given = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
                olds = [leaf for leaf in tree_leaves(made) if isinstance(leaf, Tensor)]
                fresh = {id(tensor) for tensor in self._fresh(given, made)}
                news = [leaf for leaf in tree_leaves(func(*args, **kwargs)) if isinstance(leaf, Tensor)]
                for old, new in zip(olds, news, strict=True):
                    if id(old) in fresh:
                        old.copy_(new)
        self._device.operations += 1
        self._device.by_name["replay"] += 1


@contextlib.contextmanager
def _off() -> Iterator[None]:
    """As if there were no modes, and nothing to differentiate."""
    with torch.no_grad(), torch.utils._python_dispatch._disable_current_modes(), torch._C.DisableTorchFunction():
        yield


def _plain(tensor: Tensor) -> Tensor:
    """The tensor itself, out of whatever torch.func wraps it in."""
    while torch._C._functorch.is_functorch_wrapped_tensor(tensor):
        tensor = torch._C._functorch.get_unwrapped(tensor)
    return tensor


def _key(tensor: Tensor) -> int | None:
    with torch._C.DisableTorchFunction():
        plain = _plain(tensor)
        return plain.untyped_storage()._cdata if plain.layout is torch.strided and not plain.is_meta else None


class _Dispatch(TorchDispatchMode):
    """Below autograd: every operation, those of the backward pass too."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # nothing is compiled here: torch's compiler need not be imported

    def __init__(self, device: PretendDevice) -> None:
        super().__init__()
        self._device = device

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        with torch._C.DisableTorchFunction():
            return self._called(func, args, kwargs or {})

    def _called(self, func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        device, name = self._device, func._schema.name.partition("::")[2]
        tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        here = [tensor for tensor in tensors if device.has(tensor)]
        if not here:
            if device.capturing is not None and not func._schema.name.startswith("prim"):
                return device.capturing.capture(func, args, kwargs)
            return func(*args, **kwargs)
        if torch.is_inference_mode_enabled() and func.has_kernel_for_dispatch_key(_COMPOSITE):
            with self:  # in parts, as autograd would have had it before it came here
                return func.decompose(*args, **kwargs)
        elsewhere = [tensor for tensor in tensors if tensor.dim() and not device.has(tensor)]
        into, of = (args[:1], args[1:2]) if name == "copy_" else ((), ())
        if name in ("index", "index_put", "index_put_", "_index_put_impl_") and elsewhere:
            values = args[2:3]
            if device.has(args[0]) and not any(tensor is value for value in values for tensor in elsewhere):
                for _ in elsewhere:
                    device.wait("indices brought")  # torch brings them over by itself
                elsewhere = []
        if name == "copy_" and (elsewhere or device.has(into[0]) != device.has(of[0])):
            if of[0].dim() or not device.has(into[0]):
                device.wait("copied")
            elsewhere = []
        if elsewhere:
            shapes = ", ".join(f"{tuple(t.shape)} on {'the device' if device.has(t) else 'cpu'}" for t in tensors)
            raise RuntimeError(f"Expected all tensors to be on the same device, but {name} got {shapes}")
        if name in WAITING:
            device.wait(name)
        elif name == "_local_scalar_dense":
            device.wait("item")
        elif name == "repeat_interleave" and kwargs.get("output_size") is None:
            device.wait(name)
        elif name in ("index", "index_put", "index_put_", "_index_put_impl_"):
            masks = [one for one in args[1] if one is not None and one.dtype in (torch.bool, torch.uint8)]
            scalar = name != "index" and args[2].numel() == 1 and not device.has(args[2])  # is filled in, without a look
            if masks and not scalar:
                device.wait(f"{name} by a mask")
        if name not in FREE:
            device.operations += 1
            device.by_name[name] += 1
        graph = device.capturing
        with device.drawing() if torch.Tag.nondeterministic_seeded in func.tags else contextlib.nullcontext():
            found = func(*args, **kwargs) if graph is None else graph.capture(func, args, kwargs)
        if name in ("copy_",) and not device.has(into[0]):
            return found
        return device.take(found)


def _where(value: Any) -> torch.device | None:
    """The device that an argument names; None where it names none."""
    if isinstance(value, torch.device):
        return value
    if isinstance(value, str) and value.partition(":")[0] in ("cpu", "cuda"):
        return torch.device(value)
    return None


_LOOKS = {Tensor.tolist: "tolist", Tensor.numpy: "numpy", Tensor.__array__: "numpy"}
_MOVES = {Tensor.to, Tensor.cpu, Tensor.cuda}


class _Function(TorchFunctionMode):
    """Above: where tensors are said to be, and what moves them."""

    def __init__(self, device: PretendDevice) -> None:
        super().__init__()
        self._device = device

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs, device = dict(kwargs or {}), self._device
        owner = getattr(func, "__self__", None)
        if owner is Tensor.device:
            return DEVICE if device.has(args[0]) else owner.__get__(args[0])
        if owner is Tensor.is_cuda:
            return device.has(args[0])
        if owner is Tensor.is_cpu:
            return not device.has(args[0]) and owner.__get__(args[0])
        if func is Tensor.get_device:
            return 0 if device.has(args[0]) else -1
        if func in _MOVES:
            return self._moved(func, args, kwargs)
        if func in _LOOKS and device.has(args[0]):
            if _LOOKS[func] == "numpy":
                raise TypeError(f"can't convert {DEVICE} device type tensor to numpy: copy the tensor to host memory first")
            device.wait("tolist")
            return func(*args, **kwargs)
        if func in (Tensor.data_ptr, Tensor.untyped_storage) or (owner is not None and func is getattr(owner, "__set__", None)):
            return func(*args, **kwargs)
        asked = _where(kwargs.get("device"))
        if func is Tensor.new_tensor and device.has(args[0]) and asked is None:
            device.wait("brought")
            return device.take(func(*args, **kwargs))
        if asked is None:
            if func is Tensor.__deepcopy__ and device.has(args[0]):  # copies its memory past every operation
                before = device.waits.copy()
                found = device.take(func(*args, **kwargs))
                device.waits = before
                return found
            return func(*args, **kwargs)
        kwargs["device"] = CPU
        if asked.type == "cpu":
            given = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor) and device.has(leaf)]
            assert not given, f"{func} onto the CPU is not pretended: add it"
            return func(*args, **kwargs)
        if func in (torch.tensor, torch.as_tensor, torch.asarray):
            return self._brought(func, args, kwargs)
        name = getattr(func, "__name__", "")
        with device.drawing() if name.startswith("rand") else contextlib.nullcontext():
            found = device.take(func(*args, **kwargs))
        if not name.startswith(("empty", "new_empty")):
            device.operations += 1
            device.by_name[name] += 1
        return found

    def _brought(self, func: Any, args: Any, kwargs: dict[str, Any]) -> Tensor:
        """What is made of the host's numbers there."""
        if args and isinstance(args[0], Tensor):
            if self._device.has(args[0]):
                kwargs.pop("device")
                return args[0].to(kwargs["dtype"]) if kwargs.get("dtype") is not None else args[0]
            made: Tensor = args[0].to(DEVICE, *([kwargs["dtype"]] if kwargs.get("dtype") is not None else []))
            return made
        self._device.wait("brought")
        made = func(*args, **kwargs)
        self._device.take(made)
        return made

    def _moved(self, func: Any, args: Any, kwargs: dict[str, Any]) -> Tensor:
        device, tensor, first = self._device, args[0], args[1] if len(args) > 1 else None
        target: torch.device | None = {Tensor.cpu: CPU, Tensor.cuda: DEVICE}.get(func)
        dtype = None
        if func is Tensor.to:
            first = kwargs.get("other", first)
            named = kwargs.get("device", first)
            target = (DEVICE if device.has(first) else CPU) if isinstance(first, Tensor) else _where(named)
            given = [one for one in (*args[1:], kwargs.get("dtype")) if isinstance(one, torch.dtype)]
            dtype = first.dtype if isinstance(first, Tensor) else given[0] if given else None
        copies = bool(kwargs.get("copy")) or (func is Tensor.to and len(args) == 5 and bool(args[4]))
        now = DEVICE if device.has(tensor) else CPU
        if target is None or target.type == now.type:
            return Tensor.to(tensor, tensor.dtype if dtype is None else dtype, copy=copies)
        device.wait("fetched" if target.type == "cpu" else "brought")
        before = device.operations, device.by_name.copy()
        found = Tensor.to(tensor, tensor.dtype if dtype is None else dtype, copy=True)
        device.operations, device.by_name = before  # of the copy itself
        if target.type == "cpu":
            device.leave(found)
        else:
            device.take(found)
        return found
