"""Values as bytes between a grader and the process that runs a student's code, without pickle on the way back.

What the grader sends may hold pickles (it trusts itself); what it receives is plain data only: numbers, text, containers,
arrays, tensors, states of generators and models, labkit's own dataclasses, and handles of functions. Anything else
arrives as a `Foreign` that knows no more than its type. So no object of a student's, with an ``__eq__`` that always
agrees or a ``__reduce__`` that runs code, ever lives in the process that judges.
"""

from __future__ import annotations

import copy
import dataclasses
import importlib
import json
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn

PLAIN = (bool, int, float, str, type(None))
LARGEST_TREE, LARGEST_HEAD, LARGEST_INT = 2**24, 2**20, 3000  # bytes, bytes, hexadecimal digits
CONTAINERS = {"list": list, "tuple": tuple, "set": set, "frozenset": frozenset}


class WireError(ValueError):
    """Bytes that are no message of this protocol."""


def _limit(size: int, most: int, what: str, trusting: bool) -> None:
    if size > most and not trusting:
        raise WireError(f"{what} of {size:,} characters is more than is looked at ({most:,})")


class Foreign:
    """Something that came back from a student's code and is no plain data."""

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def __repr__(self) -> str:
        return f"<an object of type {self.kind}>"


class Wire:
    """One end of the line: encodes and decodes values, and knows which of them the other end has a handle of.

    Parameters
    ----------
    trusting : bool
        Whether pickles are read: true only in the student's process, which reads what the grader wrote.
    call : callable
        ``call(handle, args, kwargs)``: runs a function of the other end.
    """

    def __init__(self, *, trusting: bool, call: Callable[[int, tuple, dict], Any]) -> None:
        self.trusting, self.call = trusting, call
        self.functions: list[Callable[..., Any]] = []  # of this end, by handle
        self.given: dict[int, Any] = {}  # objects that both ends hold, by the grader's number
        self.leaves: list[torch.Tensor] = []  # tensors of the call at hand that want a gradient

    # Encoding

    def dumps(self, *parts: Any) -> bytes:
        """Return values as one message."""
        blobs: list[bytes] = []
        tree = json.dumps([self._pack(part, blobs) for part in parts]).encode()
        head = json.dumps([len(tree), *map(len, blobs)]).encode()
        return b"".join([len(head).to_bytes(4, "big"), head, tree, *blobs])

    def _pack(self, value: Any, blobs: list[bytes]) -> Any:
        if type(value) in PLAIN:
            return {"int": hex(value)} if type(value) is int and abs(value) > 2**60 else value
        for name, kind in CONTAINERS.items():
            if type(value) is kind:
                return {name: [self._pack(item, blobs) for item in value]}
        if type(value) is dict:
            return {"dict": [[self._pack(k, blobs), self._pack(v, blobs)] for k, v in value.items()]}
        if type(value) in (bytes, complex):
            return {type(value).__name__: value.hex() if type(value) is bytes else [value.real, value.imag]}
        if isinstance(value, torch.Tensor):
            return self._pack_tensor(value, blobs)
        if isinstance(value, np.ndarray | np.generic) and value.dtype.kind in "biufcSU":
            blobs.append(np.ascontiguousarray(value).tobytes())
            kind = "array" if isinstance(value, np.ndarray) else "scalar"
            return {kind: [value.dtype.str, list(value.shape), len(blobs) - 1]}
        if isinstance(value, torch.Generator):
            return {"torch generator": self._pack(value.get_state(), blobs)}
        if isinstance(value, np.random.Generator):
            return {"numpy generator": self._pack(value.bit_generator.state, blobs)}
        return self._pack_object(value, blobs)

    def _pack_tensor(self, value: torch.Tensor, blobs: list[bytes]) -> Any:
        plain = value.detach().cpu().contiguous()
        blobs.append(plain.reshape(-1).view(torch.uint8).numpy().tobytes() if plain.numel() else b"")
        kind = str(plain.dtype).removeprefix("torch.")
        packed: dict[str, Any] = {"tensor": [kind, list(plain.shape), len(blobs) - 1]}
        if value.requires_grad and value.is_leaf and not self.trusting:
            self.leaves.append(value)
            packed["leaf"] = True
        elif value.requires_grad and self.trusting and value.numel() == 1 and self.leaves:
            # The grader cannot differentiate through this process, so the gradients travel with the value.
            slopes = torch.autograd.grad(value.sum(), self.leaves, retain_graph=True, allow_unused=True)
            packed["slopes"] = [self._pack(slope, blobs) for slope in slopes]
        return packed

    def _pack_object(self, value: Any, blobs: list[bytes]) -> Any:
        known = next((number for number, item in self.given.items() if item is value), None)
        if isinstance(value, nn.Module) and (self.trusting or known is not None):
            return self._pack_model(value, known, blobs)
        if known is not None:
            return {"given": known}
        if callable(value) and not isinstance(value, type | nn.Module):
            self.functions.append(value)
            return {"function": len(self.functions) - 1}
        if not self.trusting:
            blobs.append(pickle.dumps(value))
            self.given[len(self.given)] = value
            return {"pickle": [len(self.given) - 1, len(blobs) - 1]}
        if dataclasses.is_dataclass(value) and type(value).__module__.startswith("labkit."):
            fields = {
                f.name: self._pack(getattr(value, f.name), blobs) for f in dataclasses.fields(value) if f.init
            }
            return {"dataclass": [type(value).__module__, type(value).__qualname__, fields]}
        return {"foreign": type(value).__name__}

    def _pack_model(self, value: nn.Module, known: int | None, blobs: list[bytes]) -> Any:
        """Return a model as the state of one that both ends hold: itself, or one of the same parts."""
        state = dict(value.state_dict())
        alike = (
            number
            for number, item in self.given.items()
            if isinstance(item, nn.Module)
            and str(item) == str(value)
            and item.state_dict().keys() == state.keys()
        )
        template = known if known is not None else next(alike, None)
        if template is None:
            return {"foreign": type(value).__name__}
        trains = {name: parameter.requires_grad for name, parameter in value.named_parameters()}
        return {"model": [template, known is not None, self._pack(state, blobs), trains, value.training]}

    # Decoding

    def loads(self, message: bytes) -> list[Any]:
        """Return the values of a message.

        Raises
        ------
        WireError
            If it is none.
        """
        try:
            size = int.from_bytes(message[:4], "big")
            _limit(size, LARGEST_HEAD, "a head", self.trusting)
            tree_size, *sizes = json.loads(message[4 : 4 + size])
            # Text takes many times its length once it is read; numbers in bulk come as arrays, which do not.
            _limit(tree_size, LARGEST_TREE, "a value", self.trusting)
            at = 4 + size + tree_size
            tree, blobs = json.loads(message[4 + size : at]), {}
            for number, length in enumerate(sizes):
                blobs[number] = message[at : at + length]
                at += length
            return [self._unpack(part, blobs) for part in tree]
        except Exception as error:
            raise WireError(f"not a message: {type(error).__name__}: {error}") from error

    def _unpack(self, tree: Any, blobs: dict[int, bytes]) -> Any:
        """Return a value; each blob is used up, so that a short message cannot become many copies of a long one."""
        if isinstance(tree, str) and not self.trusting:
            return tree.encode(
                "utf-8", "backslashreplace"
            ).decode()  # half a character could not be written down
        if not isinstance(tree, dict):
            return tree
        tag, content = next(iter(tree.items()))
        if tag in CONTAINERS:
            return CONTAINERS[tag](self._unpack(item, blobs) for item in content)
        if tag == "dict":
            return {self._unpack(k, blobs): self._unpack(v, blobs) for k, v in content}
        if tag == "int":
            _limit(len(content), LARGEST_INT, "a whole number", self.trusting)  # none that str() refuses
            return int(content, 16)
        if tag in ("bytes", "complex"):
            return bytes.fromhex(content) if tag == "bytes" else complex(*content)
        if tag in ("array", "scalar"):
            kind, shape, blob = content
            array = np.frombuffer(blobs.pop(blob), dtype=np.dtype(kind)).reshape(shape).copy()
            return array if tag == "array" else array[()]
        if tag == "tensor":
            return self._unpack_tensor(tree, blobs)
        if tag == "torch generator":
            generator = torch.Generator()
            generator.set_state(self._unpack(content, blobs))
            return generator
        if tag == "numpy generator":
            state = self._unpack(content, blobs)
            kind = getattr(np.random, state["bit_generator"])
            if not issubclass(kind, np.random.BitGenerator):
                raise WireError(f"{kind} is no bit generator")
            generator = np.random.Generator(kind())
            generator.bit_generator.state = state
            return generator
        return self._unpack_object(tag, content, blobs)

    def _unpack_tensor(self, tree: dict[str, Any], blobs: dict[int, bytes]) -> torch.Tensor:
        kind, shape, blob = tree["tensor"]
        dtype = getattr(torch, kind)
        content = blobs.pop(blob)
        flat = torch.frombuffer(bytearray(content), dtype=dtype) if content else torch.empty(0, dtype=dtype)
        value = flat.reshape(shape)
        if tree.get("leaf"):
            self.leaves.append(value.requires_grad_())
        if "slopes" in tree:
            slopes = [self._unpack(slope, blobs) for slope in tree["slopes"]]
            value = _Differentiable.apply(value, slopes, *self.leaves)
        return value

    def _unpack_object(self, tag: str, content: Any, blobs: dict[int, bytes]) -> Any:
        if tag == "given":
            return self.given[content]
        if tag == "function":
            return lambda *args, **kwargs: self.call(content, args, kwargs)
        if tag == "pickle" and self.trusting:
            number, blob = content
            self.given[number] = pickle.loads(blobs.pop(blob))
            return self.given[number]
        if tag == "model":
            return self._unpack_model(content, blobs)
        if tag == "dataclass":
            module, name, fields = content
            kind = getattr(importlib.import_module(module), name) if module.startswith("labkit.") else None
            if not (isinstance(kind, type) and dataclasses.is_dataclass(kind)):
                raise WireError(f"{module}.{name} is no dataclass of labkit's")
            return kind(**{key: self._unpack(item, blobs) for key, item in fields.items()})
        if tag == "foreign":
            return Foreign(str(content))
        raise WireError(f"unknown tag {tag!r}")

    def _unpack_model(self, content: Any, blobs: dict[int, bytes]) -> nn.Module:
        template, same, state, trains, training = content
        model = self.given[template] if same else copy.deepcopy(self.given[template])
        model.load_state_dict(self._unpack(state, blobs))
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(trains[name])
        return model.train(training)


class _Differentiable(torch.autograd.Function):
    """A number that was computed elsewhere, with the slopes that came with it."""

    @staticmethod
    def forward(ctx: Any, value: torch.Tensor, slopes: list[Any], *leaves: torch.Tensor) -> torch.Tensor:
        ctx.slopes = slopes
        return value.clone()

    @staticmethod
    def backward(ctx: Any, grown: torch.Tensor) -> tuple[Any, ...]:
        return (None, None, *(None if slope is None else grown * slope for slope in ctx.slopes))


def write_back(original: Any, changed: Any) -> None:
    """Change arguments in place as a call elsewhere has changed its copies of them."""
    if isinstance(original, np.ndarray) and np.shape(changed) == original.shape and original.flags.writeable:
        original[...] = changed
    elif isinstance(original, torch.Tensor) and isinstance(changed, torch.Tensor):
        if changed.shape == original.shape:
            original.data.copy_(changed.data)
    elif isinstance(original, torch.Generator):
        original.set_state(changed.get_state())
    elif isinstance(original, np.random.Generator):
        original.bit_generator.state = changed.bit_generator.state
    elif isinstance(original, tuple) and isinstance(changed, tuple | list):
        for one, other in zip(original, changed, strict=False):
            write_back(one, other)
    elif isinstance(original, list) and isinstance(changed, list):
        kept = original[: len(changed)]
        original[:] = [_merged(one, other) for one, other in zip(kept, changed, strict=False)]
        original += changed[len(kept) :]
    elif isinstance(original, dict) and isinstance(changed, dict):
        merged = {key: _merged(original.get(key), other) for key, other in changed.items()}
        original.clear()
        original.update(merged)


def _merged(one: Any, other: Any) -> Any:
    """Return the item itself, changed in place, where it can be; else what took its place."""
    if type(one) is not type(other) or isinstance(one, PLAIN):
        return other
    if isinstance(one, np.ndarray | torch.Tensor) and one.shape != other.shape:
        return other
    write_back(one, other)
    return one
