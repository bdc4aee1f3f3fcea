"""What one decision of a whole network costs, counted from the configuration."""

from __future__ import annotations

import itertools
import math

from ..agents.config import AgentConfig, network_shapes
from ..config import NetworkConfig


def cost(network: NetworkConfig, agent: AgentConfig) -> dict[str, float]:
    """What one decision of the whole network costs when it runs (the network that acts, without critics).

    Returns:
        inputs and outputs of one head; parameters and multiply-adds of all heads; the numbers of `knowledge` aside.
    """
    stack, sizes = network_shapes(agent, network)["critic"]
    heads = stack[-1]
    products = sum(a * b for a, b in itertools.pairwise(sizes))
    return {
        "heads": heads,
        "inputs": sizes[0],
        "outputs": sizes[-1],
        "parameters": acting_parameters(network, agent),
        "multiply_adds": heads * products,
    }


def acting_parameters(network: NetworkConfig, agent: AgentConfig) -> int:
    """Parameters of the networks that act for all APs; those of a graph are the same for any number of APs.

    Raises:
        ValueError: a centralized head with too many joint actions.
    """
    shapes = network_shapes(agent, network)
    acting = shapes.values() if agent.paradigm == "graph" else [(shapes["critic"][0][-1:], shapes["critic"][1])]
    return sum(math.prod(heads) * sum((a + 1) * b for a, b in itertools.pairwise(sizes)) for heads, sizes in acting)
