"""Which geoquarry this is."""

from importlib.metadata import PackageNotFoundError, version


def package_version() -> str:
    """Version of the installed package, or ``0+checkout`` when it runs from a bare checkout."""
    try:
        return version("geoquarry")
    except PackageNotFoundError:
        return "0+checkout"
