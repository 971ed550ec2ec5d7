"""Files among the resources of a function."""


def get_cache_file(name, mode="b"):
    """A file resource, open for reading."""
    return open(name, "r" + mode)
