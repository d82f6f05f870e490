"""
What changes in the course of a run?
====================================

Learning rate, teacher's momentum, its temperature and the weights of the losses are functions of the
step. A preset knows all of them once it is told how long the run is.

"""

# %%
# The released recipe
# -------------------

from matplotlib import pyplot as plt

from fsr.schedules import cosine, linear_warmup, switch, warmup_cosine

total = 20_000
steps = range(0, total + 1, 50)
schedules = {
    "learning rate": warmup_cosine(
        6e-5, warmup_steps=1500, total_steps=total, warmup_ratio=0.1
    ),
    "teacher's momentum": cosine(0.9995, 1.0, total_steps=total),
    "teacher's temperature": linear_warmup(0.04, 0.07, warmup_steps=2500),
    "segmentation's weight": switch(0.0, 0.1, at_step=2000),
}

# sphinx_gallery_alt = "Four curves over 20,000 steps: learning rate, momentum, temperature and the weight of the segmentation loss."
figure, table = plt.subplots(4, 1, figsize=(5.2, 7), sharex=True)
for axes, (name, schedule) in zip(table, schedules.items()):
    axes.plot(steps, [schedule(step) for step in steps])
    axes.set_title(name, loc="left")
    axes.ticklabel_format(axis="y", style="plain", useOffset=False)
table[-1].set(xlabel="step", xticks=[0, 5000, 10_000, 15_000, 20_000])

# %%
# A schedule is a value
# ---------------------
# It prints, compares and pickles, and nothing in it counts steps: a run that is resumed needs none of
# its state. Past its end it keeps the last value.

momentum = schedules["teacher's momentum"]
print(momentum)
print(momentum(0), momentum(total // 2), momentum(10 * total))
