"""What a data-set job survives, each fault made to happen. Rounds by the hundred: benchmarks/faults.py."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import random
import resource
import shutil
import signal
import sqlite3
import stat
import struct
import subprocess
import sys
import time
import zlib
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from labelling_jobs import (
    entry,
    make_set,
    picture,
    records,
    results,
    run,
    slow_job,
    start,
    wait_for,
    write_document,
)
from PIL import Image

from point2mask_ot import ArgumentError, label_dataset
from point2mask_ot.cli import main
from point2mask_ot.labelling import JobInterrupted, JobStopped
from point2mask_ot.labelling.folder import JobFolder

COUNT = 24


@pytest.fixture(scope="module")
def small_set(tmp_path_factory):
    """(folder of pictures, points, results of a job that nothing interrupted)."""
    folder = tmp_path_factory.mktemp("set")
    images, points = make_set(folder, COUNT)
    label_dataset(images, points, folder / "calm", workers=0, progress=False)
    return images, points, results(folder / "calm")


@pytest.fixture
def job(tmp_path):
    """A call that labels a few pictures in this process."""
    images, points = make_set(tmp_path, 3)

    def call(**settings):
        given = {"images": images, "points": points, "out": tmp_path / "out", "workers": 0, "progress": False}
        return label_dataset(**{**given, **settings})

    call.images, call.points, call.out = images, points, tmp_path / "out"
    return call


@pytest.fixture
def slow(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return slow_job(tmp_path, COUNT, "--workers", 1)


def arguments(small_set, out: Path, workers: int) -> list:
    images, points, _ = small_set
    return ["--images", images, "--points", points, "--out", out, "--workers", workers]


def go_on(small_set, out: Path):
    """The same job, in this process: compiled already, and not told apart from one with workers."""
    images, points, _ = small_set
    return label_dataset(images, points, out, workers=0, progress=False)


# --------------------------------------------------------------------------------------------- an end at any moment


@pytest.mark.parametrize(("workers", "rounds"), [(0, 2), (1, 1)])
def test_kill_minus_nine(workers, rounds, small_set, tmp_path):
    rng = random.Random(workers)
    out = tmp_path / "out"
    for _ in range(rounds):
        before = records(out)
        process = start(*arguments(small_set, out, workers))
        wait_for(lambda before=before, process=process: records(out) > before or process.poll() is not None)
        time.sleep(rng.uniform(0, 0.15))
        process.kill()
        process.communicate()
        for path in out.rglob("*.png"):
            if not path.name.startswith("."):
                Image.open(path).load()
    assert go_on(small_set, out).labelled == COUNT
    assert results(out) == small_set[2]
    assert not list(out.rglob("*.tmp"))


@pytest.mark.parametrize(
    ("number", "status", "to_all"), [(signal.SIGTERM, 143, False), (signal.SIGINT, 130, True)], ids=["term", "int"]
)
def test_signals_finish_the_picture_at_hand(number, status, to_all, slow):
    process, out = slow.start(before=os.setsid), slow.out
    wait_for(lambda: records(out) > 2)
    (os.killpg if to_all else os.kill)(process.pid, number)  # a terminal and a batch system signal the whole group
    _, complaints = process.communicate(timeout=300)
    assert process.returncode == status
    assert "goes on" in complaints
    assert "Traceback" not in complaints
    done = records(out)
    assert 2 < done < COUNT
    assert not list(out.rglob("*.tmp"))
    assert not (out / "panoptic.json").exists()
    assert slow(out).labelled == COUNT
    assert json.loads((out / "timing.json").read_text())["last_run"]["kept"] == done
    assert results(out) == slow.calm


def test_a_signal_in_ones_own_process(job, tmp_path, monkeypatch):
    (tmp_path / "signal_plug.py").write_text(
        "import os, signal\ndef maps(picture):\n    os.kill(os.getpid(), signal.SIGINT)\n    return {}\n"
    )
    monkeypatch.chdir(tmp_path)
    heard = signal.getsignal(signal.SIGINT)
    for done in (1, 2, 3):
        if done == 3:  # the signal comes in the last picture: nothing is left to interrupt
            assert job(maps="signal_plug:maps").labelled == 3
        else:
            with pytest.raises(JobInterrupted) as caught:
                job(maps="signal_plug:maps")
            assert isinstance(caught.value, KeyboardInterrupt)
            assert caught.value.signal == signal.SIGINT
        assert records(job.out) == done
    assert signal.getsignal(signal.SIGINT) is heard


def test_leftovers_of_a_kill_are_swept(job):
    job()
    for folder in (job.out, job.out / "panoptic", job.out / ".job", JobFolder(job.out).record_path("p000.png").parent):
        (folder / f".p000.png.{'0a' * 8}.tmp").write_bytes(b"half")
    (job.out / ".mine.tmp").write_bytes(b"no leftover of a job")
    job()
    assert [path.name for path in job.out.rglob("*.tmp")] == [".mine.tmp"]


# ---------------------------------------------------------------------------------------------------- a full disk


@pytest.mark.parametrize(("limit", "workers"), [(60, 1), (4000, 0)], ids=["first label", "annotations"])
def test_full_disk(limit, workers, small_set, tmp_path):
    """A limit on the size of files fails as a full disk does: in the middle of a write."""
    _, points, calm = small_set
    sizes = [len(data) for name, data in calm.items() if name.endswith(".png")]
    assert 60 < min(sizes) <= max(sizes) < 4000 < len(calm["panoptic.json"])
    out = tmp_path / "out"
    bad = tmp_path / "bad"
    bad.mkdir()
    (bad / "p000.png").touch()
    with pytest.raises(JobStopped, match="max_errors"):  # begins the job: its table is larger than either limit
        label_dataset(bad, points, out, workers=0, progress=False, max_errors=0)
    (out / "notes.txt").write_text("a user's own")
    shrink = partial(resource.setrlimit, resource.RLIMIT_FSIZE, (limit, limit))
    stopped = run(*arguments(small_set, out, workers), before=shrink)
    assert stopped.returncode == 2
    assert "File too large" in stopped.stderr
    assert "Traceback" not in stopped.stderr
    assert not list(out.rglob("*.tmp"))
    assert not (out / "panoptic.json").exists()
    assert go_on(small_set, out).labelled == COUNT
    assert results(out).pop("notes.txt") == b"a user's own"
    (out / "notes.txt").unlink()
    assert results(out) == calm


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_nowhere_to_print(stream, job):
    words = ["--images", job.images, "--points", job.points, "--out", job.out, "--workers", "0"]
    command = [sys.executable, "-m", "point2mask_ot", "label-dataset", *map(str, words)]
    with open("/dev/full", "w") as full:
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, stream: full}
        done = subprocess.run(command, text=True, check=False, **pipes)
    assert (job.out / "panoptic.json").is_file()
    if stream == "stdout":
        assert done.returncode == 2
        assert "No space left on device" in done.stderr
    else:  # progress that nobody reads is no reason to fail
        assert done.returncode == 0
        assert "3 of 3 pictures" in done.stdout


# --------------------------------------------------------------------------------------- pictures that are no good


def damaged(folder: Path) -> dict[str, str]:
    """Pictures that must be set aside, with a word of the reason."""
    good = Image.fromarray(picture(1))
    good.save(folder / "whole.png")
    data = (folder / "whole.png").read_bytes()
    (folder / "truncated.png").write_bytes(data[: len(data) // 2])
    (folder / "empty.png").write_bytes(b"")
    (folder / "text.png").write_text("no picture")
    header = b"IHDR" + struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0)
    bomb = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    (folder / "bomb.png").write_bytes(bomb + data[33:])
    good.save(folder / "pages.tif", save_all=True, append_images=[good])
    good.convert("RGBA").putalpha(0)
    transparent = good.convert("RGBA")
    transparent.putalpha(9)
    transparent.save(folder / "glass.png")
    exif = Image.Exif()
    exif[0x0112] = 6
    good.save(folder / "turned.jpg", exif=exif)
    (folder.parent / "secret.png").write_bytes(data)
    (folder / "link.png").symlink_to(folder.parent / "secret.png")
    os.mkfifo(folder / "pipe.png")
    good.crop((0, 0, 20, 24)).save(folder / "small.png")
    return {
        "truncated.png": "truncated",
        "empty.png": "empty",
        "text.png": "no readable picture",
        "bomb.png": "pixels",
        "pages.tif": "a TIFF of 2 pages",
        "glass.png": "transparent",
        "turned.jpg": "inside the picture, which is 24 wide and 32 high",
        "link.png": "stays inside",
        "pipe.png": "not a regular file",
        "small.png": "inside the picture, which is 20 wide and 24 high",
        "missing.png": "No such file",
        "../secret.png": "stays inside",
        "/etc/passwd.png": "stays inside",
    }


def test_bad_pictures_are_set_aside_and_the_others_labelled(tmp_path, capsys):
    images = tmp_path / "images"
    images.mkdir()
    reasons = damaged(images)
    names = ["whole.png", *reasons]
    points = write_document(tmp_path / "points.json", [entry(name) for name in names])
    out = tmp_path / "out"
    words = ["label-dataset", "--images", images, "--points", points, "--out", out, "--workers", 0, "--quiet"]
    assert main([str(word) for word in words]) == 1
    assert f"1 of {len(names)} pictures labelled, {len(reasons)} set aside" in capsys.readouterr().out
    listed = json.loads((out / "summary.json").read_text())["set_aside_first"]
    found = {one["picture"]: one["reason"] for one in listed}
    assert found.keys() == reasons.keys()
    for name, word in reasons.items():
        assert word in found[name], (name, found[name])
    assert sorted(path.name for path in (out / "panoptic").iterdir()) == ["whole.png"]

    whole = (images / "whole.png").read_bytes()
    (images / "whole.png").write_bytes(b"not any more")
    assert label_dataset(images, points, out, workers=0, progress=False).labelled == 0
    assert not list((out / "panoptic").iterdir()), "no label file without its picture in the JSON"
    (images / "whole.png").write_bytes(whole)

    for name in reasons:  # mended pictures are labelled by the next call
        if "/" not in name:
            (images / name).unlink(missing_ok=True)
            Image.fromarray(picture(2)).save(images / name)
    made = label_dataset(images, points, out, workers=0, progress=False)
    assert (made.labelled, made.set_aside) == (len(names) - 2, 2)


def test_max_errors_stops_the_job_which_then_goes_on(job):
    whole = (job.images / "p002.png").read_bytes()
    for name in ("p000.png", "p001.png"):
        (job.images / name).write_bytes(b"")
    with pytest.raises(JobStopped, match=r"2 pictures set aside, more than max_errors=1; the last: .*empty"):
        job(max_errors=1)
    for name in ("p000.png", "p001.png"):
        (job.images / name).write_bytes(whole)
    assert job(max_errors=0).labelled == 3


@pytest.mark.parametrize(
    ("returned", "word"),
    [
        ("{'semantics': picture}", "did you mean 'semantic'"),
        ("None", "mapping"),
        ("{'semantic': picture.astype('f')}", "channels|shape|categor|probabilit|logits"),
        ("{'boundary': picture[None, :, :, 0]}", "floats"),
        ("{'boundary': picture[None, :, :, 0] * np.float32('nan')}", "NaN"),
        ("1 / 0", "ZeroDivisionError: division by zero"),
    ],
)
def test_a_plug_in_that_fails_sets_pictures_aside(returned, word, job, tmp_path, monkeypatch):
    name = f"bad_plug_{zlib.crc32(returned.encode())}"
    (tmp_path / f"{name}.py").write_text(f"import numpy as np\ndef maps(picture):\n    return {returned}\n")
    monkeypatch.chdir(tmp_path)
    made = job(maps=f"{name}:maps")
    assert made.set_aside == 3
    reason = json.loads((made.out / "summary.json").read_text())["set_aside_first"][0]["reason"]
    assert any(part in reason for part in word.split("|")), reason


def test_damaged_map_files(job, tmp_path):
    folder = tmp_path / "maps"
    folder.mkdir()
    (folder / "p000.npz").write_bytes(b"PK no archive")
    np.save(folder / "p001.npy", np.array([{}], object), allow_pickle=True)
    np.save(folder / "p002.npy", np.zeros((2, 24, 32), np.float32))
    np.savez(folder / "p002.npz", semantic=np.zeros((2, 24, 32), np.float32))
    job(maps=folder)
    reasons = [one["reason"] for one in json.loads((job.out / "summary.json").read_text())["set_aside_first"]]
    for reason, word in zip(reasons, ["p000.npz", "memory-mapped|pickle", "several"], strict=True):
        assert any(part in reason for part in word.split("|")), reason


# ------------------------------------------------------------------------------------------------ workers that die

DEADLY = """
import os, pathlib, signal
import numpy as np
here = pathlib.Path(__file__).parent
def maps(picture):
    seed = int(picture[0, 0].mean())
    mark = here / f"died-{picture.tobytes()[:200].hex()[:40]}"
    if (here / "once").exists() and not mark.exists() and picture[0, 0, 0] == 1:
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    if picture[0, 0, 0] == 2:
        os.kill(os.getpid(), signal.SIGSEGV)
    if picture[0, 0, 0] == 3:
        np.empty(2**60, np.uint8)
    return {}
"""


def test_workers_that_die(tmp_path, monkeypatch, forked_workers):
    images, points = make_set(tmp_path, 6)
    for index in (1, 2, 3):  # the first pixel says what happens
        pixels = picture(index)
        pixels[0, 0] = index
        Image.fromarray(pixels).save(images / f"p{index:03}.png")
    (tmp_path / "deadly_plug.py").write_text(DEADLY)
    (tmp_path / "once").touch()
    monkeypatch.chdir(tmp_path)
    made = label_dataset(images, points, tmp_path / "out", maps="deadly_plug:maps", workers=2, progress=False)
    assert (made.labelled, made.set_aside) == (4, 2)
    listed = json.loads((made.out / "summary.json").read_text())["set_aside_first"]
    assert {one["picture"]: one["reason"] for one in listed} == {
        "p002.png": "2 workers died of it: signal 11",
        "p003.png": "2 workers died of it: out of memory",
    }
    assert len(list(tmp_path.glob("died-*"))) == 1, "one picture was tried again, and labelled"


def test_out_of_memory_in_ones_own_process(job, tmp_path, monkeypatch):
    (tmp_path / "memory_plug.py").write_text(
        "calls = []\n"
        "def maps(picture):\n"
        "    calls.append(picture.mean())\n"
        "    if len(calls) == 1 or calls.count(picture.mean()) and picture.mean() == calls[0] and len(calls) == 2:\n"
        "        raise MemoryError('so much')\n"
        "    return {}\n"
    )
    monkeypatch.chdir(tmp_path)
    made = job(maps="memory_plug:maps")
    assert (made.labelled, made.set_aside) == (2, 1)
    reasons = json.loads((made.out / "summary.json").read_text())["set_aside_first"]
    assert reasons[0]["reason"] == "out of memory: so much"


@pytest.mark.parametrize("text", ["import os\nos._exit(3)\n", "def other(): pass\n"], ids=["dies", "lacks the name"])
def test_workers_that_cannot_begin(text, job, tmp_path, monkeypatch, forked_workers):
    (tmp_path / "hopeless_plug.py").write_text(text)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(JobStopped, match=r"exit status 3|hopeless_plug:maps"):
        job(maps="hopeless_plug:maps", workers=1)


# ---------------------------------------------------------------------------- other jobs, other settings, lost files


def test_two_jobs_on_one_folder(slow):
    first, out = slow.start(), slow.out
    wait_for(lambda: records(out) > 0)
    first.send_signal(signal.SIGSTOP)  # it keeps its lock while it sleeps
    with pytest.raises(ArgumentError, match=f"process {first.pid} on .* works on it"):
        slow(out)
    first.send_signal(signal.SIGCONT)
    first.communicate(timeout=300)
    assert first.returncode == 0
    assert results(out) == slow.calm


def test_changed_settings_are_refused_and_fresh_starts_over(job):
    job()
    (job.out / "notes.txt").write_text("a user's own")
    with pytest.raises(ArgumentError, match=r"config\.beta: 0\.1 -> 0\.2; config\.stride: 1 -> 2|config\.stride"):
        job(beta=0.2, stride=2)
    with pytest.raises(ArgumentError, match="output: coco -> voc"):
        job(output="voc")
    text = json.loads(job.points.read_text())
    text["images"] = text["images"][:2]
    job.points.write_text(json.dumps(text))
    made = job(fresh=True)
    assert made.pictures == 2
    assert sorted(path.name for path in (job.out / "panoptic").iterdir()) == ["p000.png", "p001.png"]
    assert (job.out / "notes.txt").exists()
    made = job(fresh=True, output="voc")
    assert not (job.out / "panoptic.json").exists()


def test_a_plug_in_that_changed_is_refused(job, tmp_path, monkeypatch):
    source = tmp_path / "changing_plug.py"
    source.write_text("def maps(picture):\n    return {}\n")
    monkeypatch.chdir(tmp_path)
    job(maps="changing_plug:maps")
    source.write_text("def maps(picture):\n    return {} or {}\n")
    with pytest.raises(ArgumentError, match=r"maps\.source: \w+ -> \w+"):
        job(maps="changing_plug:maps")


def test_what_was_lost_or_changed_is_labelled_again(job):
    job()
    calm = results(job.out)
    stamps = {path: path.stat().st_mtime_ns for path in (job.out / "panoptic").iterdir()}
    (job.out / "panoptic/p000.png").unlink()
    JobFolder(job.out).record_path("p001.png").write_text('{"files": {"panop')
    assert job().labelled == 3
    assert results(job.out) == calm
    assert (job.out / "panoptic/p002.png").stat().st_mtime_ns == stamps[job.out / "panoptic/p002.png"]
    Image.fromarray(picture(50)).save(job.images / "p002.png")
    job()
    assert results(job.out).keys() == calm.keys()
    assert results(job.out)["panoptic/p002.png"] != calm["panoptic/p002.png"]


def test_a_record_with_other_times_is_renewed(job):
    """Of a job that was copied with all its times, or of one that noted fewer of them: what is the same is kept."""
    job()
    folder = JobFolder(job.out)
    record = folder.read_record("p001.png")
    record["inputs"] = [[size, time, digest] for size, time, _, digest in record["inputs"]]
    folder.write_record(record)
    assert job().kept == 3
    assert [len(stamp) for stamp in folder.read_record("p001.png")["inputs"]] == [4]


def test_another_picture_of_the_same_size_and_time(job, tmp_path):
    """As tools make it that keep the time of what they turn, in formats of which all files are as large."""
    images, points = tmp_path / "bitmaps", tmp_path / "bitmaps.json"
    images.mkdir()
    path = images / "a.bmp"
    Image.fromarray(picture(0)).save(path)
    write_document(points, [entry("a.bmp")])
    job(images=images, points=points, out=tmp_path / "of")
    before, status = results(tmp_path / "of"), path.stat()
    Image.fromarray(picture(0)[:, ::-1]).save(path)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert path.stat().st_size == status.st_size
    job(images=images, points=points, out=tmp_path / "of")
    assert results(tmp_path / "of")["panoptic/a.png"] != before["panoptic/a.png"]


def test_a_copy_of_the_pictures_is_as_good(job, tmp_path):
    """As when they are copied to the disk of the machine at hand: their times differ."""
    job()
    stamps = {path: path.stat().st_mtime_ns for path in (job.out / "panoptic").iterdir()}
    copies = tmp_path / "copies"
    copies.mkdir()
    for path in job.images.iterdir():
        (copies / path.name).write_bytes(path.read_bytes())
    with Image.open(copies / "p001.png") as image:
        turned = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    turned.save(copies / "p001.png")
    job(images=copies)
    changed = {path.name for path, stamp in stamps.items() if path.stat().st_mtime_ns != stamp}
    assert changed == {"p001.png"}


def test_merging_parts_with_other_settings_is_refused(job):
    job(shard="1/2")
    job(shard="2/2", beta=0.2)
    with pytest.raises(ArgumentError, match=r"shard-2-of-2, .*config\.beta: 0\.2 -> 0\.1"):
        job(merge=True)


def test_files_of_others_are_left_alone(job):
    job.out.mkdir()
    (job.out / "panoptic.json").write_text("precious")
    with pytest.raises(ArgumentError, match=r"panoptic\.json that no job here made"):
        job()
    assert (job.out / "panoptic.json").read_text() == "precious"


# ------------------------------------------------------------------------------------------- file systems of clusters


def test_no_locks(job, monkeypatch):
    def refuse(file, kind):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr("fcntl.flock", refuse)
    with pytest.raises(JobStopped, match=r"No locks available; expected .* file system with locks"):
        job()


def test_locks_of_nfs(job, monkeypatch):
    """It wants a file open for reading for a shared lock, and for writing for an exclusive one."""
    real = fcntl.flock

    def emulated(file, kind):
        mode = fcntl.fcntl(file, fcntl.F_GETFL) & os.O_ACCMODE
        assert mode in (os.O_RDWR, os.O_RDONLY if kind & fcntl.LOCK_SH else os.O_WRONLY)
        real(file, kind)

    monkeypatch.setattr("fcntl.flock", emulated)
    assert job().labelled == 3
    with JobFolder(job.out).at_work():
        pass


def test_a_folder_that_cannot_be_written_to(job, monkeypatch, capsys):
    real = open

    def read_only(path, mode="r", *rest, **more):
        if str(path).startswith(str(job.out)) and set(mode) & set("awx+"):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        return real(path, mode, *rest, **more)

    monkeypatch.setattr("builtins.open", read_only)
    words = ["label-dataset", "--images", job.images, "--points", job.points, "--out", job.out]
    assert main([str(word) for word in words]) == 2
    assert "Read-only file system" in capsys.readouterr().err


def test_a_folder_that_cannot_be_flushed(job, monkeypatch):
    """What cannot be made to survive a power cut survives everything else."""
    real = os.fsync

    def flush(descriptor):
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        real(descriptor)

    monkeypatch.setattr("os.fsync", flush)
    assert job().labelled == 3


def test_a_table_needs_no_locks(job, monkeypatch):
    """SQLite's own locks are POSIX record locks, which some network file systems refuse."""
    opened, real = [], sqlite3.connect

    def connect(name, **more):
        opened.append(str(name))
        return real(name, **more)

    monkeypatch.setattr("sqlite3.connect", connect)
    job()
    assert opened
    assert all("nolock=1" in name or "immutable=1" in name for name in opened)


def test_names_in_any_script_and_in_none(tmp_path, forked_workers):
    images = tmp_path / "Fotos & Bilder"
    images.mkdir()
    names = ["été.png", "e\u0301te\u0301.png", "图片 1.png", "a\\b.png", "percent%20?#.png", "🙂.png", " .png"]
    for index, name in enumerate(names):
        Image.fromarray(picture(index)).save(images / name)
    shutil.copy(images / names[0], os.fsencode(images / "no unicode ") + b"\xff.png")
    points = write_document(tmp_path / "points.json", [entry(name) for name in names])
    out = tmp_path / "out #1?"
    made = label_dataset(images, points, out, workers=1, progress=False)
    assert (made.labelled, made.set_aside) == (len(names), 0), (out / "set_aside.csv").read_text()
    assert {path.name for path in (out / "panoptic").iterdir()} == set(names)
    summary = json.loads((out / "summary.json").read_text())
    assert summary["pictures_without_points"] == 1
    assert summary["pictures_without_points_first"] == ["no unicode \udcff.png"]
