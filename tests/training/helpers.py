"""Configs small enough for tests, made from the real ones."""

from pathlib import Path

from infwidth.command import composed

SMALL = [
    "scale=demo", "logger=none", "trainer.progress=false", "trainer.epochs=3", "task.steps_per_epoch=6", "task.meta_batch=4", "task.evaluation_episodes=40",
    "task.probe_classes=3", "data.train_classes=12", "data.validation_classes=8", "data.test_classes=6", "data.drawers=6",
]  # fmt: skip

SMALL_WORD2VEC = [
    "scale=demo", "logger=none", "trainer.progress=false", "trainer.epochs=3", "task.words_per_step=50", "task.shared_negatives=16",
    "data.running_words=4000", "data.pairs=6", "data.topic_words=3", "data.role_words=4", "data.common_words=10", "data.questions=20",
]  # fmt: skip


def small(folder: Path, *overrides: str) -> dict:
    """By default a finite network of width 8, MAML on 12 glyphs or word vectors of 100 words; all output below ``folder``."""
    text = any(o.startswith(("task=word2vec", "experiment=word2vec/")) for o in overrides)
    model = [] if any(o.startswith(("model=", "experiment=")) for o in overrides) else ["model=finite", "model.width=8"]
    return composed(
        "train",
        [
            "task=word2vec" if text else "task=maml_omniglot",
            *model,
            *(SMALL_WORD2VEC if text else SMALL),
            f"paths.results={folder}/results",
            f"data.root={folder}/data",
            *overrides,
        ],
    )
