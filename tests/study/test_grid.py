"""The grid: which cells there are, what they are called, and what they share."""

import pytest
from study_helpers import GRID

from clir_cli.errors import UserError
from clir_cli.stages.support.workspace import Workspace
from clir_cli.study import experiment as files
from clir_cli.study.grid import Base, expand
from clir_cli.study.tasks import Study
from clir_cli.suites import load_settings


@pytest.fixture
def points(experiment, tmp_path):
    """Expand an experiment: ``points(text)``."""

    def call(text=GRID, *assignments, name="tiny"):
        read = files.load(str(experiment(name, text)))
        return expand(read, Base("sample", None, tuple(assignments)))

    return call


@pytest.fixture
def study(experiment, tmp_path):
    """Return the study of experiments: ``study(one=text, two=text)``."""

    def call(**texts):
        found = Study(Workspace(load_settings("sample"), tmp_path))
        for name, text in texts.items():
            read = files.load(str(experiment(name, text)))
            found.add(read, expand(read, Base("sample")))
        return found

    return call


def labels(points):
    return [point.cell.label for point in points]


def grid(methods, rest):
    head = 'title = "t"\nquestion = "?"\nmetrics = ["map"]\n[grid]\npairs = ["sw-en"]\n'
    return f"{head}methods = {methods}\n{rest}"


def test_a_point_at_the_suites_own_settings_has_no_variant(points):
    assert labels(points()) == ["zero-shot", "ot", "bm25", "ot.eps0.2"]
    assert labels(points(GRID, "transport.eps=0.2")) == ["zero-shot", "ot.eps0.05", "bm25", "ot"]


def test_what_a_setting_does_not_reach_is_there_once(points):
    told = {point.cell.label: point.values for point in points()}
    assert told["zero-shot"] == {"transport.eps": None}
    assert told["ot.eps0.2"] == {"transport.eps": 0.2}
    text = grid('["zero-shot", "english", "ot"]', '"student.layers" = [0, 1]\nseeds = [0, 1]')
    assert labels(points(text)) == [
        "zero-shot", "english", "ot", "ot.seed1", "zero-shot.layers1", "ot.layers1",
        "ot.layers1.seed1",
    ]  # fmt: skip


def test_a_variant_has_its_name_and_its_methods(points):
    text = grid('["ot", "kd-mse"]', '[[variants]]\nname = "plain"\nmethods = ["ot"]\n'
                'set = { student.vocabulary = "initial" }')  # fmt: skip
    assert labels(points(text)) == ["ot", "kd-mse", "ot.plain"]
    assert labels(points(text, "student.vocabulary=initial")) == ["ot", "kd-mse"]


def test_settings_of_the_whole_experiment_stand_last(points):
    rest = '"transport.eps" = [0.2]\n[suites.sample.settings]\n"training.clip" = 2.0'
    (point,) = points(grid('["ot"]', rest))
    assert point.cell.variant == "eps0.2-clip2"
    assert point.names == ("ot.eps0.2-clip2", "ot.eps0.2")
    (point,) = points(grid('["ot"]', rest), "training.clip=2")
    assert point.cell.variant == "eps0.2"  # the user's word is everybody's


def test_one_student_of_all_pairs(points, study):
    text = grid('["zero-shot", "ot"]', "joint = [false, true]").replace(
        '["sw-en"]', '["sw-en", "de-en"]'
    )
    found = points(text)
    assert [point.label for point in found][:3] == [
        "sw-en zero-shot on sample", "sw-en ot on sample", "sw-en ot.joint-de+sw-en on sample",
    ]  # fmt: skip
    students = [task for task in study(tiny=text).tasks.values() if task.verb == "distill"]
    assert len(students) == 3
    (joint,) = (task for task in students if task.ref.cell.joint)
    assert joint.command == "clir distill --lang de-en,sw-en --joint --method ot --suite sample"
    assert sum("(bitext)" in need for need in joint.needs) == 2


def test_collections_without_the_queries_are_left_out(points):
    rest = 'collections = ["sample", "beir-scifact", "mlqa"]'
    text = grid('["ot", "english"]', rest).replace('["sw-en"]', '["sw-en", "de-en"]')
    assert [(str(point.pair), point.cell.method, point.collection) for point in points(text)] == [
        ("sw-en", "ot", "sample"), ("sw-en", "english", "sample"),
        ("de-en", "ot", "sample"), ("de-en", "english", "sample"),
        ("sw-en", "english", "beir-scifact"), ("de-en", "english", "beir-scifact"),
        ("sw-en", "english", "mlqa"), ("de-en", "ot", "mlqa"), ("de-en", "english", "mlqa"),
    ]  # fmt: skip


def test_tasks_are_shared_and_models_are_trained_first(study):
    rest = (
        '[[variants]]\nname = "more"\nset = { "student.model" = "augment.small", '
        '"augment.sentences" = 50 }\n[[variants]]\nname = "taught"\n'
        'set = { "teacher.model" = "monolingual" }'
    )
    tasks = study(tiny=grid('["ot", "english", "dictionary"]', rest)).tasks
    augmented = tasks["sample/sw-en/ot.more/student"]
    (initial,) = (need for need in augmented.needs if "augment" in need)
    assert tasks[initial].command == (
        "clir train --recipe augment --lang sw-en --variant small --suite sample "
        "--set augment.sentences=50"
    )
    assert "augment.sentences=50" in augmented.command
    taught = tasks["sample/teachers/monolingual/sw-en/ot/student"]
    teacher = "sample/en/monolingual/model"
    assert teacher in taught.needs
    assert teacher in tasks["sample/teachers/monolingual/index/sample"].needs
    assert sum("(bitext)" in need for need in tasks[teacher].needs) == 7  # English of all pairs
    assert len([task for task in tasks.values() if task.verb == "index"]) == 2
    assert all(set(task.needs) <= tasks.keys() for task in tasks.values())
    order = {key: place for place, key in enumerate(tasks)}
    assert all(order[need] < order[key] for key, task in tasks.items() for need in task.needs)


def test_translators_of_several_sizes_are_trained_first(study, points):
    text = grid('["nmt", "nmt-bm25"]', '"bitext.max_pairs" = [200, 0]')
    names = ["nmt", "nmt-bm25", "nmt.max_pairs200", "nmt-bm25.max_pairs200"]
    assert sorted(labels(points(text))) == sorted(names)
    tasks = study(tiny=text).tasks
    translators = [key for key in tasks if "/translator" in key]
    assert translators == [
        "sample/sw-en/translator.max_pairs200/model", "sample/sw-en/translator/model",
    ]  # fmt: skip
    assert tasks[translators[0]].command == (
        "clir train --recipe translator --lang sw-en --variant max_pairs200 --suite sample "
        "--set bitext.max_pairs=200"
    )
    assert translators[0] in tasks["sample/sw-en/nmt.max_pairs200/sample"].needs
    assert not [key for key in tasks if key.startswith("download model trained")]


def test_a_fetched_translator_names_no_variant_and_trained_ones_are_beside_it():
    found = expand(files.load("nmt"), Base("paper"))
    told = {
        point.cell.label: point.settings.nmt.model
        for point in found
        if point.pair.query == "sw" and point.cell.method == "nmt"
    }
    fetched = told.pop("nmt")
    assert fetched == "facebook/nllb-200-distilled-600M"
    assert told == {
        f"nmt.trained{size}": "trained" for size in ("-max_pairs1000", "-max_pairs4000", "")
    }
    assert "nmt" in labels(expand(files.load("nmt"), Base("open")))


def test_centred_and_not_are_beside_each_other(study, points):
    text = grid('["ot", "zero-shot", "english"]', '"teacher.centre" = [false, true]')
    assert [(point.column, str(point.run.cell.label)) for point in points(text)] == [
        ("ot", "ot"), ("zero-shot", "zero-shot"), ("english", "english"),
        ("ot.centred", "ot"), ("zero-shot.centred", "zero-shot"), ("english.centred", "english"),
    ]  # fmt: skip
    tasks = study(tiny=text).tasks
    centred = tasks["sample/teachers/centred/sw-en/ot/student"]
    assert centred.command.endswith("--suite sample --set teacher.centre=true")
    assert len([task for task in tasks.values() if task.verb == "index"]) == 2


def test_one_name_for_two_things_is_refused(study):
    variant = '[[variants]]\nname = "plain"\nset = {{ "transport.eps" = {} }}'
    one, two = (grid('["ot"]', variant.format(eps)) for eps in (0.1, 0.3))
    with pytest.raises(UserError, match=r"two: .*ot.plain/student would be made with") as caught:
        study(one=one, two=two)
    assert "with transport.eps=0.3, and in one with transport.eps=0.1" in str(caught.value)


def test_an_index_waits_for_every_download_of_its_documents(study):
    text = grid('["ot"]', 'collections = ["sample", "mlqa"]')
    shares = study(tiny=text.replace('"sw-en"', '"de-en", "tl-en"'))
    for share, pairs in (((1, 1), ["de-en", "tl-en"]), ((2, 3), ["tl-en"])):
        tasks = {task.key: task for task in shares.tasks_of(shares.cells(share))}
        downloads = [tasks[key].ref for key in tasks["sample/index/sample"].after]
        assert [str(ref.pair) for ref in downloads] == pairs
        assert {ref.settings.collection for ref in downloads} == {"sample"}


def test_an_axis_that_no_method_depends_on_is_refused(points):
    text = grid(["bm25"], '"transport.eps" = [0.05, 0.2]')
    with pytest.raises(UserError, match=r"transport\.eps: no method of the grid depends on it"):
        points(text)
    with pytest.raises(UserError, match=r"evaluation\.resamples: no method of the grid depends"):
        points(grid(["ot"], '"evaluation.resamples" = [100, 200]'))


def test_two_experiments_of_one_name_are_refused(clir, tmp_path, experiment):
    first = experiment()
    (tmp_path / "more").mkdir()
    second = tmp_path / "more" / first.name
    second.write_text(first.read_text())
    outcome = clir("reproduce", first, second, "--dry-run", "--home", tmp_path / "home")
    assert outcome.code == 2
    assert "tiny: two experiments of one name would have one table" in outcome.err
    assert clir("reproduce", first, first, "--dry-run", "--home", tmp_path / "home").code == 0
