"""Panoptic SegFormer trained from points: the reference for composing point2mask_ot in a trainer of one's own.

Read in this order: :mod:`.network` (maps and masks from pictures), :mod:`.targets` (pseudo-masks from maps and points,
the part to copy), :mod:`.criterion` (losses), :mod:`.training` (the loop). :mod:`.config`, :mod:`.data`,
:mod:`.evaluation`, :mod:`.backbone`, :mod:`.weights` and :mod:`.checkpoint` serve them.
"""
