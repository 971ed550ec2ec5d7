"""The errors geoquarry raises on purpose: what was found, where, and what to do next."""


class GeoquarryError(Exception):
    """Base of all errors that a user can mend; the text is meant for that user."""


class UsageError(GeoquarryError):
    """The command or the statement asks for something that does not exist (exit code 2)."""


class InputError(GeoquarryError):
    """One input file or row cannot be used; the others go on (exit code 3)."""


class BlobError(InputError):
    """A tile blob is damaged, too large, or not a tile blob."""


class FormulaError(UsageError):
    """A formula uses something the allow-list reader does not understand."""


class UnknownName(UsageError):
    """A grid, sensor, index, method, engine or table of that name does not exist."""


class TableError(GeoquarryError):
    """A table cannot take or give these rows."""


class StorageError(GeoquarryError):
    """The storage refuses to be written: a full disk, a read-only place, no permission."""


class CommitConflict(TableError):
    """Another writer changed the same rows and retrying did not settle it."""


class UdfError(GeoquarryError):
    """A function failed as such, before or beside any tile: its package or its memory is amiss."""
