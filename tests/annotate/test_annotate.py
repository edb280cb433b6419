"""What the page to click points on talks to: its server over HTTP."""

from __future__ import annotations

import http.client
import json
import re
import signal
import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import skimage.data
from annotate_cases import ask, first, label, opening, save, serving
from PIL import Image

from point2mask_ot import Category, FileError, label_picture, read_coco_panoptic, read_points
from point2mask_ot.annotate.app import MAX_BODY, POLICY, page_files
from point2mask_ot.annotate.posted import read_posted
from point2mask_ot.annotate.server import AnnotationServer, serve
from point2mask_ot.annotate.session import Session
from point2mask_ot.annotate.turns import Superseded, Turns
from point2mask_ot.checks import ArgumentError
from point2mask_ot.cli import main
from point2mask_ot.cli.annotate import parse_categories

CATEGORIES = [{"id": 1, "name": "cup", "isthing": 1}, {"id": 2, "name": "table", "isthing": 0}]
CLICKS = [(75, 30, "cup", 7), (10, 8, "table", 2), (140, 90, "table", 2), (60, 80, "cup", 5)]
POINTS = [{"x": x, "y": y, "category": category, "target": target} for x, y, category, target in CLICKS]
STATE = {"categories": CATEGORIES, "points": POINTS}


@pytest.fixture
def photo(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)  # where a session without `out` makes its folder
    path = tmp_path / "coffee.png"
    Image.fromarray(skimage.data.coffee()[::4, ::4]).save(path)
    return path


@pytest.fixture
def server(photo):
    with serving(Session(photo, out=photo.parent / "out")) as running:
        yield running


@pytest.fixture(scope="module")
def refusing(tmp_path_factory):
    """A server that is asked for nothing that it does."""
    folder = tmp_path_factory.mktemp("refusing")
    Image.fromarray(skimage.data.coffee()[::4, ::4]).save(folder / "coffee.png")
    with serving(Session(folder / "coffee.png", out=folder / "out")) as running:
        yield running


def label_map(answer):
    return np.repeat(answer["values"], answer["lengths"]).reshape(answer["height"], answer["width"])


def expected_masks(photo, path):
    picture = np.asarray(Image.open(photo))
    return label_picture(picture, read_points(path, shape=picture.shape[:2]).targets)


def test_masks_are_those_of_label_picture(server, photo, tmp_path):
    status, answer = ask(server, "label", STATE)
    assert status == 200
    (tmp_path / "points.json").write_text(json.dumps(STATE))
    expected = expected_masks(photo, tmp_path / "points.json")
    np.testing.assert_array_equal(label_map(answer), np.where(expected.void, -1, expected.instance))
    assert [t["target"] for t in answer["targets"]] == ["7", "2", "5"]
    assert [t["pixels"] for t in answer["targets"]] == expected.masks.sum((1, 2)).tolist()
    assert [t["confidence"] for t in answer["targets"]] == pytest.approx(expected.target_confidence, abs=1e-3)
    assert answer["factor"] == 1
    assert answer["converged"]


def test_saved_files_are_those_of_the_label_command(server, photo, tmp_path):
    status, answer = ask(server, "masks", STATE)
    assert status == 200
    out = tmp_path / "out"
    assert answer["wrote"] == ["coffee_points.json", "coffee.json", "panoptic/coffee.png"]
    assert (
        main(["label", str(photo), "--points", str(out / "coffee_points.json"), "--out", str(tmp_path / "same")]) == 0
    )
    for name in ("coffee.json", "panoptic/coffee.png"):
        assert (out / name).read_bytes() == (tmp_path / "same" / name).read_bytes()
    points = read_points(out / "coffee_points.json")
    assert points.targets.points_yx.tolist() == [[y, x] for x, y, _, _ in CLICKS]
    assert points.targets.target.tolist() == [0, 1, 1, 2]
    assert [c.name for c in points.categories] == ["cup", "table"]


def test_a_saved_session_goes_on(server, photo, tmp_path):
    ask(server, "masks", STATE)
    session = Session(photo, out=tmp_path / "out", categories=parse_categories("cup, spoon, wall:stuff"))
    opened = opening(session)
    assert [(p["x"], p["y"], p["category"]) for p in opened["points"]] == [click[:3] for click in CLICKS]
    assert [(c["name"], c["isthing"]) for c in opened["categories"]] == [
        ("cup", 1), ("spoon", 1), ("table", 0), ("wall", 0)
    ]  # fmt: skip
    assert opened["resumed"] == str(tmp_path / "out" / "coffee_points.json")


def test_fault_a10_large_pictures_are_shown_in_blocks_and_saved_pixel_by_pixel(photo, tmp_path):
    session = Session(photo, out=tmp_path / "out", pixels=3000)
    shown = label(session, STATE)
    assert shown["factor"] == 3
    assert label_map(shown).shape == (34, 50)
    saved = save(session, STATE)
    made = read_coco_panoptic(tmp_path / "out/coffee.json", tmp_path / "out/panoptic")[0].id_map
    expected = expected_masks(photo, tmp_path / "out/coffee_points.json").instance
    np.testing.assert_array_equal(made - 1, expected)
    assert saved["factor"] == 1
    np.testing.assert_array_equal(label_map(saved), expected, err_msg="and then shown")
    points = read_points(tmp_path / "out/coffee_points.json").targets
    assert points.points_yx.tolist() == [[y, x] for x, y, _, _ in CLICKS], "in pixels of the picture"
    rows, columns = points.points_yx.T
    np.testing.assert_array_equal(made[rows, columns], points.target + 1)


SIZED = [{**point, "size": 900.5, "size_error": 1.6} if point["target"] == 7 else point for point in POINTS]


def test_sizes_of_a_file_outlive_the_page(photo, tmp_path):
    """The page sends back what it was sent, with points of its own that say nothing of sizes."""
    (tmp_path / "mine.csv").write_text("x,y,category,diameter,size_error\n75,30,cup,30,1.6\n20,90,table:stuff,,\n")
    session = Session(photo, out=tmp_path / "out", points=tmp_path / "mine.csv")
    opened = opening(session)
    clicked = {**opened, "points": [*opened["points"], {"x": 74, "y": 31, "category": "cup", "target": 0}]}
    save(session, clicked)
    found = read_points(tmp_path / "out/coffee_points.json").targets
    np.testing.assert_array_equal(found.size, [np.pi * 15**2, np.nan])
    assert found.size_error[0] == 1.6
    assert found.target.tolist() == [0, 0, 1]


def test_sizes_are_those_of_the_picture_in_blocks_too(photo, tmp_path):
    """What the page shows of a large picture is what the reduced picture gives with sizes of its own."""
    state = {**STATE, "points": SIZED}
    shown = label_map(label(Session(photo, out=tmp_path / "out", pixels=3000), state))
    reduced = np.asarray(Image.open(photo).reduce(3))
    posted = read_posted(json.dumps(state).encode(), (100, 150))
    targets = posted.targets
    assert posted.names.index("7") == 0
    half_pixel = (targets.points_yx + 0.5) / 3 - 0.5
    moved = replace(targets, points_yx=half_pixel, size=[900.5 / 9, np.nan, np.nan])
    expected = label_picture(reduced, moved, on_conflict="first")
    np.testing.assert_array_equal(shown, np.where(expected.void, -1, expected.instance))
    plain = label_picture(reduced, replace(moved, size=None), on_conflict="first")
    assert (shown != np.where(plain.void, -1, plain.instance)).any()


def test_the_border_as_background(photo, tmp_path):
    session = Session(photo, out=tmp_path / "out", border="background")
    session.warm_up()
    expected = label_picture(
        np.asarray(Image.open(photo)), read_posted(json.dumps(STATE).encode(), (100, 150)).targets, border="background"
    )
    np.testing.assert_array_equal(label_map(label(session, STATE)), expected.instance)
    with serving(session) as server:
        status, answer = ask(server, "label", {**STATE, "points": POINTS[:1]})
    assert status == 400
    assert "'background' without a point on a background; expected a point of a stuff target" in answer["error"]


def test_a_setting_without_effect_is_refused(photo, tmp_path):
    with pytest.raises(ArgumentError, match=r"^annotate: argument 'unary_weight': got 0\.5, which has no effect"):
        Session(photo, out=tmp_path / "out", unary_weight=0.5)


def test_no_points_yet(server):
    status, answer = ask(server, "label", {**STATE, "points": []})
    assert (status, answer["targets"], answer["values"], answer["lengths"]) == (200, [], [-1], [100 * 150])
    status, answer = ask(server, "masks", {**STATE, "points": []})
    assert (status, "no points" in answer["error"]) == (400, True)


def test_points_are_saved_even_where_masks_cannot_be(server, tmp_path):
    twice = {**STATE, "points": [*POINTS, {**POINTS[0], "target": 9}]}
    status, answer = ask(server, "label", twice)
    assert status == 400
    assert "both at (y, x) = (30, 75)" in answer["error"]
    status, answer = ask(server, "masks", twice)
    assert status == 200
    assert "both at" in answer["masks_error"]
    assert read_points(tmp_path / "out/coffee_points.json").targets.num_targets == 4
    assert not (tmp_path / "out/coffee.json").exists()


def changed(**fields):
    return {**STATE, "points": [{**POINTS[0], **fields}]}


REFUSALS = {
    "foreign host": (STATE, {"headers": {"Host": "evil.example"}}, 403, "own address"),
    "foreign page": (STATE, {"headers": {"Origin": "http://evil.example"}}, 403, "another page"),
    "wrong token": (STATE, {"token": "guess"}, 404, "no such address"),
    "token with other letters": (STATE, {"token": "%C3%A9"}, 404, "no such address"),
    "unknown name": (STATE, {"name": "../../etc/passwd"}, 404, "no such address"),
    "form": (STATE, {"headers": {"Content-Type": "text/plain"}}, 415, "only JSON"),
    "oversized": (b"[" * (MAX_BODY + 1), {}, 413, "too many points"),
    "no such picture": (STATE, {"picture": "../coffee.png"}, 400, "one of the folder's"),
    "malformed": (b"{", {}, 400, "finite numbers"),
    "deep": (b"[" * 1000, {}, 400, "nested 1000 deep"),
    "not finite": (b'{"points": [NaN]}', {}, 400, "NaN"),
    "no object": ([1], {}, 400, "a JSON object"),
    "point outside": (changed(x=150), {}, 400, "a point inside HxW = 100x150"),
    "swapped": (changed(x=20, y=140), {}, 400, "swapped"),
    "no target": (changed(target=None), {}, 400, "a target for each point"),
    "unknown category": (changed(category="cupp"), {}, 400, "did you mean 'cup'"),
    "unknown field": (changed(path="/etc/passwd"), {}, 400, "'path'"),
    "no categories": ({**STATE, "categories": []}, {}, 400, "at least one category"),
    "too many targets": (
        {**STATE, "points": [{**POINTS[0], "target": k} for k in range(401)]}, {}, 400, "at most 400"
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSALS)
@pytest.mark.parametrize("name", ["label", "save", "masks"])
def test_refuses_requests(case, name, refusing):
    body, how, status, expected = REFUSALS[case]
    got, answer = ask(refusing, how.get("name", name), body, **{k: v for k, v in how.items() if k != "name"})
    assert got == status
    assert expected in answer["error"]
    assert not refusing.session.out.exists()


@pytest.mark.parametrize("name", ["", "page.css", "main.js", "folder", "view", "state"])
def test_nothing_is_shown_to_strangers(name, refusing):
    assert ask(refusing, name)[0] == 200
    assert ask(refusing, name, token="guess")[0] == 404
    assert ask(refusing, name, headers={"Host": f"rebound.example:{refusing.server_port}"})[0] == 403
    assert refusing.server_address[0] == "127.0.0.1"


def test_a_person_who_mistypes_the_address_reads_what_to_do(refusing):
    told = ask(refusing, "", token="guess", headers={"Accept": "text/html,*/*"})
    assert told == (404, b"No such address; use the one that point2mask annotate has printed last.")
    connection = http.client.HTTPConnection("127.0.0.1", refusing.server_port, timeout=60)
    connection.request("GET", f"/{refusing.token}")
    answer = connection.getresponse()
    assert (answer.status, answer.getheader("Location")) == (307, f"/{refusing.token}/")
    connection.close()


def test_an_error_nobody_foresaw_is_said_in_words(server, monkeypatch, capsys):
    monkeypatch.setattr(server.session, "label", lambda *_, **__: 1 / 0)
    assert ask(server, "label", STATE) == (500, {"error": "ZeroDivisionError: division by zero"})
    assert "ZeroDivisionError" in capsys.readouterr().err


def test_of_those_that_wait_the_newest_has_its_turn():
    turns, done = Turns(), []

    def work(number):
        try:
            with turns.newest():
                done.append(number)
        except Superseded:
            done.append(-number)

    threads = []
    with turns.any():
        for number in (1, 2, 3):
            threads.append(threading.Thread(target=work, args=(number,)))
            threads[-1].start()
            while turns._newest.get("", 0) < number:
                pass
    for thread in threads:
        thread.join()
    assert sorted(done) == [-2, -1, 3]


def test_sound_twelve_requests_at_once(server):
    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(lambda _: ask(server, "label", STATE), range(12)))
        alone = ask(server, "label", STATE)[1]
    labelled = [answer for status, answer in answers if status == 200]
    assert labelled
    assert all(answer["values"] == alone["values"] and answer["lengths"] == alone["lengths"] for answer in labelled)
    assert {status for status, _ in answers} <= {200, 409}, "done, or given up for a newer one"


def test_the_page_needs_nothing_from_elsewhere(server):
    files = page_files()
    assert {"page.html", "page.css", "main.js"} < set(files)
    for name, (content, _) in files.items():
        assert ask(server, name) == (200, content)
        assert not re.search(rb"https?:|@import|url\((?!#)|[\"']//", content), name
    page = files["page.html"][0]
    assert not re.search(rb"\son\w+=|\sstyle=|<style|<script(?! type=.module. src=.main.js.>)", page)
    assert "script-src 'self'" in POLICY
    assert "unsafe" not in POLICY


def test_every_answer_tells_the_browser_what_the_page_may_do(server):
    for name, token in (("", None), ("state", None), ("nothing", None), ("", "guess")):
        connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=60)
        connection.request("GET", f"/{token or server.token}/{name}")
        answer = connection.getresponse()
        assert answer.getheader("Content-Security-Policy") == POLICY
        assert answer.getheader("X-Content-Type-Options") == "nosniff"
        assert answer.getheader("Cache-Control") == "no-store"
        assert answer.getheader("Server") is None
        connection.close()


def test_silent_clients_hold_nobody_up(server):
    silent = [socket.create_connection(("127.0.0.1", server.server_port)) for _ in range(60)]
    for number, one in enumerate(silent):
        half = (
            f"POST /{server.token}/save?picture={first(server.session)} HTTP/1.1\r\nHost: x\r\n" if number % 2 else ""
        )
        one.sendall(half.encode())
    assert ask(server, "state")[0] == 200
    for one in silent:
        one.close()


def test_a_body_that_does_not_come_is_given_up(server, monkeypatch):
    monkeypatch.setattr("point2mask_ot.annotate.app.PATIENCE", 0.1)
    with socket.create_connection(("127.0.0.1", server.server_port)) as client:
        head = f"POST /{server.token}/save?picture={first(server.session)} HTTP/1.1\r\n"
        head += f"Host: 127.0.0.1:{server.server_port}\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n"
        client.sendall(head.encode())
        assert b" 408 " in client.recv(1000)


def test_the_extra_that_is_missing_is_named(photo, monkeypatch):
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    with pytest.raises(ArgumentError, match=r"no package uvicorn; expected pip install 'point2mask-ot\[annotate\]'"):
        serve(photo)


SETTINGS = {
    "likelihood": ({"preset": "official"}, "colours suffice"),
    "preset": ({"preset": "bets"}, "did you mean 'best'"),
    "sigma": ({"sigma": -1}, "sigma"),
    "model": ({"edge_model": "missing.yml.gz"}, "missing.yml.gz"),
    "points": ({"points": "missing.json"}, "missing.json"),
    "pixels": ({"pixels": 0}, "pixels"),
    "exif": ({"exif": "turn"}, "refuse"),
}


@pytest.mark.parametrize("case", SETTINGS)
def test_refuses_settings(case, photo):
    settings, expected = SETTINGS[case]
    with pytest.raises(ArgumentError, match=re.escape(expected)):
        Session(photo, **settings)


def test_refuses_what_is_at_odds(photo, tmp_path):
    (tmp_path / "points.csv").write_text("x,y,category\n900,4,leaf\n")
    with pytest.raises(FileError, match="100x150"):
        Session(photo, points=tmp_path / "points.csv")
    (tmp_path / "points.csv").write_text("x,y,category\n9,4,leaf\n")
    with pytest.raises(ArgumentError, match="as thing and as stuff"):
        Session(photo, points=tmp_path / "points.csv", categories=[Category(1, "leaf", False)])
    for text, expected in {
        "cat,cat": "different names",
        ":stuff": "one name",
        "cat:animal": ":thing or :stuff",
    }.items():
        with pytest.raises(ArgumentError, match=expected):
            parse_categories(text)
    session = Session(photo)
    with serving(session) as first, pytest.raises(ArgumentError, match="a free port"):
        AnnotationServer(session, first.server_port)
    with pytest.raises(ArgumentError, match="65536"):
        AnnotationServer(session, 70000)
    assert main(["annotate", str(tmp_path / "missing.png")]) == 2


def test_command(photo):
    # A shell starts what it runs in the background with SIGINT ignored, and that is handed down to here.
    program = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    program += "import sys; from point2mask_ot.cli import main; sys.exit(main())"
    words = [sys.executable, "-c", program, "annotate"]
    words += [str(photo), "--no-browser", "--categories", "cup,table:stuff", "--out", str(photo.parent / "out")]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        try:
            port, token = re.search(r"http://127\.0\.0\.1:(\d+)/(\S{20,})/", process.stdout.readline()).groups()
            connection = http.client.HTTPConnection("127.0.0.1", int(port), timeout=300)
            connection.request("GET", f"/{token}/folder")
            assert [c["name"] for c in json.load(connection.getresponse())["categories"]] == ["cup", "table"]
            connection.close()
            process.send_signal(signal.SIGINT)
            assert process.wait(300) == 0
        finally:
            process.kill()
