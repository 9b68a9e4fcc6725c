"""Experiments that need no configuration file, written as the file would be."""

from __future__ import annotations

from typing import Any

#: 1 797 real handwritten 8×8 digits and a vision transformer of 0.2 M parameters: two minutes on two cores. Half of the images
#: are tested on: with 600, the images were 62 % of the variance of a paired difference. Epochs, batch size and peak learning rate
#: were chosen on validation images, over seeds that no default run uses (bench/recipe.py, docs/speed-replicates.md).
DIGITS: dict[str, Any] = {
    "name": "digits",
    "seeds": 5,
    "sparsities": (0.5, 0.6, 0.7, 0.8),
    "data": {"name": "digits", "train": 700, "validation": 197, "test": 900, "split_seed": 0},
    "model": {
        "name": "vit",
        "img_size": 8,
        "patch_size": 2,
        "in_chans": 1,
        "num_classes": 10,
        "embed_dim": 64,
        "depth": 4,
        "num_heads": 4,
        "global_pool": "avg",
        "class_token": False,
    },
    "training": {"epochs": 60, "batch_size": 32, "learning_rate": 8e-3, "weight_decay": 0.05},
    "calibration": {"batches": 40, "batch_size": 64},
}

#: The setting of design §3's prototype: 25 000 training and 4 000 test images, a network of 1.0 M parameters, 10 epochs, no
#: augmentation. The validation part comes out of train/. The network's img_size, in_chans and num_classes are the data's.
CIFAR10_VIT_MICRO: dict[str, Any] = {
    "name": "cifar10-vit-micro",
    "seeds": 5,
    "sparsities": (0.5, 0.6, 0.7, 0.8),
    "data": {"name": "cifar10", "train": 25_000, "validation": 5_000, "test": 4_000, "split_seed": 0},
    "model": {
        "name": "vit",
        "patch_size": 8,
        "embed_dim": 128,
        "depth": 5,
        "num_heads": 4,
        "global_pool": "avg",
        "class_token": False,
    },
    "training": {"epochs": 10, "batch_size": 128, "learning_rate": 2e-3, "weight_decay": 0.05},
    "calibration": {"batches": 40, "batch_size": 64},
}

#: timm's ViT-Small with patches of 4 pixels, trained from scratch on all but 5 000 of the training images. Its settings follow
#: what is published for such networks on CIFAR-10 (S. H. Lee et al., arXiv 2112.13492; H. Gani et al., arXiv 2210.07240: 93 % and
#: more from smaller networks in 100 epochs, with mixup as well); they were not tuned and have not been run to the end here.
CIFAR10_VIT_SMALL: dict[str, Any] = {
    "name": "cifar10-vit-small",
    "seeds": 5,
    "sparsities": (0.5, 0.6, 0.7, 0.8),
    "data": {"name": "cifar10", "train": 45_000, "validation": 5_000, "test": 10_000, "split_seed": 0},
    "model": {"name": "vit", "patch_size": 4, "embed_dim": 384, "depth": 12, "num_heads": 6, "drop_path_rate": 0.1},
    "training": {
        "epochs": 200,
        "batch_size": 256,
        "learning_rate": 1e-3,
        "weight_decay": 0.05,
        "precision": "bf16",
        "crop_padding": 4,
        "flip": True,
        "randaugment": 2,
        "magnitude": 9,
    },
    "calibration": {"batches": 40, "batch_size": 128},
}

#: The same network and data, trained half as long and harder: mixup and CutMix at the α of DeiT (H. Touvron et al., arXiv
#: 2012.12877) and its label smoothing; warm-up over a tenth and cosine as in arXiv 2112.13492. Not tuned either, and not run.
CIFAR10_VIT_SMALL_100: dict[str, Any] = {
    **CIFAR10_VIT_SMALL,
    "name": "cifar10-vit-small-100",
    "training": {
        **CIFAR10_VIT_SMALL["training"],
        "epochs": 100,
        "mixup": 0.8,
        "cutmix": 1.0,
        "label_smoothing": 0.1,
        "schedule": "cosine",
        "warmup": 10,
    },
}

_ALL = (DIGITS, CIFAR10_VIT_MICRO, CIFAR10_VIT_SMALL, CIFAR10_VIT_SMALL_100)
PRESETS: dict[str, dict[str, Any]] = {preset["name"]: preset for preset in _ALL}
DEFAULT_PRESET = "digits"
