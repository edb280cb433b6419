"""Panoptic SegFormer: Deformable DETR from transformers, and mask decoders on its memory (:mod:`.mask_decoder`)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import DeformableDetrConfig, DeformableDetrModel
from transformers.models.deformable_detr.modeling_deformable_detr import (
    DeformableDetrMLPPredictionHead,
    DeformableDetrMultiscaleDeformableAttention,
    inverse_sigmoid,
)

from .backbone import backbone_config, make_backbone
from .config import Network
from .mask_decoder import LEVELS, ClassMasks, MaskLayer, Memory, resize

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_DEVIATION = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Outputs:
    """Everything the network says about a batch; masks are >= 0 and serve as probabilities."""

    class_logits: Tensor  # (L, B, Q, things)
    boxes: Tensor  # (L, B, Q, 4) centre, width and height over the size of the valid picture
    queries: Tensor  # (B, Q, D) the last layer's, from which the masks of things are decoded
    stuff_logits: Tensor  # (L, B, stuff)
    stuff_masks: Tensor  # (L, B, stuff, h, w)
    semantic_class: Tensor | None  # (L, B, C) logits; this and what follows only where pseudo-masks are to be made
    semantic: Tensor | None  # (L, B, C, h, w) logits
    boundary: Tensor | None  # (B, 1, h, w) logits
    embeddings: Tensor | None  # (B, 128, h, w) unit vectors
    memory: Memory

    def maps(self, size: Sequence[int]) -> tuple[Tensor, Tensor, Tensor]:
        """What pseudo-masks are made from, float32 and without gradients, at any size: class probabilities of the last
        layer (B, C, H, W), boundary probability (B, 1, H, W), and unit vectors (B, 128, H, W).
        """
        given = self.semantic[-1], self.boundary, self.embeddings
        semantic, boundary, features = (resize(each.detach().float(), size) for each in given)
        features /= features.norm(dim=1, keepdim=True).clamp(min=1e-12)  # in place: it is the largest of the maps
        return semantic.softmax(1), boundary.sigmoid(), features


class PanopticSegformer(nn.Module):
    """Network of the paper; semantic, boundary and manifold heads serve training only.

    Args:
        settings: sizes and backbone.
        things: number of thing classes, channels 0..things-1 of the semantic map.
        stuff: number of stuff classes, the channels after; may be 0.
        positive_fusion: see :class:`.config.Recipe`.
    """

    def __init__(self, settings: Network, things: int, stuff: int, *, positive_fusion: bool = True) -> None:
        super().__init__()
        self.things, self.stuff = things, stuff
        dim = settings.dim
        self.detr = DeformableDetrModel(_detr_config(settings))
        make_backbone(self.detr, settings)
        self.detr.encoder.dropout = 0.0  # transformers drops the encoder's input too
        layers = range(settings.decoder_layers)
        self.detr.decoder.bbox_embed = nn.ModuleList(DeformableDetrMLPPredictionHead(dim, dim, 4, 3) for _ in layers)
        self.class_embed = nn.ModuleList(nn.Linear(dim, things) for _ in layers)
        layers = range(settings.thing_layers)
        self.thing_layers = nn.ModuleList(MaskLayer(settings, self_attention=False) for _ in layers)
        self.stuff_head = ClassMasks(settings, stuff)
        self.semantic_head = ClassMasks(settings, things + stuff)
        self.semantic_scale = nn.Parameter(torch.ones(things + stuff))
        self.semantic_bias = nn.Parameter(torch.zeros(things + stuff))
        self.manifold_head = _pixel_head(dim, 128)
        self.boundary_head = _pixel_head(dim, 1)
        for name, values in (("mean", IMAGENET_MEAN), ("deviation", IMAGENET_DEVIATION)):
            self.register_buffer(name, torch.tensor(values)[:, None, None], persistent=False)
        self._encoder_inputs: dict[str, Any] = {}
        self.detr.encoder.register_forward_pre_hook(self._remember, with_kwargs=True)
        self.reset_parameters(positive_fusion)

    def forward(self, pictures: Tensor, inside: Tensor, label: bool = True) -> Outputs:
        """Run the branches.

        Args:
            pictures: (B, 3, H, W) sRGB in [0, 1].
            inside: (B, H, W) bool, False in the padding (right and below).
            label: also run the branches that pseudo-masks are made from.
        """
        normal = (pictures - self.mean) / self.deviation * inside[:, None]
        found = self.detr(pixel_values=normal, pixel_mask=inside.long())
        memory = self._memory(found.encoder_last_hidden_state)
        class_logits, boxes = self._locate(found)
        stuff_logits, stuff_masks = self.stuff_head(memory)
        extra: list[Tensor | None] = [None] * 4
        if label:
            present, masks = self.semantic_head(memory)
            scaled = masks * self.semantic_scale[:, None, None] + self.semantic_bias[:, None, None]
            pixels = memory.sum_of_levels((memory.tokens + memory.position).detach())
            unit = functional.normalize(self.manifold_head(pixels), dim=1)
            extra = [present, scaled * present.sigmoid()[..., None, None], self.boundary_head(pixels), unit]
        return Outputs(class_logits, boxes, found.last_hidden_state.float(), stuff_logits, stuff_masks, *extra, memory)

    def thing_masks(self, queries: Tensor, memory: Memory) -> Tensor:
        """(L, B, N, h, w) masks of some of the location decoder's queries (B, N, D)."""
        masks = []
        for layer in self.thing_layers:
            queries, mask = layer(queries, memory)
            masks.append(mask)
        # The last layer's queries lead nowhere, and distributed training waits for every parameter's gradient.
        return torch.stack(masks) + 0 * queries.sum()

    def _locate(self, found: Any) -> tuple[Tensor, Tensor]:
        """Class logits and boxes of each layer, refined from the references that went into it."""
        hidden = found.intermediate_hidden_states  # (B, L, Q, D)
        into = [found.init_reference_points, *found.intermediate_reference_points.unbind(1)[:-1]]
        logits, boxes = [], []
        heads = zip(hidden.unbind(1), into, self.class_embed, self.detr.decoder.bbox_embed, strict=True)
        for queries, reference, classify, refine in heads:
            logits.append(classify(queries))
            start = inverse_sigmoid(reference)
            boxes.append((refine(queries) + functional.pad(start, (0, 4 - start.shape[-1]))).sigmoid())
        return torch.stack(logits), torch.stack(boxes)

    def _remember(self, module: nn.Module, args: tuple, kwargs: dict[str, Any]) -> None:
        """The model returns neither the padding, nor positions, nor shapes of its levels."""
        names = "attention_mask", "spatial_position_embeddings", "spatial_shapes_list"
        self._encoder_inputs = {name: kwargs[name] for name in names}

    def _memory(self, tokens: Tensor) -> Memory:
        given, self._encoder_inputs = self._encoder_inputs, {}
        shapes = [tuple(shape) for shape in given["spatial_shapes_list"][:LEVELS]]
        size = sum(height * width for height, width in shapes)
        position, inside = given["spatial_position_embeddings"], given["attention_mask"].bool()
        return Memory(tokens[:, :size].float(), position[:, :size], inside[:, :size], shapes)

    @torch.no_grad()
    def reset_parameters(self, positive_fusion: bool) -> None:
        """The released code's initialisation, but for ``positive_fusion``.

        What transformers starts from differs in ways that keep the network from learning.
        """
        detr, decoders = self.detr, (self.thing_layers, self.stuff_head.layers, self.semantic_head.layers)
        for part in (detr.input_proj, detr.encoder, detr.decoder.layers, detr.reference_points, *decoders):
            for parameter in part.parameters():
                if parameter.ndim > 1:
                    nn.init.xavier_uniform_(parameter)
        for module in self.modules():
            if isinstance(module, DeformableDetrMultiscaleDeformableAttention):
                detr._init_weights(module)  # offsets look in 8 directions
            elif isinstance(module, MaskLayer):
                for part in (module.cross_attn, *filter(None, [module.self_attn])):
                    for name, parameter in part.named_parameters():
                        if name.endswith("bias"):
                            nn.init.zeros_(parameter)
                if positive_fusion:  # what goes in is >= 0: no mask starts dead behind its ReLU
                    module.cross_attn.fuse.weight.abs_()
        nn.init.zeros_(detr.reference_points.bias)
        embeddings = [detr.query_position_embeddings.weight, detr.level_embed]
        for head in (self.stuff_head, self.semantic_head):
            embeddings += [head.content, head.position]
        for embedding in embeddings:
            nn.init.normal_(embedding)
        for classify in (*self.class_embed, *self.stuff_head.class_embed):
            nn.init.constant_(classify.bias, -math.log(99))  # the prior of focal losses: one in a hundred
        for layer, refine in enumerate(detr.decoder.bbox_embed):
            nn.init.zeros_(refine.layers[-1].weight)
            nn.init.zeros_(refine.layers[-1].bias)
            if layer == 0:
                nn.init.constant_(refine.layers[-1].bias[2:], -2.0)


def _detr_config(settings: Network) -> DeformableDetrConfig:
    dropout = dict.fromkeys(("dropout", "attention_dropout", "activation_dropout"), settings.dropout)
    return DeformableDetrConfig(
        backbone_config=backbone_config(settings), d_model=settings.dim, num_queries=settings.queries,
        num_feature_levels=LEVELS + 1, encoder_layers=settings.encoder_layers, decoder_layers=settings.decoder_layers,
        encoder_ffn_dim=settings.ffn_dim, decoder_ffn_dim=settings.ffn_dim, encoder_attention_heads=settings.heads,
        decoder_attention_heads=settings.heads, with_box_refine=True, **dropout,
    )  # fmt: skip


def _pixel_head(dim: int, channels: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(dim, dim, 1), nn.ReLU(), nn.Conv2d(dim, channels, 1))
