"""Run bundles: an ended run as a folder of plain files, the one form in which runs travel between stores.

`collect` writes the bundles of a store, `deliver` adds them to another. In between they travel as one file
(`zip_archive`) or under DVC (`snapshot`). Stores are used through the Tracker protocol.
"""
