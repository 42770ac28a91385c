"""Test data that is seen once."""

from typing import Any


class ProtocolError(RuntimeError):
    """The protocol was about to be broken, as by scoring the test set twice: a bug, never a request."""


class HeldOut:
    """The test samples, released once for each evaluation condition.

    A run has one condition, "deployed" (rounded delays, sigma 0). A study may name others (noise, lesions, rounding),
    each scored once. One that exhibits test selection has a condition an epoch.
    """

    def __init__(self, samples: Any) -> None:
        self._samples = samples
        self._released: set[str] = set()

    def __len__(self) -> int:
        return len(self._samples)

    def release(self, condition: str = "deployed") -> Any:
        """The samples, for the one scoring of `condition`.

        Raises:
            ProtocolError: The condition was scored before.
        """
        if condition in self._released:
            raise ProtocolError(f"the test set was already scored for '{condition}'; it is scored once, after training")
        self._released.add(condition)
        return self._samples
