"""Run bundles: an ended run as a folder of plain files, the one form in which runs travel between stores.

`collect` makes them of any store, `deliver` brings them into any; `zip_archive` and `snapshot` are the two ways in
between. It knows stores by the Tracker protocol alone.
"""
