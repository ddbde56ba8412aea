"""Configs small enough for tests, made from the real ones."""

from pathlib import Path

from infwidth.command import composed

SMALL = [
    "scale=demo", "logger=none", "trainer.progress=false", "trainer.epochs=3", "task.steps_per_epoch=6", "task.meta_batch=4", "task.evaluation_episodes=40",
    "task.probe_classes=3", "data.train_classes=12", "data.validation_classes=8", "data.test_classes=6", "data.drawers=6",
]  # fmt: skip


def small(folder: Path, *overrides: str) -> dict:
    """By default a finite network of width 8 on 12 glyphs; all output below ``folder``."""
    model = [] if any(o.startswith(("model=", "experiment=")) for o in overrides) else ["model=finite", "model.width=8"]
    return composed(
        "train",
        [
            "task=maml_omniglot",
            *model,
            *SMALL,
            f"paths.results={folder}/results",
            f"data.root={folder}/data",
            *overrides,
        ],
    )
