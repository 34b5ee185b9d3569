"""The program's random numbers, written once more (src/tensor/random.hpp): Philox4x32-10 (Salmon et al. 2011), keyed by the seed
and by what the numbers are for, the step and the picture."""
import math

import numpy as np
import torch

SEED = 3  # that our programs are told in all comparisons
ANCESTRAL_NOISE = 7  # what the numbers are for, as src/tensor/random.hpp counts


def philox(counter, key):
    """Four arrays of 32-bit words from four arrays and two words."""
    low = np.uint64(0xFFFFFFFF)
    c = [np.asarray(word, np.uint64) for word in counter]
    for i in range(10):
        k = [np.uint64((key[0] + i * 0x9E3779B9) & 0xFFFFFFFF), np.uint64((key[1] + i * 0xBB67AE85) & 0xFFFFFFFF)]
        p, q = np.uint64(0xD2511F53) * c[0], np.uint64(0xCD9E8D57) * c[2]
        c = [q >> np.uint64(32) ^ c[1] ^ k[0], q & low, p >> np.uint64(32) ^ c[3] ^ k[1], p & low]
    return c


def fresh_noise(step, shape):
    """Normal numbers by Box and Muller, from a stream for each step of the path and each picture. shape is [N, C, H, W]."""
    pictures, channels, height, width = shape
    pixels = channels * height * width
    block = np.arange((pixels + 1) // 2)
    z = np.empty((pictures, len(block), 2))
    for n in range(pictures):
        words = philox([block, np.full_like(block, n), np.full_like(block, step), np.full_like(block, ANCESTRAL_NOISE)], [SEED, 0])
        u, v = (((high << np.uint64(32) | low) >> np.uint64(11)) * 2.0**-53 for high, low in (words[:2], words[2:]))
        radius = np.sqrt(-2 * np.log(1 - u))
        z[n] = np.stack([radius * np.cos(2 * np.pi * v), radius * np.sin(2 * np.pi * v)], -1)
    z = z.reshape(pictures, -1)[:, :pixels].reshape(pictures, height, width, channels)  # channels last, as the program counts pixels
    return torch.from_numpy(z).permute(0, 3, 1, 2)
