"""What components written for ablate 0.1 and 0.2 import. New ones say `from ablate import Batch`."""

from ablate.trainers.contract import Batch as Batch
from ablate.trainers.contract import Data as Data
from ablate.trainers.contract import Fits as Fits
from ablate.trainers.contract import Loss as Loss
from ablate.trainers.contract import Model as Model
from ablate.trainers.contract import Split as Split
from ablate.trainers.contract import UsesTargets as Told
from ablate.trainers.errors import Unavailable as Unavailable

__all__ = ["Batch", "Data", "Fits", "Loss", "Model", "Split", "Told", "Unavailable"]
