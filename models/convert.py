"""From a trained QCFS network to the spiking network that reproduces it."""

import copy

from spikecut.errors import InputError
from spikecut.models.layers.qcfs import QCFS
from spikecut.models.network import SpikingNetwork
from spikecut.models.neurons.integrate_fire import IntegrateFire


def qcfs_to_spiking(network: SpikingNetwork) -> SpikingNetwork:
    """A copy in which every QCFS activation is an IntegrateFire neuron with threshold λ, v(0) = λ/2, amplitude λ.

    Bu et al., "Optimal ANN-SNN conversion for high-accuracy and ultra-low-latency spiking neural networks", ICLR 2022.
    InputError if there is no QCFS activation, or if training left a λ that is not positive.
    """
    spiking = copy.deepcopy(network)
    converted = 0
    for stage in spiking.chain():
        if isinstance(stage.neuron, QCFS):
            threshold = float(stage.neuron.threshold)
            if not threshold > 0:
                raise InputError(f"stage {stage.name}: the trained threshold λ is {threshold}; train again")
            stage.neuron = IntegrateFire(threshold, threshold / 2)
            converted += 1
    if not converted:
        raise InputError("the network has no QCFS activation to convert")
    return spiking
