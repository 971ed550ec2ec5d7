"""Build one import package, `geoquarry`, from the rooms at the repository root."""

from setuptools import find_packages, setup

ROOMS = ["schemas", "udfs", "engine", "jobs"]

setup(
    version="0.1.0",
    packages=["geoquarry", *(f"geoquarry.{n}" for r in ROOMS for n in find_packages(include=[r]))],
    package_dir={f"geoquarry.{room}": room for room in ROOMS},
    package_data={"": ["py.typed", "*.csv", "*.npz"]},
    include_package_data=False,
)
