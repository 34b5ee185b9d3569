"""Which of the program's pictures the lesson shows: all of them are the program's own."""

FIGURES = ["reconstructions.png", "latents.png", "prior.png", "progress.png", "samples.png"]


def plot(out_dir, figure_dir):
    return {}
