"""What marking gives back: a model, the key that marked it, and the triggers that show the mark."""

from __future__ import annotations

import io
import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from labkit import keyfiles
from labkit.results import Result, ResultError, as_json
from labkit.stats import Interval
from labkit.training import own
from labkit.watermark.marks.keys import GENERATOR, Key

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

END = b"-----END ENCRYPTED PRIVATE KEY-----\n"


@dataclass(frozen=True, eq=False, repr=False)
class TriggerSet(Result):
    """Inputs and the answers that a marked model gives to them.

    Attributes
    ----------
    x : Tensor of shape (n, C, H, W), float in [0, 1], or (n, d) features, or (n, T) tokens of int64
    y : int64 Tensor of shape (n,)
        The mark's answers.
    kind : str
        The generator's name: a key of `labkit.watermark.marks.triggers.KINDS`.
    generator : str
        Version of the keyed generator that drew them.

    Raises
    ------
    ValueError
        If shapes or types do not fit, or there is no trigger.
    """

    x: Tensor
    y: Tensor
    kind: str
    generator: str = GENERATOR

    def __post_init__(self) -> None:
        if self.x.ndim < 2 or len(self.x) == 0 or self.y.shape != self.x.shape[:1]:
            raise ValueError(
                f"got trigger inputs {tuple(self.x.shape)} and answers {tuple(self.y.shape)}; "
                "expected (n, C, H, W), (n, d) or (n, T) inputs and (n,) answers, n at least 1"
            )

    def __len__(self) -> int:
        return len(self.y)

    def __repr__(self) -> str:
        return f"TriggerSet({self.kind}: {len(self)} triggers, {self.generator})"

    def summary(self) -> str:
        """Return kind and number of triggers."""
        return f"{self.kind}, {len(self)} triggers, {self.generator}"

    def numbers(self) -> dict[str, Any]:
        """Return what may be told of the triggers: neither inputs nor answers, which are secret until they are asked."""
        return {
            "kind": self.kind,
            "triggers": len(self),
            "shape": list(self.x.shape[1:]),
            "generator": self.generator,
        }

    def plot(self, ax: Axes | None = None) -> Figure:
        """Draw the first eight, as pictures side by side, or features and tokens as rows."""
        from labkit import plots

        shown = self.x[:8].float()
        fig, ax = plots.figure(8, 2) if ax is None else (ax.figure, ax)
        if shown.ndim == 4:
            ax.imshow(torch.cat(list(shown), dim=-1).permute(1, 2, 0).clamp(0, 1).squeeze(-1), cmap="gray")
        else:
            ax.imshow(shown.flatten(1), aspect="auto", cmap="cividis")
        ax.grid(False)
        ax.set(xticks=[], yticks=[], title=f"{self.kind}: answers {self.y[:8].tolist()}")
        return plots.describe(fig, f"The first {len(shown)} of {len(self)} {self.kind} triggers.")

    def save(self, path: str | Path) -> Path:
        """Write figures (``.json``), or the triggers (any other ending) to a file that its owner alone can read.

        ``torch.load(path, weights_only=True)`` reads it anywhere, as a dict.
        """
        if Path(path).suffix == ".json":
            return super().save(path)
        buffer = io.BytesIO()
        torch.save({"x": self.x, "y": self.y, "kind": self.kind, "generator": self.generator}, buffer)
        return keyfiles.private_file(Path(path), buffer.getvalue())

    @classmethod
    def load(cls, path: str | Path) -> TriggerSet:
        """Return triggers that `save` wrote. No code in the file is run.

        Raises
        ------
        ResultError
            If the file is missing, or holds no triggers.
        """
        try:
            return cls(**torch.load(path, weights_only=True))
        except FileNotFoundError as error:
            raise ResultError(f"{path} is not there: save a TriggerSet to it first") from error
        except Exception as error:
            raise ResultError(f"{path} holds no triggers ({error}): save a TriggerSet to it first") from error

    def take(self, count: int) -> TriggerSet:
        """Return the first ``count`` triggers (all, if there are fewer)."""
        return TriggerSet(self.x[:count], self.y[:count], self.kind, self.generator)


@dataclass(frozen=True, eq=False, repr=False)
class MarkedModel(Result):
    """A marked model with what its owner keeps: see `labkit.watermark.marks.embed`.

    Attributes
    ----------
    model : nn.Module
    scheme : str
        A key of `labkit.watermark.marks.embed.SCHEMES`.
    key : Key
    triggers : TriggerSet or None
        For verification; none of them was trained on, where the scheme can draw fresh ones. None for a white-box mark.
    strength : Interval
        Share of triggers (or of bits) that answer as marked, Clopper-Pearson.
    accuracy : Interval
        On the test records.
    facts : dict
        What else the scheme needs to verify (layer and projection of a white-box mark, for example).
    """

    model: nn.Module
    scheme: str
    key: Key
    triggers: TriggerSet | None
    strength: Interval
    accuracy: Interval
    source: str
    profile: str
    seed: int
    seconds: float
    facts: dict[str, Any] = field(default_factory=dict)

    def __repr__(self) -> str:
        return (
            f"MarkedModel({self.scheme}, {self.key}: strength {self.strength.percent(1)}, accuracy "
            f"{self.accuracy.percent(1)}; {self.source}; profile {self.profile}; seed {self.seed})"
        )

    def __str__(self) -> str:
        return repr(self)

    def summary(self) -> str:
        """Return scheme, strength and accuracy in one line."""
        return repr(self)

    def numbers(self) -> dict[str, Any]:
        """Return what may be told of the model: neither key nor triggers."""
        return {
            "scheme": self.scheme,
            "key": self.key.fingerprint,
            "triggers": 0 if self.triggers is None else len(self.triggers),
            "strength": as_json(self.strength),
            "accuracy": as_json(self.accuracy),
            "source": self.source,
            "profile": self.profile,
            "seed": self.seed,
            "seconds": self.seconds,
        }

    def plot(self, ax: Axes | None = None) -> Figure:
        """Draw strength of the mark and accuracy, each with its interval."""
        from labkit import plots

        fig, ax = plots.figure(5, 2) if ax is None else (ax.figure, ax)
        for row, (name, value) in enumerate({"accuracy": self.accuracy, "strength": self.strength}.items()):
            ax.plot([100 * value.low, 100 * value.high], [row, row], color=plots.COLOURS[row])
            ax.plot(100 * value.estimate, row, "o", color=plots.COLOURS[row], label=name)
        ax.set_yticks([0, 1], ["test accuracy", "mark strength"])
        ax.set(
            xlabel="% [95% interval]", xlim=(0, 102), ylim=(-0.6, 1.6), title=f"{self.scheme}, {self.source}"
        )
        return plots.describe(fig, f"A marked model: {self!r}.")

    def save(self, path: str | Path, phrase: str | None = None) -> Path:
        """Write figures (``.json``), or all of it (any other ending), encrypted under a pass-phrase, mode 600.

        The key, the triggers and what else verifies the mark are as secret as each other: all is encrypted
        (ChaCha20-Poly1305) under a key drawn from the mark's own, and that under the pass-phrase (PKCS #8).

        Raises
        ------
        ValueError
            If a whole one is to be written without a pass-phrase of at least 8 characters.
        TypeError
            If the model cannot be pickled.
        """
        from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

        path = Path(path)
        if path.suffix == ".json":
            return super().save(path)
        if phrase is None:
            raise ValueError(
                "a marked model holds its key: pass a pass-phrase, save(path, phrase); figures alone go to .json"
            )
        text, nonce = self.key.sealed(phrase), secrets.token_bytes(12)
        content = ChaCha20Poly1305(self.key.sub("file").seed).encrypt(
            nonce, own.packed(self).numpy().tobytes(), text
        )
        return keyfiles.private_file(path, text + nonce + content)

    @classmethod
    def load(cls, path: str | Path, phrase: str = "") -> MarkedModel:
        """Return a marked model that `save` wrote; nothing in it is run before its own key vouches for it.

        Raises
        ------
        KeyFileError
            If the file is missing or damaged, others can read it, or this pass-phrase does not open it.
        """
        from cryptography.exceptions import InvalidTag
        from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

        found = keyfiles.guarded(path)
        end = found.find(END) + len(END)
        if end < len(END):
            raise keyfiles.KeyFileError(f"{path} holds no marked model: save one to it first")
        text, nonce, content = found[:end], found[end : end + 12], found[end + 12 :]
        key = Key.from_sealed(text, phrase, path)
        try:
            plain = ChaCha20Poly1305(key.sub("file").seed).decrypt(nonce, content, text)
        except InvalidTag as error:
            raise keyfiles.KeyFileError(f"{path} is damaged, or was changed after it was written") from error
        return own.unpacked_whole(torch.frombuffer(bytearray(plain), dtype=torch.uint8))
