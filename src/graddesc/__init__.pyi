from graddesc import losses as losses
from graddesc import masks as masks
from graddesc import problems as problems
from graddesc import schedules as schedules
from graddesc.isa import build_config as build_config
from graddesc.restore import restore as restore
from graddesc.schedules import Constant as Constant
from graddesc.schedules import Cosine as Cosine
from graddesc.schedules import Exponential as Exponential
from graddesc.schedules import InverseSqrt as InverseSqrt
from graddesc.schedules import InverseTime as InverseTime
from graddesc.schedules import Polynomial as Polynomial
from graddesc.schedules import StepDecay as StepDecay
from graddesc.schedules import WarmUp as WarmUp

__version__: str
