"""Image classification (PiLim section 4: CIFAR10)."""
