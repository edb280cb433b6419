"""Maps made from a picture: against scikit-image, SciPy and OpenCV, and what they refuse."""

from __future__ import annotations

import gzip
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from skimage import color, data

from point2mask_ot import ArgumentError, ArgumentTypeError, FileError, lab_gradient, smooth_lab, structured_edges
from point2mask_ot.maps.lab import srgb_to_lab


@pytest.fixture(scope="module")
def photo() -> np.ndarray:
    return data.astronaut()[60:141, 180:277].copy()


def smooth_lab_oracle(picture: np.ndarray, sigma: float) -> np.ndarray:
    lab = np.moveaxis(color.rgb2lab(picture.astype(np.float64) / 255), -1, 0) / 100
    return ndimage.gaussian_filter(lab, (0, sigma, sigma), mode="nearest", truncate=4)


# --- CIELAB ---------------------------------------------------------------------------------------------------


def test_srgb_to_lab_equals_scikit_image(photo, device, dtype):
    rgb = torch.from_numpy(photo).to(device, dtype).movedim(-1, 0) / 255
    expected = np.moveaxis(color.rgb2lab(photo / 255.0), -1, 0)
    atol = 1e-4 if dtype == torch.float32 else 1e-9
    np.testing.assert_allclose(srgb_to_lab(rgb).cpu().numpy(), expected, rtol=0, atol=atol)


def test_srgb_to_lab_has_exact_finite_gradients():
    values = torch.tensor([0.0, 0.02, 0.2, 0.5, 1.0], dtype=torch.float64)
    rgb = torch.cartesian_prod(values, values, values).T.reshape(3, 25, 5).requires_grad_()
    assert torch.autograd.gradcheck(srgb_to_lab, rgb)


def test_srgb_to_lab_under_autocast_and_compile():
    rgb = torch.rand(2, 3, 5, 7, generator=torch.Generator().manual_seed(0))
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(srgb_to_lab(rgb), srgb_to_lab(rgb.clone()))
        assert srgb_to_lab(rgb).dtype == torch.float32
    compiled = torch.compile(srgb_to_lab, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(rgb), srgb_to_lab(rgb), rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    "image", [torch.zeros(3, 4, 4, dtype=torch.uint8), np.zeros((3, 4, 4)), torch.zeros(4, 4, 4), torch.zeros(3, 4)]
)
def test_srgb_to_lab_refuses(image):
    with pytest.raises(ArgumentError, match=r"(?s)srgb_to_lab: argument 'image': got .* expected"):
        srgb_to_lab(image)


# --- smoothed CIELAB and its gradient -------------------------------------------------------------------------


@pytest.mark.parametrize("sigma", [0, 0.3, 1.0, 2.5])
def test_smooth_lab_equals_scipy(photo, sigma):
    got = smooth_lab(photo, sigma)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, smooth_lab_oracle(photo, sigma), rtol=0, atol=2e-6)
    np.testing.assert_allclose(smooth_lab(photo / 255.0, sigma), smooth_lab_oracle(photo, sigma), atol=1e-12)


def test_lab_gradient_formula(photo):
    lab = np.pad(smooth_lab_oracle(photo, 1.5), ((0, 0), (1, 1), (1, 1)), mode="edge")
    rows = (lab[:, 2:, 1:-1] - lab[:, :-2, 1:-1]) / 2
    columns = (lab[:, 1:-1, 2:] - lab[:, 1:-1, :-2]) / 2
    magnitude = np.sqrt((rows**2 + columns**2).sum(0))
    strong = np.quantile(magnitude, 0.99, method="inverted_cdf")
    expected = np.minimum(magnitude / strong, 1)[None]
    np.testing.assert_allclose(lab_gradient(photo, 1.5), expected, atol=1e-5)


MAPS = {"smooth_lab": smooth_lab, "lab_gradient": lab_gradient}


@pytest.fixture(params=MAPS)
def make_map(request):
    return MAPS[request.param]


def test_families_batches_and_dtypes_agree(make_map, photo, device):
    reference = make_map(photo)
    bytes_chw = torch.from_numpy(photo).movedim(-1, 0).to(device)
    floats = bytes_chw / 255
    batch = torch.stack([floats, floats.flip(-1)])
    for image in (bytes_chw, floats):
        result = make_map(image)
        assert result.device.type == device.type
        assert result.dtype == torch.float32
        np.testing.assert_allclose(result.cpu().numpy(), reference, rtol=0, atol=1e-5)
    together = make_map(batch)
    for one, image in zip(together, batch, strict=True):
        torch.testing.assert_close(one, make_map(image), rtol=0, atol=1e-6)
    channels_first = make_map(batch.cpu().numpy())
    np.testing.assert_allclose(channels_first, together.cpu().numpy(), rtol=0, atol=1e-5)
    assert make_map(floats.double()).dtype == torch.float64
    half = make_map(floats.half())
    assert half.dtype == torch.float32
    np.testing.assert_allclose(half.cpu().numpy(), reference, rtol=0, atol=0.05)


def test_compiles_without_graph_breaks(make_map, photo):
    image = torch.from_numpy(photo).movedim(-1, 0) / 255
    compiled = torch.compile(make_map, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(image), make_map(image), rtol=0, atol=1e-5)
    with pytest.raises(ArgumentError, match="NaN"):
        compiled(torch.full_like(image, float("nan")))


def test_inputs_stay_unchanged_and_results_repeat(make_map, photo):
    image = torch.from_numpy(photo).movedim(-1, 0) / 255
    before = image.clone()
    first = make_map(image, 0.0)
    again = make_map(image, 0.0)
    assert torch.equal(first, again)
    first += 1
    assert torch.equal(image, before)
    assert not torch.equal(first, again)


def test_views_and_read_only_pictures_work(make_map, photo):
    flipped = photo[::-1, ::-1]
    locked = flipped.copy()
    locked.setflags(write=False)
    np.testing.assert_array_equal(make_map(flipped), make_map(locked))


@given(
    height=st.integers(1, 9),
    width=st.integers(1, 9),
    sigma=st.sampled_from([0.0, 0.5, 1.0, 4.0]),
    seed=st.integers(0, 99),
)
@settings(max_examples=60, deadline=None)
def test_any_size_gives_finite_maps_that_turn_with_the_picture(height, width, sigma, seed):
    picture = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    lab, gradient = smooth_lab(picture, sigma), lab_gradient(picture, sigma)
    assert lab.shape == (3, height, width)
    assert gradient.shape == (1, height, width)
    assert np.isfinite(lab).all()
    assert gradient.min() >= 0
    assert gradient.max() <= 1
    turned = np.ascontiguousarray(picture.transpose(1, 0, 2))
    np.testing.assert_allclose(lab_gradient(turned, sigma), gradient.swapaxes(1, 2), atol=1e-5)
    np.testing.assert_allclose(smooth_lab(picture[:, ::-1], sigma), lab[..., ::-1], atol=1e-5)


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (8, 8)])
def test_a_constant_picture_has_no_edges(shape):
    picture = np.full((*shape, 3), (200, 30, 90), np.uint8)
    assert not lab_gradient(picture).any()
    assert np.ptp(smooth_lab(picture, 3.0), axis=(1, 2)).max() == 0


def test_noise_of_a_flat_picture_stays_small(rng):
    picture = (128 + rng.integers(0, 2, (40, 40, 1)) * np.ones(3)).astype(np.uint8)
    assert lab_gradient(picture, 1.0).max() < 0.3


def test_a_thin_edge_in_a_flat_picture_is_still_an_edge():
    picture = np.zeros((200, 200, 3), np.uint8)
    picture[:2, :2] = 255  # far less than one pixel in a hundred
    assert lab_gradient(picture)[0, :4, :4].max() == 1


def test_interpolation_overshoot_is_clamped():
    overshoot = np.array([[[-5e-4, 0.5, 1 + 5e-4]]])
    np.testing.assert_array_equal(smooth_lab(overshoot), smooth_lab(overshoot.clip(0, 1)))


GREY = np.full((6, 6, 3), 0.5)


@pytest.mark.parametrize(
    ("image", "kind", "message"),
    [
        (GREY[0, :, 0], ArgumentError, r"shape \(6,\).*\(H, W, 3\)"),
        (np.zeros((6, 6, 4)), ArgumentError, "transparent pixels"),
        (np.zeros((6, 6, 5)), ArgumentError, r"shape \(6, 6, 5\)"),
        (np.zeros((3, 6, 6)), ArgumentError, r"\(H, W, 3\)"),
        (np.zeros((2, 6, 6, 3)), ArgumentError, r"\(B, 3, H, W\)"),
        (np.zeros((1, 2, 3, 6, 6)), ArgumentError, "shape"),
        (torch.zeros(6, 6, 3), ArgumentError, r"image.permute\(2, 0, 1\) is channels first"),
        (np.zeros((0, 6, 3)), ArgumentError, "at least one pixel"),
        (torch.zeros(0, 3, 6, 6), ArgumentError, "at least one pixel"),
        (np.where(np.eye(6)[..., None] > 0, np.nan, GREY), ArgumentError, "NaN"),
        (GREY * np.inf, ArgumentError, "inf"),
        (GREY * 510, ArgumentError, "divide 0..255 pictures by 255"),
        (GREY - 0.6, ArgumentError, r"values in \[-0.1"),
        (np.zeros((6, 6, 3), np.int64), ArgumentTypeError, "uint8"),
        (np.zeros((6, 6, 3), np.int16), ArgumentTypeError, "uint8"),
        (np.zeros((6, 6, 3), bool), ArgumentTypeError, "uint8"),
        (torch.zeros(3, 6, 6, dtype=torch.complex64), ArgumentTypeError, "uint8"),
        (GREY.tolist(), ArgumentTypeError, "NumPy array"),
    ],
)
def test_pictures_refused(make_map, image, kind, message):
    with pytest.raises(kind, match=message) as caught:
        make_map(image)
    assert caught.value.function == make_map.__name__
    assert caught.value.argument == "image"


@pytest.mark.parametrize("sigma", [-1, float("nan"), float("inf"), "1"])
def test_sigma_refused(make_map, sigma):
    with pytest.raises(ArgumentError, match="'sigma'"):
        make_map(GREY, sigma)


# --- structured edges -----------------------------------------------------------------------------------------

OPTIONS = {
    "numberOfTrees": 1,
    "numberOfTreesToEvaluate": 1,
    "selfsimilarityGridSize": 2,
    "stride": 1,
    "shrinkNumber": 2,
    "patchSize": 8,
    "patchInnerSize": 4,
    "numberOfGradientOrientations": 4,
    "gradientSmoothingRadius": 0,
    "regFeatureSmoothingRadius": 0,
    "ssFeatureSmoothingRadius": 0,
    "gradientNormalizationRadius": 4,
}
GRADIENT_CHANNEL, CELLS = 3, 4  # L, u, v, then the gradient magnitude; 4 x 4 cells of 2 x 2 pixels in a patch
CENTRE = GRADIENT_CHANNEL * CELLS**2 + 2 * CELLS + 2
TREE = {
    # One split: a strong gradient in the middle of the patch goes right, to the leaf that marks the middle 2 x 2
    # pixels of the inner patch. Children are 1-based: node k goes to child - 1 or to child.
    "childs": [2, 0, 0],
    "featureIds": [CENTRE, 0, 0],
    "thresholds": [0.5, 0.0, 0.0],
    "edgeBoundaries": [0, 0, 0, 4],
    "edgeBins": [5, 6, 9, 10],
}


def model_text(**changes) -> str:
    lines = ["%YAML:1.0", "---", "options:"]
    for name, value in OPTIONS.items():
        if changes.get(name, value) is not None:
            lines.append(f"   {name}: {changes.get(name, value)}")
    for name, values in TREE.items():
        lines += [f"{name}:", f"   - [ {', '.join(map(str, changes.get(name, values)))} ]"]
    return "\n".join(lines) + "\n"


@pytest.fixture(scope="module")
def model_path(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "model.yml.gz"
    path.write_bytes(gzip.compress(model_text().encode()))
    return path


@pytest.fixture(scope="module")
def square() -> np.ndarray:
    picture = np.full((40, 50, 3), 40, np.uint8)
    picture[10:30, 15:35] = (220, 200, 60)
    return picture


def test_structured_edges_find_the_border_of_a_square(square, model_path):
    edges = structured_edges(square, model_path)
    assert edges.shape == (1, 40, 50)
    assert edges.dtype == np.float32
    assert edges.min() >= 0
    assert edges.max() <= 1
    inside = np.zeros((40, 50), bool)
    inside[10:30, 15:35] = True
    near_border = ndimage.distance_transform_cdt(inside) + ndimage.distance_transform_cdt(~inside) <= 4
    assert edges[0][near_border].max() > 0.2
    assert not edges[0][~near_border].any()


def test_structured_edges_are_opencvs_own_on_rgb(photo, model_path):
    import cv2

    detector = cv2.ximgproc.createStructuredEdgeDetection(str(model_path))
    raw = detector.detectEdges(photo.astype(np.float32) / 255)
    thin = detector.edgesNms(raw, detector.computeOrientation(raw))
    np.testing.assert_array_equal(structured_edges(photo, model_path, suppress=False)[0], raw.clip(0, 1))
    np.testing.assert_array_equal(structured_edges(photo, model_path)[0], thin.clip(0, 1))
    assert 0 < np.count_nonzero(thin) < np.count_nonzero(raw) / 2


def test_structured_edges_families_and_batches(photo, model_path):
    expected = structured_edges(photo, model_path)
    image = torch.from_numpy(photo).movedim(-1, 0)
    assert torch.equal(structured_edges(image, model_path), torch.from_numpy(expected))
    batch = structured_edges(torch.stack([image / 255, image.flip(-1) / 255]).double(), str(model_path))
    assert batch.dtype == torch.float32
    assert torch.equal(batch[0], torch.from_numpy(expected))


@pytest.mark.parametrize("shape", [(1, 1), (1, 30), (30, 1), (3, 5), (7, 9), (8, 8)])
@pytest.mark.parametrize("suppress", [True, False])
def test_structured_edges_of_pictures_below_the_patch_size(shape, suppress, model_path, rng):
    picture = rng.integers(0, 256, (*shape, 3), dtype=np.uint8)
    edges = structured_edges(picture, model_path, suppress=suppress)
    assert edges.shape == (1, *shape)
    assert np.isfinite(edges).all()


def test_a_model_written_by_opencv_itself_and_a_plain_file_are_read(square, model_path, tmp_path):
    import cv2

    written = cv2.FileStorage(str(tmp_path / "written.yml"), cv2.FileStorage_WRITE)
    written.startWriteStruct("options", cv2.FileNode_MAP)
    for name, value in OPTIONS.items():
        written.write(name, value)
    written.endWriteStruct()
    for name, values in TREE.items():
        written.startWriteStruct(name, cv2.FileNode_SEQ)
        written.startWriteStruct("", cv2.FileNode_SEQ)
        for value in values:
            written.write("", value)
        written.endWriteStruct()
        written.endWriteStruct()
    written.release()
    np.testing.assert_array_equal(
        structured_edges(square, tmp_path / "written.yml"), structured_edges(square, model_path)
    )


def test_a_changed_model_file_is_read_again(square, tmp_path):
    path = tmp_path / "model.yml"
    path.write_text(model_text())
    assert structured_edges(square, path).any()
    path.write_text(model_text(edgeBoundaries=[0, 0, 0, 0], edgeBins=[]))
    assert not structured_edges(square, path).any()


BAD_MODELS = {
    "empty": (b"", "YAML"),
    "picture": (b"\x89PNG\r\n\x1a\n\xff", "unreadable"),
    "truncated": (gzip.compress(model_text().encode())[:-20], "unreadable"),
    "other yaml": (b"%YAML:1.0\n---\ncamera:\n   width: 3\n", "no options"),
    "words": (model_text(thresholds=["a", 0, 0]).encode(), "thresholds"),
    "missing option": (model_text(stride=None).encode(), "stride is missing"),
    "zero option": (model_text(numberOfTrees=0).encode(), "numberOfTrees is 0"),
    "inner patch": (model_text(patchInnerSize=16).encode(), "patchSize"),
    "zero-based child (loops for ever)": (model_text(childs=[1, 0, 0]).encode(), "point forward"),
    "backward child (loops for ever)": (model_text(childs=[2, 0, 1]).encode(), "point forward"),
    "child outside": (model_text(childs=[3, 0, 0]).encode(), "point forward"),
    "lengths": (model_text(featureIds=[0]).encode(), "differ in length"),
    "trees": (model_text(numberOfTrees=2).encode(), "2 trees"),
    "feature": (model_text(featureIds=[10**6, 0, 0]).encode(), "featureIds"),
    "threshold": (model_text(thresholds=["nan", 0, 0]).encode(), "thresholds"),
    "boundaries": (model_text(edgeBoundaries=[0, 0, 0, 9]).encode(), "edgeBoundaries"),
    "bins": (model_text(edgeBins=[5, 6, 9, 999]).encode(), "edgeBins"),
}


@pytest.mark.parametrize("name", BAD_MODELS)
def test_damaged_models_are_refused(name, square, tmp_path):
    content, message = BAD_MODELS[name]
    path = tmp_path / "model.yml.gz"
    path.write_bytes(content)
    with pytest.raises(FileError, match=message) as caught:
        structured_edges(square, path)
    assert (caught.value.function, caught.value.argument) == ("structured_edges", "model_path")


def test_model_paths_refused(square, model_path, tmp_path):
    for path in (tmp_path / "none.yml.gz", tmp_path):
        with pytest.raises(FileError, match=str(path)):
            structured_edges(square, path)
    with pytest.raises(ArgumentTypeError, match="model_path"):
        structured_edges(square, 3)
    with pytest.raises(ArgumentError, match="'image'"):
        structured_edges(square[0, :, 0], model_path)


@pytest.mark.gpu
def test_structured_edges_do_not_move_data(model_path):
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device on this machine")
    with pytest.raises(ArgumentError, match=r"call .cpu\(\)"):
        structured_edges(torch.zeros(3, 8, 8, device="cuda"), model_path)


def test_opencv_is_imported_only_for_structured_edges():
    code = "import sys, point2mask_ot.maps; sys.exit('cv2' in sys.modules or 'skimage' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=300).returncode == 0
