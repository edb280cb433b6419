"""The report in a headless Chromium: pictures in any order, page by page, without a server; and back to `annotate`."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import skimage.data
from annotate_cases import serving
from PIL import Image

from point2mask_ot import Category, PseudoMaskConfig, label_dataset
from point2mask_ot.annotate.session import Session
from point2mask_ot.labelling.job_settings import JobSettings
from point2mask_ot.labelling.report.pictures import pictures_page
from point2mask_ot.labelling.table import Row

NAMES = "return [...document.querySelectorAll('figure b')].map(name => name.textContent);"
COUNT = "return document.getElementById('count').textContent;"
CHOOSE = """const select = document.getElementById(arguments[0]); select.value = arguments[1];
select.dispatchEvent(new Event('change'));"""
BROKEN = "return [...document.images].filter(image => image.complete && !image.naturalWidth).length;"
NO_ADDRESS = "return document.getElementById('no-address').offsetHeight > 0;"
OFFERED = "return document.getElementById('open').offsetHeight > 0;"
SHOWS = "return document.getElementById('name').textContent === arguments[0];"
STATES = "return [...document.querySelectorAll('.picture')].map(row => row.textContent);"
BACKSPACE = "\ue003"
COFFEE = skimage.data.coffee()[::8, ::8]  # 50 x 75
CATEGORIES = [{"id": 1, "name": "cup", "isthing": 1}, {"id": 2, "name": "table", "isthing": 0}]


def written(root, *records) -> str:
    settings = JobSettings(
        images="photos", out=str(root), config=PseudoMaskConfig(), categories=(Category(1, "cup", True),)
    )
    (root / ".job").mkdir(parents=True)
    with pictures_page(root, settings, "point2mask annotate photos") as show:
        for number, (name, body, record) in enumerate(records):
            show(Row(number, number, name, body), record)
    return (root / "report/pictures.html").as_uri()


@pytest.fixture
def page(tmp_path) -> str:
    """250 pictures whose confidence falls with their number, the first of them done, and four that were set aside."""
    records = []
    for number in range(250):
        told = {"confidence": 1 - number / 250, "targets": number % 7, "segments": [], "void": 0.5}
        body = {"state": "done"} if number == 0 else {}
        records.append((f"p{number}.png", body, {**told, "seconds": {"all": (number * 7) % 250}}))
    aside = ("<b>x</b>.png", "a r\u00e9p.png", "r\u00e9p.png", "y.png")
    return written(tmp_path, *records, *((name, {}, {"error": f"{name}: damaged"}) for name in aside))


def test_pictures_in_any_order_page_by_page(window, page):
    window.open(page)
    shown = window.run(NAMES)
    assert (len(shown), shown[:2], window.run(COUNT)) == (100, ["p249.png", "p248.png"], "1 to 100 of 250")
    assert window.run("return document.getElementById('previous').disabled;")
    window.press("#next")
    window.press("#next")
    assert (len(window.run(NAMES)), window.run(COUNT)) == (50, "201 to 250 of 250")
    window.reload()
    assert window.run(COUNT) == "201 to 250 of 250", "the address keeps what was asked for"
    window.run(CHOOSE, "order", "name")
    assert window.run(NAMES)[:3] == ["p0.png", "p1.png", "p2.png"]
    window.run(CHOOSE, "order", "time")
    assert window.run(NAMES)[0] == next(f"p{n}.png" for n in range(250) if n * 7 % 250 == 249)
    window.run(CHOOSE, "order", "targets")
    assert window.run(NAMES)[:2] == ["p6.png", "p13.png"]
    window.type("#find", "P24 png")
    assert set(window.run(NAMES)) == {"p24.png", *(f"p{number}.png" for number in range(240, 250))}
    window.type("#find", BACKSPACE * 7)
    # A name that the report links to comes before those that only have it in theirs; accents in either spelling.
    window.open(f"{page}#order=name&find=p4.PNG")
    assert window.run(NAMES) == ["p4.png"]
    window.open(f"{page}#find=4.png")
    assert len(window.run(NAMES)) == 25
    window.open(f"{page}#show=aside&find=re%CC%81p.png")
    assert window.run(NAMES) == ["r\u00e9p.png", "a r\u00e9p.png"]
    window.open(f"{page}#show=aside&find=DAMAGED%20y")
    assert window.run(NAMES) == ["y.png"], "reasons are searched, too"
    window.open(page)
    window.run(CHOOSE, "show", "open")
    assert window.run(COUNT) == "1 to 100 of 249"
    window.run(CHOOSE, "show", "aside")
    assert window.run(NAMES) == ["<b>x</b>.png", "a r\u00e9p.png", "r\u00e9p.png", "y.png"]
    window.open(f"{page}#show=aside")
    assert window.run(COUNT) == "1 to 4 of 4"
    window.resize(390, 800)
    assert window.run("return document.documentElement.scrollWidth <= innerWidth;")


def test_a_job_without_labels_has_no_doubtful_pictures_to_open(window, page, tmp_path):
    window.open(page)
    assert window.run(OFFERED)
    window.open(written(tmp_path / "empty", ("y.png", {}, {"error": "damaged"})))
    assert not window.run(OFFERED)


def test_from_clicks_to_labels_to_the_report_and_back(window, tmp_path):
    photos, clicks = tmp_path / "photos", tmp_path / "clicks"
    (photos / "more").mkdir(parents=True)
    names = ["more/c d.png", "shot_1.png", "shot_2.png"]
    for number, name in enumerate(names):
        Image.fromarray(np.roll(COFFEE, 3 * number, 1)).save(photos / name)
    points = [{"x": 37, "y": 15, "category": "cup", "target": 0}, {"x": 5, "y": 4, "category": "table", "target": 1}]
    session = Session(photos, out=clicks)
    for name in names:
        mark = {"state": "done"} if name == "shot_1.png" else {}
        session.save(name, json.dumps({"categories": CATEGORIES, "points": points, "version": "", **mark}).encode())
    out = label_dataset(photos, clicks, tmp_path / "labels", workers=0, progress=False).out
    order = (out / "doubtful.txt").read_text().splitlines()
    assert order[-1] == "shot_1.png"
    with serving(Session(photos, out=clicks, only=out / "doubtful.txt")) as server:
        window.open(Path(out, "report.html").as_uri())
        assert window.run(BROKEN) == 0
        window.press("nav a")
        window.wait("return document.querySelectorAll('figure').length === 3;")
        assert window.run(BROKEN) == 0
        report, before = window.driver.current_window_handle, set(window.driver.window_handles)
        window.run("document.querySelector('details').open = true;")
        window.type("#address", "the one it prints")
        assert window.run(NO_ADDRESS)
        window.run("document.getElementById('address').value = '';")
        line = f"annotate {photos} at <{server.url.removeprefix('http://').rstrip('/')}>"  # what people paste
        window.type("#address", line)
        assert not window.run(NO_ADDRESS)
        window.run("document.querySelector('figure a[href$=\"#more%2Fc%20d.png\"]').scrollIntoView({block: 'center'});")
        window.press('figure a[href$="#more%2Fc%20d.png"]')
        (opened,) = set(window.driver.window_handles) - before
        window.driver.switch_to.window(opened)
        window.wait(SHOWS, "more/c d.png")
        assert window.run(STATES) == order
        window.driver.switch_to.window(report)
        window.press('figure a[href$="#shot_2.png"]')
        window.driver.switch_to.window(opened)
        window.wait(SHOWS, "shot_2.png")
        assert len(window.driver.window_handles) == len(before) + 1, "the same tab"
        window.close_tab(report)
