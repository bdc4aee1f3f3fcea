# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 00 · A walk through the network
#
# <!-- answer -->
# **Answer.** In the pictured network the best decision silences at least one AP in 85% of the TTIs.
# <!-- /answer -->
#
# **Question.** What does "radio resource management" decide, TTI by TTI, and what does a good decision look like?
#
# **What the paper says.** A few access points (APs) share one frequency band. Every millisecond (a TTI) each of them
# either serves one of its users or stays silent, for whoever transmits disturbs everybody else. Users should get a high
# rate in sum, and the weakest of them (the tail) must not be starved. The paper calls each AP an agent and lets it learn
# this; its baselines are rules.
#
# **What is here.** Pictures to get an eye for the problem, no result. First one network under four rules; then, with a
# running kernel, controls to choose the rule or a trained policy, the network and the TTI, and an agent that learns.
#
# **Running time.** A few seconds, read or recomputed, at every preset.

# %% tags=["parameters"]
preset = "paper"  # sizes: "smoke", "quick" or "paper"; here only the length of the episode
recompute = False  # False draws the pictures from the stored tables, True computes them again
device = "cpu"  # not used here: one network is too small for anything but "cpu"
seed = 0  # of the deployment: whole numbers from 0 on
num_users = 24  # users of the network, at least twice its 4 APs; policies are trained for 24

# %%
import os
from dataclasses import replace

import pandas as pd
from IPython.display import display

from rrmlab import AgentConfig, collect, evaluate_seeds, make_scheduler, train_offline
from rrmlab.study import explore, reading
from rrmlab.study.live import LiveCurve
from rrmlab.study.notebook import Study

study = Study("00_explore", preset, recompute, device, seed, num_users=num_users)
network = replace(study.network, num_users=num_users, episode_ttis=min(500, study.network.episode_ttis))

# %% [markdown]
# ## Four rules in the same millisecond
#
# Same network, same channels, same TTI; only the rule differs. The TTI is the first one from the middle of the episode on in
# which the exhaustive search silences one or two APs. A square is an AP, filled while it transmits. Each user has
# the colour and marker of its AP. A thick line is a transmission, labelled with the SINR at which it arrives: signal over
# interference and noise.
#
# * **Full reuse**: every AP serves its user of the highest PF factor (rate it could get now over its average so far).
#   No channel is left idle, and everybody is disturbed by everybody.
# * **TDM**: one user of the whole network at a time. Nobody is disturbed, and one AP works.
# * **ITLinQ (tuned)**: links are admitted in the order of their PF factor, and only if they disturb the admitted ones and
#   are disturbed by them little enough. It needs the gains *between* cells. Here with M = 10 dB and η = 0.2.
# * **Exhaustive**: tries every joint action and takes the best weighted sum of rates. It needs all gains, and (N+1)^I
#   trials: the yardstick. Silence is not its only means; it may also keep all APs on and pick users that stand better.

# %%
PICTURED = ("Full reuse", "TDM", "ITLinQ (tuned)", "Exhaustive")
if study.recompute:
    choices = explore.choices(study.data)
    recorded = [explore.record(choices[method](), network, seed, method=method) for method in PICTURED]


def at_one_tti():
    tti = explore.where_silent(recorded[PICTURED.index("Exhaustive")])
    return pd.concat([r.nodes(tti) for r in recorded])


nodes = study.table("", at_one_tti)

# %%
tti, on = nodes.tti.iloc[0], nodes[(nodes.kind == "AP") & (nodes.method == "Exhaustive")].on
caption = f"""One network in TTI {tti} under four rules; the exhaustive search silences {(~on).sum()} of {len(on)} APs. Squares
are APs, filled where they transmit; users have the colour and marker of their AP. A thick line is a transmission, with the
SINR at which it arrives in dB. Titles: APs that transmit, and the sum of the rates in this TTI.
One TTI, so there is no interval."""
study.show(explore.snapshots(nodes, network.area_m), caption=caption)

# %% [markdown]
# ## The same rules over time
#
# One TTI says little, for the rules take turns among users. What counts is each user's mean rate over the episode: the
# sum of all, and the tail, here the 5th percentile over the users of this one network. (The later notebooks pool the
# users of 100 networks; one network is an anecdote.)

# %%
running = study.table("running", lambda: pd.concat([r.running() for r in recorded]))
caption = """Sum (left) and 5-percentile (right) of the users' mean rates up to each TTI, from TTI 50 on, of one network under
four rules. One episode, so there is no interval."""
study.show(explore.running_rates(running, min(50, network.episode_ttis // 4)), "running", caption)

# %%
by_method = running.groupby("method", sort=False)
final = by_method[["sum_rate", "tail_rate"]].last().assign(mean_aps_on=by_method.on.mean())
reading.shown(final.reset_index())

# %% [markdown]
# ## Your turn
#
# In JupyterLab run all cells (*Run → Run All Cells*); then the controls appear below this one.
#
# | control | what it does |
# |---|---|
# | method | a scheduler, or a trained policy if notebooks 03 and later left any under `data/` (with the start of its run's name) |
# | seed, users | another network; more users make it denser (policies were trained with 24 and say so) |
# | TTI | drag, or click on it and use the arrow keys: the decision, the SINRs and the means so far |
# | ▶ and TTIs a step | lets it run |
#
# Things to try. Full reuse at two TTIs in a row: often an AP serves the same user again, for the fading lasts some 30 TTIs.
# Max-SINR: watch the tail stay at zero. Exhaustive: count how many APs are silent. A network with an AP in the corner: who
# is disturbed by it?

# %%
if "RRMLAB_BATCH" in os.environ:  # executed by the `rrmlab` command: nobody is there to turn the controls
    print("The controls appear here when the notebook is run in JupyterLab.")
else:
    display(explore.tour(study.data, network, seed))

# %% [markdown]
# ## An agent learns
#
# With a running kernel the cell below trains a centralized agent from the log of a random walk, with two seeds, and draws
# its R_score on ten validation deployments anew after every 50 updates. It takes some ten seconds. Trainings of minutes are better followed in TensorBoard: `train_offline(..., logdir="runs")`
# writes their losses and scores, and `tensorboard --logdir runs` shows them.

# %%
if "RRMLAB_BATCH" in os.environ:
    print("The curve appears here when the notebook is run in JupyterLab.")
else:
    log = collect(make_scheduler("random_walk"), network, 20_000)
    agent = AgentConfig(paradigm="centralized", backbone="dqn", alpha=0.1, gamma=0.0, num_updates=500)
    curve = LiveCurve(lambda policies: evaluate_seeds(policies, network, 10, split="validation"))
    policies = train_offline(log, agent, seeds=range(2), evaluate_every=50, evaluation=curve)

# %% [markdown]
# ## What follows
#
# * `01_environment` shows that what was just seen is what the model says it is: each part against its closed form.
# * `02_baselines` runs all rules on many networks and asks how much room there is above the paper's baselines.
#
# ## In practice
#
# <!-- practice -->
# * Judge a rule by the users' means over an episode, the weakest of them too, and not by a TTI: in this network full
#   reuse ends at 16.3 bit/s/Hz in sum and 0.28 for the 5-percentile user, the best action of every TTI at 20.3 and
#   0.43.
# * Look at maps of your own network before training: who disturbs whom decides what coordination is worth.
# <!-- /practice -->

# %%
study.finish()
study.folded_versions()
