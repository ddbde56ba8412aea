"""Configs small enough for tests, made from the real ones."""

from pathlib import Path

from infwidth.runs.compose import composed

SMALL = [
    "scale=demo", "logger=none", "trainer.progress=false", "trainer.epochs=3", "task.steps_per_epoch=6", "task.meta_batch=4", "task.evaluation_episodes=40",
    "task.probe_classes=3", "data.train_classes=12", "data.validation_classes=8", "data.test_classes=6", "data.drawers=6",
]  # fmt: skip

SMALL_WORD2VEC = [
    "scale=demo", "logger=none", "trainer.progress=false", "trainer.epochs=3", "task.words_per_step=50", "task.shared_negatives=64",
    "data.running_words=4000", "data.pairs=6", "data.topic_words=3", "data.role_words=4", "data.common_words=10", "data.questions=20",
]  # fmt: skip

SMALL_IMAGES = [
    "scale=demo",
    "logger=none",
    "trainer.progress=false",
    "trainer.epochs=3",
    "task.subset=120",
    "task.validation_images=40",
    "task.probe_images=5",
]


def small(folder: Path, *overrides: str) -> dict:
    """By default a finite network of width 8: MAML on 12 glyphs, word vectors of 100 words or 120 digits; all output below ``folder``."""
    given = " ".join(o.split("=", 1)[1] for o in overrides if o.startswith(("task=", "experiment=")))
    task, options = "maml_omniglot", SMALL
    if "word2vec" in given:
        task, options = "word2vec", SMALL_WORD2VEC
    elif "maml_pi" in given:
        task, options = "maml_pi", [*SMALL, "task.test_seeds=2", "task.test_episodes=40"]
        if any(o.startswith(("model=nn", "experiment=maml_pi/n")) for o in overrides):
            options = [o for o in options if not o.startswith("trainer.epochs")]
    elif "cifar10" in given:
        task, options = "cifar10", SMALL_IMAGES
        kernel = any(
            o.startswith(("model=nn", "model=nt", "experiment=cifar10/nn", "experiment=cifar10/nt")) for o in overrides
        )
        options = [o for o in options if not kernel or not o.startswith(("trainer.epochs", "task.validation"))]
    model = [] if any(o.startswith(("model=", "experiment=")) for o in overrides) else ["model=finite", "model.width=8"]
    return composed(
        "train",
        [f"task={task}", *model, *options, f"paths.results={folder}/results", f"data.root={folder}/data", *overrides],
    )
