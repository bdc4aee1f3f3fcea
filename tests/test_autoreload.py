"""Objects that were made before a module was edited and reloaded, as IPython's autoreload does, go on working."""

import subprocess
import sys
import textwrap

import pytest

SCRIPT = textwrap.dedent("""
    import importlib, sys
    from rrmlab import *

    network = NetworkConfig(episode_ttis=20, warmup_ttis=5)
    data = collect(make_scheduler("random_walk"), network, 60)
    agent = AgentConfig(num_updates=2, batch_size=8, hidden=(4,))
    policies = train_offline(data, agent, [0, 1], progress=False)
    deployment = Deployment.draw(network, 2)
    old = sys.modules[sys.argv[1]]
    before = {name: value for name, value in vars(old).items() if isinstance(value, type)}
    importlib.reload(old)
    changed = [name for name, value in before.items() if getattr(old, name) is not value]
    assert changed, "the module defines no class"
    # Autoreload also renews the names in the modules that had imported them.
    for module in list(sys.modules.values()):
        for name in changed:
            if getattr(module, name, None) is before[name]:
                setattr(module, name, getattr(old, name))
    evaluate(make_scheduler("full_reuse"), network, 2)
    evaluate(policies[0], network, deployments=deployment)
    evaluate_seeds(policies, network, 2)
    train_offline(data, agent, [0], progress=False)
    assert len(mix([data, data], [1, 1], 20)) == 20
    try:
        evaluate(make_scheduler("full_reuse"), {"num_aps": 4}, 2)
    except ValueError as error:
        assert "must be a NetworkConfig, got dict" in str(error)
    else:
        raise AssertionError("a dict was taken for a NetworkConfig")
""")


@pytest.mark.parametrize(
    "module", ["config", "game.deployment", "learning.dataset", "agents.config", "agents.policy", "game.schedulers"]
)
def test_after_a_module_was_reloaded(module):
    run = subprocess.run([sys.executable, "-c", SCRIPT, f"rrmlab.{module}"], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
