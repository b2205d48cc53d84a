"""Searches, and what is done with their results (docs/design.md, section 1)."""

from search.import_path import find_own_packages_first

find_own_packages_first()
