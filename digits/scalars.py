"""Nested fields by their dotted names."""

from typing import Any


def flat(fields: dict, prefix: str = "") -> dict[str, Any]:
    """Nested fields by their dotted names: {"data": {"name": "mnist"}} gives {"data.name": "mnist"}."""
    found = {}
    for key, value in fields.items():
        found |= flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return found
