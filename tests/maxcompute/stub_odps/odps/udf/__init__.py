"""Decorator and base classes of Python functions."""

SIGNATURES = {}


def annotate(signature):
    """Remember the signature of a class."""

    def remember(cls):
        SIGNATURES[cls] = signature
        return cls

    return remember


class BaseUDAF:
    """An aggregate: ``new_buffer``, ``iterate``, ``merge``, ``terminate``."""


class BaseUDTF:
    """A table function: ``process``, ``forward``, ``close``."""

    def forward(self, *values):
        """Give a row."""
        self._collect(values)

    def close(self):
        """Called after the last row."""
