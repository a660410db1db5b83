from graddesc import losses as losses
from graddesc import masks as masks
from graddesc import schedules as schedules
from graddesc.isa import build_config as build_config
from graddesc.restore import restore as restore
from graddesc.schedules import Constant as Constant
from graddesc.schedules import InverseTime as InverseTime

__version__: str
