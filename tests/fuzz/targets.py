"""All targets by name."""

from fuzz import binary, queries, text

TARGETS = {target.name: target for target in (*binary.TARGETS, *text.TARGETS, *queries.TARGETS)}
