# The public names of infwidth, and where each is: what type checkers read, and what `import infwidth` reads too.
from infwidth.api.abc import Parametrization as Parametrization
from infwidth.api.abc import abc as abc
from infwidth.api.card import Card as Card
from infwidth.api.coordinates import CoordinateCheck as CoordinateCheck
from infwidth.api.coordinates import coordinate_check as coordinate_check
from infwidth.api.files import load as load
from infwidth.api.files import save as save
from infwidth.api.kernels import kernel_regression as kernel_regression
from infwidth.api.kernels import nngp as nngp
from infwidth.api.kernels import ntk as ntk
from infwidth.api.loop import History as History
from infwidth.api.loop import accuracy as accuracy
from infwidth.api.loop import fit as fit
from infwidth.api.models import finite as finite
from infwidth.api.models import mu_limit as mu_limit
from infwidth.api.models import pi_limit as pi_limit
from infwidth.api.models import pi_net as pi_net
from infwidth.api.models import sample as sample
from infwidth.api.optimizer import SGD as SGD
from infwidth.api.words import WordVectors as WordVectors
from infwidth.errors import InfwidthError as InfwidthError

__version__: str
