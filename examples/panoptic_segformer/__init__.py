"""Panoptic SegFormer trained from points: the reference for composing point2mask_ot in a trainer of one's own.

Read in this order: :mod:`.network` and :mod:`.mask_decoder` (maps and masks from pictures), :mod:`.targets`
(pseudo-masks from maps and points, the part to copy), :mod:`.criterion` (losses), :mod:`.training` (the loop).
:mod:`.config`, :mod:`.presets`, :mod:`.data`, :mod:`.evaluation`, :mod:`.backbone` and :mod:`.checkpoint` serve them.
"""
