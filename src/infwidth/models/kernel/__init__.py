"""The NNGP and NTK limits: kernels, kernel gradient descent and kernel regression."""

from infwidth.models.kernel.bag_machine import BagKernelMachine
from infwidth.models.kernel.deep import DeepKernel
from infwidth.models.kernel.general import GeneralKernel
from infwidth.models.kernel.machine import KernelMachine
from infwidth.models.kernel.one_layer import Kernel
from infwidth.models.kernel.regression import KernelRegression

__all__ = ["BagKernelMachine", "DeepKernel", "GeneralKernel", "Kernel", "KernelMachine", "KernelRegression"]
