"""A small configs folder of its own, in place of the shipped one."""

import textwrap

import pytest

FILES = {
    "common/train.py": """
        train = dict(max_iter=100, seed=3, seed_of_data=4, amp=dict(enabled=False), output_dir="out", sizes=(1, 2))
    """,
    "common/one_stage.py": """
        from imbdet.config import LazyCall as L
        from tests.config.toys import CrossEntropy, Criterion, KeepAll, Model

        model = L(Model)(
            criterion=L(Criterion)(classification=L(CrossEntropy)(), region_sampler=L(KeepAll)(), weighting=None),
            neck=None,
        )
    """,
    "common/two_stage.py": """
        from imbdet.config import LazyCall as L
        from tests.config.toys import CrossEntropy, Criterion, KeepAll, Model, Part

        model = L(Model)(
            roi_heads=L(Part)(
                region_features=None,
                criterion=L(Criterion)(classification=L(CrossEntropy)(), region_sampler=L(KeepAll)(), weighting=None),
            ),
            neck=None,
        )
    """,
    "baselines/one_stage.py": """
        from ..common.one_stage import model
        from ..common.train import train

        data = dict(root="data", train={"_target_": "tests.config.toys.Part", "root": "${data.root}"})
        model.width = "${train.seed}"
    """,
    "baselines/two_stage.py": """
        from ..common.train import train
        from ..common.two_stage import model

        data = dict(root="data", train={"_target_": "tests.config.toys.Part", "root": "${data.root}"})
    """,
    "remedies/class_fg_bg/focal.py": '''
        """Focal loss."""
        from imbdet.config import LazyCall as L, criterion_of
        from tests.config.toys import Focal

        baseline = "baselines/one_stage"

        def apply(cfg):
            criterion_of(cfg).classification = L(Focal)(gamma=2.0)
    ''',
    "remedies/class_fg_bg/ohem.py": '''
        """Hard examples."""
        from imbdet.config import LazyCall as L, criterion_of
        from tests.config.toys import Part

        baseline = "baselines/two_stage"

        def apply(cfg):
            criterion_of(cfg).weighting = L(Part)(kind="ohem")
    ''',
    "remedies/class_fg_fg/ghm.py": '''
        """Fills the slot of focal."""
        from imbdet.config import LazyCall as L, criterion_of
        from tests.config.toys import Part

        baseline = "baselines/one_stage"

        def apply(cfg):
            criterion_of(cfg).classification = L(Part)(kind="ghm")
    ''',
    "remedies/class_fg_fg/softer.py": '''
        """Acts on top of focal."""
        from imbdet.config import criterion_of

        baseline = "remedies/class_fg_bg/focal"
        wraps = ("focal",)

        def apply(cfg):
            criterion_of(cfg).classification.gamma = 1.0
    ''',
    "remedies/scale/dropout.py": '''
        """Only two-stage detectors have this slot."""
        from imbdet.config import LazyCall as L
        from tests.config.toys import Dropout

        baseline = "baselines/two_stage"

        def apply(cfg):
            cfg.model.roi_heads.region_features = L(Dropout)(kind="dropout")
    ''',
    "combined/bundle.py": """
        baseline = "baselines/two_stage"
        remedies = ["focal", "ohem"]
    """,
}


@pytest.fixture
def toy_configs(tmp_path, monkeypatch):
    """The folder of toy configs, which `configs_dir()` points to."""
    root = tmp_path / "configs"
    for name, text in FILES.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text).lstrip())
    monkeypatch.setattr("imbdet.config.files.configs_dir", lambda: root)
    return root


@pytest.fixture
def add_config(toy_configs):
    """add_config("remedies/scale/x.py", "text"): one more file in the toy folder."""

    def add(name, text):
        path = toy_configs / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text).lstrip())
        return path

    return add
