"""Whole drawings: the same folder, start and fresh noise, in diffusers and in our programs. Folders of ours are trained for a
moment by 04_unet; those of theirs have random weights and every scheduler that we read."""
import contextlib
import math
from unittest import mock

import numpy as np
import torch
from diffusers import (DDIMPipeline, DDIMScheduler, DDPMPipeline, DDPMScheduler, DPMSolverMultistepScheduler, EulerDiscreteScheduler,
                       PNDMScheduler)
from diffusers.pipelines.ddim import pipeline_ddim
from diffusers.pipelines.ddpm import pipeline_ddpm
from diffusers.schedulers import scheduling_ddpm
from diffusers.utils.torch_utils import randn_tensor

import unet2d
from common import call, difference, emptied, normal, ours, randomise, reference, relative, renamed
from noise import fresh_noise

SEED = 3
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
}
ODD_SCHEDULERS = {  # changes of DDPM's, and words that a refusal must have
    "another scheduler": dict(_class_name="LCMScheduler"),
    "rescale_betas_zero_snr": dict(rescale_betas_zero_snr=True),
    "trained_betas": dict(trained_betas=[0.001 + 0.00001 * i for i in range(1000)]),
    "beta_schedule": dict(beta_schedule="sigmoid"),
    "prediction_type": dict(prediction_type="flow_prediction"),
    "thresholding": dict(thresholding=True),
}


def theirs_unet(folder):
    return unet2d.PEER.load(folder / "unet" if (folder / "unet").is_dir() else folder)


@contextlib.contextmanager
def given_noise(start):
    """Their random numbers become ours: first the start, then fresh noise step by step."""
    step = iter(range(10**6))

    def draw(shape, *args, **kwargs):
        i = next(step)
        return (start if i == 0 else fresh_noise(SEED, i - 1, shape)).to(kwargs.get("dtype"))

    with contextlib.ExitStack() as stack:
        for module in (pipeline_ddpm, pipeline_ddim, scheduling_ddpm):
            stack.enter_context(mock.patch.object(module, "randn_tensor", draw))
        yield


def pictures_of(images):
    """A pipeline's pictures, [N, H, W, C] in [0, 1], as ours in [-1, 1]."""
    return 2 * torch.from_numpy(np.asarray(images)).double() - 1


def ddpm(folder, start, steps):
    """As a user of theirs does it."""
    pipeline = DDPMPipeline.from_pretrained(folder, low_cpu_mem_usage=False)
    pipeline.unet.double()
    pipeline.set_progress_bar_config(disable=True)
    with given_noise(start):
        return pictures_of(pipeline(batch_size=len(start), num_inference_steps=steps, output_type="np").images)


def ddim(unet, config, start, steps):
    """With the noise that a clipped guess implies, as ours."""
    scheduler = DDIMScheduler.from_config(dict(config, timestep_spacing="trailing", set_alpha_to_one=True, clip_sample=True,
                                               clip_sample_range=1.0, steps_offset=0))
    pipeline = DDIMPipeline(unet.double(), scheduler)
    pipeline.scheduler = scheduler  # the constructor's has timesteps of its own
    pipeline.set_progress_bar_config(disable=True)
    with given_noise(start):
        return pictures_of(pipeline(batch_size=len(start), num_inference_steps=steps, eta=0.0, use_clipped_model_output=True,
                                    output_type="np").images)


@torch.no_grad()
def variance_exploding(unet, scheduler, start, steps):
    """Euler and DPM-Solver++ of theirs. Euler's state is x / a; no clipping."""
    unet = unet.double()
    scheduler.set_timesteps(steps)
    x = start.double()
    if isinstance(scheduler, EulerDiscreteScheduler):
        x = x * math.sqrt(1 + scheduler.sigmas[0].item() ** 2)
    for t in scheduler.timesteps:
        said = unet(scheduler.scale_model_input(x, t), t.repeat(len(x))).sample
        x = scheduler.step(said, t, x).prev_sample
    return x.permute(0, 2, 3, 1)


def drawn(program, folder, scratch, *options):
    call(program, "sample", "--model", folder, "--noise", scratch / "noise.npy", "--save-npy", "--seed", SEED, "--out", scratch / "drawn",
         *options)
    return torch.from_numpy(np.load(scratch / "drawn" / "samples.npy"))


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
        unet = theirs_unet(folder)
        given = unet2d.inputs(unet, height=28, width=20)
        table.row("UNet2DModel", name, "ours -> theirs", difference(ours(bin, folder, given, scratch),
                                                                   reference(unet2d.PEER, folder / "unet", given)))
        start = start_for(unet, 3, scratch)
        table.row("DDPMPipeline", f"{name}, 50 steps", "ours -> theirs",
                  relative(drawn(bin / "04_unet", folder, scratch, "--steps", 50), ddpm(folder, start, 50)))
        config = DDPMPipeline.from_pretrained(folder, low_cpu_mem_usage=False).scheduler.config
        draw = lambda *options: drawn(bin / "06_ddim", folder, scratch, "--steps", 20, "--grid", "trailing", *options)
        table.row("DDIMPipeline", f"{name}, 20 steps", "ours -> theirs", relative(draw("--sampler", "ddim"), ddim(unet, config, start, 20)))
        more = dict(config, timestep_spacing="trailing", final_sigmas_type="zero", steps_offset=0)
        for sampler, scheduler in {"ddim": EulerDiscreteScheduler, "dpmpp2m": DPMSolverMultistepScheduler}.items():
            table.row(scheduler.__name__[:-9], f"{name}, 20 steps", "ours -> theirs",
                      relative(draw("--sampler", sampler, "--clip", 0), variance_exploding(unet, scheduler.from_config(more), start, 20)))


def check_theirs(bin, table, scratch):
    """Folders of theirs, opened here: every scheduler that we read says how noise comes in and what the network predicts."""
    unet = randomise(unet2d.PEER.make(unet2d.small()))
    start = start_for(unet, 2, scratch)
    for name, scheduler in SCHEDULERS.items():
        folder = emptied(scratch / "random")
        DDPMPipeline(unet.float(), DDPMScheduler()).save_pretrained(folder)
        scheduler.save_pretrained(folder / "scheduler")
        mine = drawn(bin / "06_ddim", folder, scratch, "--steps", 10, "--grid", "trailing", "--sampler", "ddim")
        table.row("scheduler", name, "theirs -> ours", relative(mine, ddim(unet, scheduler.config, start, 10)))


def check(bin, table, scratch):
    check_ours(bin, table, scratch)
    check_theirs(bin, table, scratch)
