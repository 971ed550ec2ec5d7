"""What goes wrong between here and MaxCompute, and whether trying again makes sense."""

import requests
from odps import errors

from geoquarry.schemas.errors import TableError

ATTEMPTS = 8
"""Of one request, with longer and longer pauses."""
TRANSIENT = (
    requests.ConnectionError,
    requests.Timeout,
    errors.InternalServerError,
    ConnectionError,
)
CONFLICT = ("ODPS-0110999", "ODPS-0130141", "TableModified", "Conflict", "conflict", "locked")
"""What a failed statement says when another one wrote to the same table at the same time."""

CANCELLED = "it was cancelled from outside, so nothing of it is kept"


class InstanceFailed(TableError):
    """A statement that was accepted and then failed.

    Attributes
    ----------
    instance_id : str
    code : str
        Of the service, such as ``ODPS-0123055``; may be empty.
    text : str
        What the service says, whole.
    """

    def __init__(self, message: str, instance_id: str, code: str, text: str) -> None:
        super().__init__(message)
        self.instance_id = instance_id
        self.code = code
        self.text = text

    @property
    def cancelled(self) -> bool:
        """Whether somebody stopped it."""
        return self.text == CANCELLED

    @property
    def conflict(self) -> bool:
        """Whether somebody else wrote to the table, so that trying again makes sense."""
        return any(word in self.text for word in CONFLICT)


class SessionGone(Exception):
    """The session expired or was closed: the rows must go up in another."""


GONE = (
    "expired",
    "closed",
    "NoSuchUpload",
    "NoSuchDownload",
    "StatusConflict",
    "TableModified",
    "not exist",
)
"""What the service says of such a session; it has more words than are documented."""


def is_gone(error: BaseException) -> bool:
    """Whether a session cannot be used any more.

    >>> is_gone(errors.ODPSError("The upload session is expired", code="InvalidSession"))
    True
    """
    if isinstance(error, requests.RequestException) or not isinstance(error, errors.BaseODPSError):
        return False
    said = f"{getattr(error, 'code', '')} {error.args[0] if error.args else ''}".lower()
    return any(word.lower() in said for word in GONE)


def is_transient(error: BaseException) -> bool:
    """Whether the same request may well succeed a moment later.

    >>> is_transient(requests.ConnectionError("reset")), is_transient(KeyError("x"))
    (True, False)
    """
    status = getattr(error, "status_code", None)
    if status is not None:
        return status in (408, 429) or status >= 500
    return isinstance(error, TRANSIENT)
