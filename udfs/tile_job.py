"""What a UDF is told about the tile it works on."""

from typing import Any, Protocol


class TileJob(Protocol):
    """What a UDF is told about its tile."""

    @property
    def method(self) -> str:
        """A name of `methods.METHODS`."""

    @property
    def params(self) -> dict[str, Any]:
        """Normalised parameters."""

    @property
    def sensor(self) -> str:
        """Name of the sensor."""

    @property
    def grid(self) -> str:
        """Name of the grid."""

    @property
    def tile_x(self) -> int:
        """Column of the tile."""

    @property
    def tile_y(self) -> int:
        """Row of the tile."""

    @property
    def spill_dir(self) -> str:
        """Folder for what does not fit into memory."""
