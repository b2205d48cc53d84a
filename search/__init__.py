"""Searches, and what is done with their results (docs/design.md, section 1)."""

from search.own_packages import find_own_packages_first

find_own_packages_first()
