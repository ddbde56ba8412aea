"""task=cifar10: classification of images, of CIFAR10 or of data of the same form."""

from infwidth.tasks.description import Description
from infwidth.tasks.images.task import Images, ImagesConfig

TASK = Description("cifar10", ImagesConfig, "images", Images)
