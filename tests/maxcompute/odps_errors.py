"""Errors as the service words them, and the two shapes in which they travel.

Codes are those of the public pages "SQL error codes" and "Common tunnel errors" of MaxCompute's
documentation.
"""

from xml.sax.saxutils import escape

NO_SUCH = {
    "table": "NoSuchTable",
    "partition": "NoSuchPartition",
    "project": "NoSuchProject",
    "object": "NoSuchObject",
}


class OdpsError(Exception):
    """An error with a code.

    As the answer to a request it is XML with a status; as the end of a task it is one line of text.
    """

    def __init__(self, code, message, status=400):
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.status = status

    def xml(self):
        """Body of an answer."""
        return (
            '<?xml version="1.0" encoding="UTF-8"?>\n'
            f"<Error><Code>{escape(self.code)}</Code><Message>{escape(self.message)}</Message>"
            "<RequestId>0</RequestId><HostId>127.0.0.1</HostId></Error>"
        ).encode()

    def text(self):
        """Result text of a failed task."""
        return f"{self.code}:{self.message}"


def missing(kind, name):
    """The answer for a thing that is not there."""
    return OdpsError(NO_SUCH[kind], f"The specified {kind} does not exist: {name}", 404)


def no_table(name):
    """A statement that names a table that is not there."""
    return OdpsError("ODPS-0130131", f"[1,1] Table not found - table {name} cannot be resolved")


def semantic(message):
    """A statement that can be read but makes no sense."""
    return OdpsError("ODPS-0130071", f"[1,1] Semantic analysis exception - {message}")


class Stopped(Exception):
    """The instance was stopped while it ran."""
