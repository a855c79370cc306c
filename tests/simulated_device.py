"""A device that isn't there: its tensors lie in ordinary memory, but keep PyTorch's rules for those of an accelerator.

Operations of tensors on it and on the CPU fail (but for numbers and indices, as on a GPU), `numpy()` fails, and with
`float64=False` so do tensors of doubles, as on MPS. So a path that forgets where its tensors are is found without a card.

PyTorch's interface for backends in Python is experimental, and came with 2.10; `AVAILABLE` says whether it is there.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import torch
from torch.utils import _pytree as pytree
from torch.utils import backend_registration
from transformers import PreTrainedModel

from ofa_transformers.models import factorization


NAME = "simulated"
AVAILABLE = hasattr(backend_registration, "_setup_privateuseone_for_python_backend")
_DEVICE = f"{NAME}:0"
# What copies between devices, or takes indices that lie on the CPU.
_COPIES = {"aten::_to_copy", "aten::copy_", "aten::_copy_from", "aten::_copy_from_and_resize"}
_INDEXES = {"aten::index.Tensor", "aten::index_put_", "aten::index_put", "aten::_index_put_impl_"}
_without_float64 = False


class Far(torch.Tensor):
    """A tensor on the simulated device."""

    near: torch.Tensor

    @staticmethod
    def __new__(cls, near: torch.Tensor, requires_grad: bool = False) -> Far:
        if _without_float64 and near.dtype == torch.float64:
            raise TypeError(f"Cannot convert a {_DEVICE} Tensor to float64, which the device doesn't have")
        made = torch.Tensor._make_wrapper_subclass(
            cls,
            near.size(),
            strides=near.stride(),
            storage_offset=near.storage_offset(),
            dtype=near.dtype,
            device=_DEVICE,
            requires_grad=requires_grad,
        )
        made.near = near
        return made

    def __repr__(self, **kwargs: Any) -> str:
        return f"Far({self.near})"

    def tolist(self) -> list:
        return self.near.tolist()

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        return _run(func, args, dict(kwargs or {}))


def _run(func: Any, args: tuple, kwargs: dict[str, Any]) -> Any:
    """Runs an operation on what the tensors hold, once it is sure that they lie together."""
    name = func._schema.name
    device = kwargs.get("device")
    to_far = device is not None and torch.device(device).type == NAME
    if to_far:
        kwargs["device"] = "cpu"
    tensors = [leaf for leaf in pytree.tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
    far = [tensor for tensor in tensors if isinstance(tensor, Far)]
    overloaded = name if func._overloadname in ("", "default") else f"{name}.{func._overloadname}"
    if far and name not in _COPIES:
        checked = tensors
        if name in _INDEXES or overloaded in _INDEXES:
            checked = [args[0], *(args[2:3] if len(args) > 2 else ())]
        strangers = [t for t in checked if isinstance(t, torch.Tensor) and not isinstance(t, Far) and t.ndim > 0]
        if strangers or (name in _INDEXES and not isinstance(args[0], Far)):
            raise RuntimeError(
                f"Expected all tensors to be on the same device, but found at least two devices, {_DEVICE} and cpu! ({name})"
            )
    owners = {id(tensor.near): tensor for tensor in far}
    near_args, near_kwargs = pytree.tree_map_only(Far, lambda tensor: tensor.near, (args, kwargs))
    result = func(*near_args, **near_kwargs)
    if name == "aten::_to_copy":
        leaves = to_far if device is not None else bool(far)
    elif name == "aten::_local_scalar_dense":
        return result
    else:
        leaves = isinstance(args[0], Far) if name in _COPIES and args else bool(far) or to_far

    def wrap(tensor: torch.Tensor) -> torch.Tensor:
        return owners.get(id(tensor)) if id(tensor) in owners else Far(tensor)

    return pytree.tree_map_only(torch.Tensor, wrap, result) if leaves else result


def _set_up() -> None:
    class Module(backend_registration._DummyBackendModule):
        def get_amp_supported_dtype(self) -> list[torch.dtype]:
            return [torch.bfloat16, torch.float16]

    backend_registration._setup_privateuseone_for_python_backend(NAME, Module())
    library = torch.library.Library("aten", "IMPL")

    def implement(operation: str, function: Any) -> None:
        library.impl(operation, function, dispatch_key="PrivateUse1")

    def fill(function: Any) -> Any:
        def made(*args: Any, **kwargs: Any) -> Far:
            kwargs = {name: value for name, value in kwargs.items() if name not in ("device", "pin_memory", "layout")}
            return Far(function(*args, **kwargs))

        return made

    implement("empty.memory_format", fill(torch.ops.aten.empty.memory_format))

    def copy_from(source: torch.Tensor, target: torch.Tensor, non_blocking: bool = False) -> torch.Tensor:
        near = [tensor.near if isinstance(tensor, Far) else tensor for tensor in (source, target)]
        near[1].copy_(near[0])
        return target

    implement("_copy_from", copy_from)
    implement("empty_strided", fill(torch.ops.aten.empty_strided.default))
    Far.library = library


@contextmanager
def simulated_device(float64: bool = True) -> Iterator[str]:
    """The name of the device; without `float64` it has no doubles."""
    global _without_float64
    if not hasattr(Far, "library"):
        _set_up()
    before, _without_float64 = _without_float64, not float64
    to = PreTrainedModel.to

    def to_with_ties(self: PreTrainedModel, *args: Any, **kwargs: Any) -> PreTrainedModel:
        to(self, *args, **kwargs)
        self.tie_weights()  # tensors of another class become parameters of their own, each where it is
        return self

    without = ("mps",) if float64 else ("mps", NAME)
    try:
        with (
            mock.patch.object(torch, "inference_mode", torch.no_grad),  # wrappers can't be made in it
            mock.patch.object(PreTrainedModel, "to", to_with_ties),
            mock.patch.object(factorization, "_WITHOUT_FLOAT64", without),
        ):
            yield NAME
    finally:
        _without_float64 = before
