"""Whole drawings: the same folder, start and fresh noise, in diffusers and in our programs. Folders of ours are trained for a
moment by 04_unet; those of theirs have random weights and every scheduler that we read."""
import contextlib
import json
import math
from unittest import mock

import numpy as np
import torch
from diffusers import (DDIMPipeline, DDIMScheduler, DDPMPipeline, DDPMScheduler, DPMSolverMultistepScheduler, EulerDiscreteScheduler,
                       PNDMScheduler)
from diffusers.pipelines.ddim import pipeline_ddim
from diffusers.pipelines.ddpm import pipeline_ddpm
from diffusers.schedulers import scheduling_ddpm

import samplers
import unet2d
from common import Refused, call, difference, emptied, normal, ours, randomise, reference, relative
from noise import SEED, fresh_noise

MODELS = {  # of ours: 04_unet train's options
    "eps, linear, 2 levels": "--base 16 --multipliers 1,2 --prediction eps --schedule linear",
    "v, cosine, 3 levels": "--base 8 --multipliers 1,2,4 --prediction v --schedule cosine",
    "x0, cosine, 3 levels": "--base 16 --multipliers 1,2,2 --prediction x0 --schedule cosine",
}
LINEAR = dict(beta_schedule="linear", beta_start=1e-4, beta_end=0.02)
COSINE = dict(beta_schedule="squaredcos_cap_v2")
LATENT = dict(beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012)  # Stable Diffusion's
SCHEDULERS = {  # of theirs
    "DDPM, linear, eps": DDPMScheduler(**LINEAR),
    "DDPM, other betas, eps": DDPMScheduler(beta_start=0.001, beta_end=0.03, num_train_timesteps=500),
    "DDPM, cosine, v": DDPMScheduler(**COSINE, prediction_type="v_prediction"),
    "DDPM, cosine, x0": DDPMScheduler(**COSINE, prediction_type="sample"),
    "DDIM, linear, v": DDIMScheduler(**LINEAR, prediction_type="v_prediction"),
    "PNDM, scaled linear, eps": PNDMScheduler(**LATENT, skip_prk_steps=True, steps_offset=1),
    "EulerDiscrete, scaled linear, v": EulerDiscreteScheduler(**LATENT, prediction_type="v_prediction"),
    "DPMSolverMultistep, cosine, v": DPMSolverMultistepScheduler(**COSINE, prediction_type="v_prediction"),
    "DDIM, no signal at the end, v": DDIMScheduler(**LINEAR, rescale_betas_zero_snr=True, prediction_type="v_prediction"),
    "DDPM, betas one by one, x0": DDPMScheduler(trained_betas=[0.0001 + 2e-5 * i for i in range(1000)], prediction_type="sample"),
}
DDPM = {  # changes of its settings that a drawing must follow
    "as it is": {},
    "fixed_large": dict(variance_type="fixed_large"),
    "not clipped": dict(clip_sample=False),
    "clipped at 0.7": dict(clip_sample_range=0.7),
}
REFUSED = {  # changes of DDPM's settings
    "LCMScheduler": dict(_class_name="LCMScheduler"),
    "beta_schedule": dict(beta_schedule="sigmoid"),
    "prediction_type": dict(prediction_type="flow_prediction"),
}


def changed(config, **more):
    """A scheduler's settings, without what says which of them were defaults: from_config would reset those."""
    return {key: value for key, value in config.items() if not key.startswith("_")} | more


def opened(folder):
    return DDPMPipeline.from_pretrained(folder, low_cpu_mem_usage=False)


@contextlib.contextmanager
def given_noise(start):
    """Their random numbers become ours: first the start, then fresh noise step by step."""
    step = iter(range(10**6))

    def draw(shape, *args, **kwargs):
        i = next(step)
        return (start if i == 0 else fresh_noise(i - 1, shape)).to(kwargs.get("dtype"))

    with contextlib.ExitStack() as stack:
        for module in (pipeline_ddpm, pipeline_ddim, scheduling_ddpm):
            stack.enter_context(mock.patch.object(module, "randn_tensor", draw))
        yield


def pictures_of(images):
    """A pipeline's pictures, [N, H, W, C] in [0, 1], as ours in [-1, 1]."""
    return 2 * torch.from_numpy(np.asarray(images)).double() - 1


def images(pipeline, scheduler, start, steps, **more):
    """What their pipeline makes of our start and fresh noise."""
    pipeline.unet.double()
    pipeline.scheduler = scheduler
    pipeline.set_progress_bar_config(disable=True)
    with given_noise(start):
        return pictures_of(pipeline(batch_size=len(start), num_inference_steps=steps, output_type="np", **more).images)


def ddpm(folder, start, steps):
    pipeline = opened(folder)
    return images(pipeline, DDPMScheduler.from_config(changed(pipeline.scheduler.config, timestep_spacing="trailing")), start, steps)


def ddim(unet, config, start, steps, grid="trailing"):
    """With the noise that a clipped guess implies, as ours."""
    scheduler = DDIMScheduler.from_config(changed(config, timestep_spacing=grid, set_alpha_to_one=True, clip_sample=True,
                                                  clip_sample_range=1.0, steps_offset=0))
    return images(DDIMPipeline(unet, scheduler), scheduler, start, steps, eta=0.0, use_clipped_model_output=True)


@torch.no_grad()
def without_clipping(unet, scheduler, start, steps):
    """Their Euler and DPM-Solver++. Euler's state is x / a."""
    unet, x = unet.double(), start.double()
    scheduler.set_timesteps(steps)
    if isinstance(scheduler, EulerDiscreteScheduler):
        x = x * math.sqrt(1 + scheduler.sigmas[0].item() ** 2)
    for t in scheduler.timesteps:
        said = unet(scheduler.scale_model_input(x, t), t.repeat(len(x))).sample
        x = scheduler.step(said, t, x).prev_sample
    return x.permute(0, 2, 3, 1)


def drawn(program, folder, scratch, *options):
    out = scratch / f"drawn_{program.name}"  # a folder serves one program
    call(program, "sample", "--model", folder, "--noise", scratch / "noise.npy", "--save-npy", "--seed", SEED, "--out", out, *options)
    return torch.from_numpy(np.load(out / "samples.npy"))


def start_for(unet, pictures, scratch):
    """Noise for a network's pictures, and in the file that our programs read."""
    size = unet.config.sample_size
    height, width = size if isinstance(size, (list, tuple)) else (size, size)
    start = normal(pictures, unet.config.in_channels, height, width, seed=("start",))
    np.save(scratch / "noise.npy", start.permute(0, 2, 3, 1).contiguous().numpy())
    return start


def check_ours(bin, table, scratch):
    """Folders of 04_unet's, opened there."""
    for name, options in MODELS.items():
        folder = emptied(scratch / "trained")
        call(bin / "04_unet", "train", "--preset", "smoke", "--images", 480, "--dataset", "builtin", "--out", folder, *options.split())
        pipeline = opened(folder)
        given = unet2d.inputs(pipeline.unet, height=28, width=20)
        table.row("UNet2DModel", name, "ours -> theirs",
                  difference(ours(bin, folder / "unet", given, scratch), reference(unet2d.PEER, folder / "unet", given)))
        start = start_for(pipeline.unet, 3, scratch)
        table.row("DDPMPipeline", f"{name}, 50 steps", "ours -> theirs",
                  relative(drawn(bin / "04_unet", folder, scratch, "--steps", 50), ddpm(folder, start, 50)))
        any_way = lambda *options: drawn(bin / "06_ddim", folder, scratch, *options)
        draw = lambda *options: any_way("--steps", 20, "--grid", "trailing", *options)
        table.row("DDIMPipeline", f"{name}, 20 steps", "ours -> theirs",
                  relative(draw("--sampler", "ddim"), ddim(pipeline.unet, pipeline.scheduler.config, start, 20)))
        more = changed(pipeline.scheduler.config, timestep_spacing="trailing", final_sigmas_type="zero", steps_offset=0)
        for sampler, scheduler in {"ddim": EulerDiscreteScheduler, "dpmpp2m": DPMSolverMultistepScheduler}.items():
            table.row(scheduler.__name__[:-9], f"{name}, 20 steps", "ours -> theirs",
                      relative(draw("--sampler", sampler, "--clip", 0),
                               without_clipping(pipeline.unet, scheduler.from_config(more), start, 20)))
        if name == next(iter(MODELS)):  # eps, which makes most of a difference
            abar = [1.0, *pipeline.scheduler.alphas_cumprod.tolist()]
            samplers.check(bin / "06_ddim", table, name, pipeline.unet, pipeline.scheduler.config.prediction_type, abar, start, any_way)


def check_theirs(bin, table, scratch):
    """Folders of theirs, opened here: a scheduler of each class that we read says how noise comes in and what is predicted."""
    unet = randomise(unet2d.PEER.make(unet2d.small()))
    with torch.no_grad():
        unet.conv_out.weight *= 0.1  # or roundings would grow from step to step, as they do not in a trained network
    start = start_for(unet, 2, scratch)

    def written(scheduler):
        folder = emptied(scratch / "random")
        DDPMPipeline(unet.float(), DDPMScheduler()).save_pretrained(folder)
        scheduler.save_pretrained(folder / "scheduler")
        return folder

    draw = lambda folder, grid: drawn(bin / "06_ddim", folder, scratch, "--steps", 5, "--grid", grid, "--sampler", "ddim")
    for name, scheduler in SCHEDULERS.items():
        # Where eps is predicted a guess is divided by a, and at the last time 1 / a is 158: begin earlier.
        grid = "leading" if scheduler.config.prediction_type == "epsilon" else "trailing"
        try:
            mine = draw(written(scheduler), grid)
        except Refused as line:
            table.tell("scheduler", name, "theirs -> ours", f" refused: {line}", False)
            continue
        table.row("scheduler", name, "theirs -> ours", relative(mine, ddim(unet, scheduler.config, start, 5, grid)))
    for name, change in DDPM.items():
        # All ten steps: where some are left out, theirs adds noise in the last step as well. Their pictures end at white.
        folder = written(DDPMScheduler(10, **COSINE, prediction_type="v_prediction", **change))
        table.row("DDPMPipeline", f"DDPM, cosine, v, {name}, 10 steps", "theirs -> ours",
                  relative(drawn(bin / "04_unet", folder, scratch, "--steps", 10).clamp(-1, 1), ddpm(folder, start, 10)))
    for word, change in REFUSED.items():
        folder = written(DDPMScheduler())
        file = folder / "scheduler" / "scheduler_config.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | change))
        table.refusal("scheduler", word, [word, str(file)], lambda: draw(folder, "trailing"))


def check(bin, table, scratch):
    check_ours(bin, table, scratch)
    check_theirs(bin, table, scratch)
