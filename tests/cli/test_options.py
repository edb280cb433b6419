"""The command line as it is made from records: options, help, and messages in its own words."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import fields
from typing import get_args

import pytest

from point2mask_ot import PseudoMaskConfig, __version__
from point2mask_ot.checks import ArgumentError
from point2mask_ot.cli import main
from point2mask_ot.cli.dataset import Draw, LabelDataset, Run
from point2mask_ot.cli.main import COMMANDS
from point2mask_ot.cli.masks import MaskOptions
from point2mask_ot.cli.options import choose, parse
from point2mask_ot.cli.words import complaint
from point2mask_ot.labelling import DatasetSettings
from point2mask_ot.labelling.settings import LabelSettings
from point2mask_ot.masks.settings import Preset

MASKS = "preset stride beta border reach compactness unary-weight on-conflict color-weight sigma edge-model"
OPTIONS = {
    "demo": f"picture sizes out {MASKS}",
    "label": f"points out maps add-colors size exif levels {MASKS}",
    "label-dataset": "images points sample truth split per-target seed sampler maps add-colors size output engine "
    "workers limit only shard merge max-errors max-pixels exif levels follow-links fresh no-thumbnails quiet out "
    f"{MASKS}",
    "annotate": f"points categories port no-browser only pixels exif levels out follow-links {MASKS}",
    "prepare voc": "voc sbd out follow-links",
    "prepare points": "panoptic png out n seed sampler no-stuff size-error write-png follow-links",
    "prepare import": "out format columns category stuff images",
    "prepare export": "png to out stuff polygons follow-links",
    "prepare import-psps": "panoptic png out follow-links",
    "prepare check": "panoptic png images follow-links",
}
"""What scripts may give."""
POSITIONAL = {
    "label": "PHOTO",
    "annotate": "PHOTOS",
    "prepare check": "POINTS",
    "prepare import": "PATH",
    "prepare export": "PANOPTIC",
}


def help_of(words, capsys, monkeypatch) -> str:
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit) as caught:
        main([*words, "--help"])
    assert not caught.value.code
    shown = capsys.readouterr()
    assert shown.err == ""
    assert "\x1b" not in shown.out
    assert max(map(len, re.sub("^usage: .*", "", shown.out).splitlines())) <= 80
    return shown.out


@pytest.mark.parametrize("command", OPTIONS)
def test_options(command, capsys, monkeypatch):
    shown = help_of(command.split(), capsys, monkeypatch)
    found = set(re.findall(r"^\W+ --([\w-]+)", shown, re.MULTILINE))
    assert found == set(OPTIONS[command].split())
    assert POSITIONAL.get(command, "") in shown
    assert "None" not in shown
    assert "False" not in shown
    assert "``" not in shown


def test_commands(capsys, monkeypatch):
    for words in ([], ["prepare"]):
        shown = help_of(words, capsys, monkeypatch)
        for command in OPTIONS:
            parent, _, name = command.rpartition(" ")
            assert (f"• {name or command} " in shown) == (words == parent.split())
    with pytest.raises(SystemExit) as caught:
        main(["--version"])
    assert not caught.value.code
    assert capsys.readouterr().out == f"{__version__}\n"


def test_help_shows_choices_and_defaults(capsys, monkeypatch):
    shown = help_of(["label-dataset"], capsys, monkeypatch)
    for words in (
        "--output {coco,voc}",
        "--exif {apply,ignore,refuse}",
        "--levels LOW HIGH",
        "--engine {local,ray}",
        "(default: 67108864)",
    ):
        assert words in shown
    for words in (
        "--sampler {uniform,center,border}",
        "--preset {best,paper,official}",
        "(default: 0)",
        "--max-errors INT",
    ):
        assert words in shown
    assert "(default: 2.0)" in help_of(["demo"], capsys, monkeypatch)


def test_a_field_without_a_default_inherits_none(capsys):
    with pytest.raises(SystemExit):
        main(["prepare", "import-psps", "--panoptic", "points.json", "--out", "out.json"])
    assert "--png" in capsys.readouterr().err


def test_choices_are_those_of_the_library():
    for preset in get_args(Preset):
        assert PseudoMaskConfig.preset(preset)
    with pytest.raises(ArgumentError, match="one of " + ", ".join(map(repr, get_args(Preset)))):
        PseudoMaskConfig.preset("none")


def test_every_setting_is_an_option():
    shown = {field.name for record in (LabelSettings, Run) for field in fields(record)}
    assert shown == {field.name for field in fields(DatasetSettings)} | {"no_thumbnails", "quiet"}
    assert {field.name for field in fields(MaskOptions)} - {"config"} <= {f.name for f in fields(PseudoMaskConfig)}


WRONG = {
    "no command": ([], "label-dataset"),
    "no such command": (["lable"], "point2mask: no command 'lable' (did you mean 'label'?)"),
    "no such command at all": (["serve"], "label-dataset"),
    "no such kind": (
        ["prepare", "chek", "--out", "o"],
        "point2mask prepare: no command 'chek' (did you mean 'check'?)",
    ),
    "nearly what is required": (
        ["label", "a.png", "--point", "p", "--out", "o"],
        "'--point' (did you mean '--points'?)",
    ),
    "twice": (["label", "a.png", "--out=a", "--points", "p", "--out", "b"], "--out: given 2 times; expected once"),
    "twice, in two ways": (["demo", "--edge-model", "a", "--edge_model", "b"], "--edge-model: given 2 times"),
    "nothing": (["label"], "--points"),
    "no such option": (["label", "a.png", "--points", "p.csv", "--out", "o", "--sigmas", "2"], "--sigma"),
    "no number": (["label", "a.png", "--points", "p.csv", "--out", "o", "--stride", "two"], "--stride"),
    "no value": (["label", "a.png", "--points", "p.csv", "--out"], "--out"),
    "no kind": (["prepare"], "import-psps"),
}


@pytest.mark.parametrize("case", WRONG)
def test_words_that_mean_nothing(case, capsys):
    words, expected = WRONG[case]
    with pytest.raises(SystemExit) as caught:
        main(words)
    assert caught.value.code == 2
    shown = capsys.readouterr()
    assert expected in shown.err
    assert shown.out == ""


def test_help_and_refusals_import_nothing_heavy():
    code = (
        "import sys, contextlib\n"
        "from point2mask_ot.cli import main\n"
        "for words in ('--help', 'label --help', 'label-dataset --help', 'annotate --help', 'prepare --help',\n"
        "              'prepare points --help', 'label', 'label-dataset --workers x'):\n"
        "    with contextlib.suppress(SystemExit): main(words.split())\n"
        "print('heavy:', *({'torch', 'numba', 'skimage', 'cv2', 'ot', 'scipy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "heavy:"


def command_of(words: str):
    record, prog, rest = choose(COMMANDS, "point2mask", words.split())
    return parse(record, prog, rest), prog


LABEL = "label a.png --points p.csv --out o"
DATASET = "label-dataset --images i --out o"
MESSAGES = {
    "an option": (
        f"{DATASET} --points p",
        ("label_dataset", "max_errors", -1, "x"),
        "--max-errors: got -1; expected x",
    ),
    "positional": (LABEL, ("point2mask label", "photo", "b", "x"), "PHOTO: got b; expected x"),
    "another name": (LABEL, ("PseudoMaskConfig", "name", "b", "x"), "--preset: got b; expected x"),
    "its own name below": (LABEL, ("label_picture", "config", "b", "x"), "--preset: got b; expected x"),
    "of the configuration": (LABEL, ("PseudoMasker", "config.stride", "b", "x"), "--stride: got b; expected x"),
    "a function": (LABEL, ("read_points", "path", "b", "x"), "--points: got b; expected x"),
    "a function of colours": (LABEL, ("structured_edges", "model_path", "b", "x"), "--edge-model: got b; expected x"),
    "a field elsewhere": (f"{DATASET} --sample s", ("Sampling", "n", 0, "x"), "--per-target: got 0; expected x"),
    "the one given": (f"{DATASET} --sample s", ("label_dataset", "points", "s", "x"), "--sample: got s; expected x"),
    "the other given": (f"{DATASET} --points p", ("label_dataset", "points", "p", "x"), "--points: got p; expected x"),
    "no option": (
        LABEL,
        ("solve", "tau", "b", "normalize=True"),
        "solve: argument 'tau': got b; expected normalize=True",
    ),
    "a flag": (
        f"{DATASET} --points p",
        ("label_dataset", "out", "o", "fresh=True to"),
        "--out: got o; expected --fresh to",
    ),
    "a value": (
        LABEL,
        ("read_voc", "x", "b", "(split='val')"),
        "read_voc: argument 'x': got b; expected (split='val')",
    ),
    "a choice": (
        f"{DATASET} --points p",
        ("f", "images", "b", '(exif="apply" is)'),
        "--images: got b; expected (--exif apply is)",
    ),
    "a part": (
        f"{DATASET} --points p",
        ("f", "merge", "b", "shard='i/n' or"),
        "--merge: got b; expected --shard i/n or",
    ),
    "a size": (LABEL, ("point2mask label", "sizes", "'b'", "x"), "--size: got 'b'; expected x"),
    "what it got": (f"{DATASET} --points p", ("f", "out", "fresh=True", "x"), "--out: got fresh=True; expected x"),
    "a quoted name": (
        f"{DATASET} --points p",
        ("f", "points", "b", "disk of `out`"),
        "--points: got b; expected disk of --out",
    ),
}


@pytest.mark.parametrize("case", MESSAGES)
def test_messages(case):
    words, error, expected = MESSAGES[case]
    command, prog = command_of(words)
    assert complaint(ArgumentError(*error), command, prog) == f"{prog}: {expected}"


def test_the_record_of_a_command_line():
    command, prog = command_of(
        f"{DATASET} --sample s.json --per-target 3 --max-errors -1 --output voc --quiet --no-thumbnails --fresh "
        "--sigma 2 --shard 1/2"
    )
    assert prog == "point2mask label-dataset"
    assert isinstance(command, LabelDataset)
    assert command.draw == Draw(3, 0, "uniform")
    assert command.job.settings == {
        **{field.name: field.default for field in fields(Run) if field.name not in ("no_thumbnails", "quiet")},
        "max_errors": -1,
        "fresh": True,
        "shard": "1/2",
        "progress": False,
        "thumbnails": False,
    }
    assert command.label == LabelSettings(sigma=2.0, output="voc")
    assert command.mask.changes == {}
    assert command_of(f"{LABEL} --stride 4 --beta=0.2")[0].mask.changes == {"stride": 4, "beta": 0.2}
    assert command_of(f"{LABEL} --border background --reach 3")[0].mask.changes == {"border": "background", "reach": 3}
    assert command_of(f"{LABEL} --size a=3 --size learned")[0].sizes == ("a=3", "learned")
    assert command_of(f"{DATASET} --points p --size a=3")[0].label == LabelSettings(sizes=("a=3",))
