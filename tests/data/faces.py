"""Drawn faces in the official files of CelebA, to use `--dataset=celeba` without its images.

    python -m tests.data.faces FACES --num=2000
    python bin/train.py --flagfile=flags/datasets/celeba.flags --data_dir=FACES \\
        --width_multiplier=0.125 --latent_dim=32 --batch_size=32 --workdir=runs/faces

A face is a function of a code: binary attributes, independent of each other, and a continuous look.
So the same face can be drawn with and without an attribute.
"""

import argparse
import pathlib
import shutil
import zipfile

import numpy as np

from flexae_tf.config import TrainConfig
from flexae_tf.data.celeba import ATTRIBUTES, HEIGHT, IMAGES, SIZE, TEST, TRAIN, VALIDATION, WIDTH
from flexae_tf.environment import import_tensorflow

DRAWN = ('Big_Nose', 'Black_Hair', 'Eyeglasses', 'Heavy_Makeup', 'Male', 'Smiling')
LOOK = ('x', 'y', 'size', 'tilt', 'skin', 'light', 'red', 'green', 'blue')  # the last: background


def sample(num, *, seed=0):
    """Returns codes of faces, float32 [num, 15]: `DRAWN`, 0 or 1, then `LOOK`, in [0, 1).

    Every combination of attributes is once among 64 faces. The first codes do not depend on `num`.
    """
    blocks = []
    for block in range(-(-num // 64)):
        rng = np.random.default_rng((seed, block))
        drawn = rng.permutation(64)[:, None] >> np.arange(len(DRAWN)) & 1
        blocks.append(np.concatenate([drawn, rng.random([64, len(LOOK)])], axis=1))
    return np.float32(np.concatenate(blocks)[:num])


def attributes_of(codes):
    """Returns the attributes of faces, bool [n, 40]; attributes that are not drawn are False."""
    table = np.zeros([len(codes), len(ATTRIBUTES)], bool)
    for name, column in zip(DRAWN, codes.T, strict=False):
        table[:, ATTRIBUTES.index(name)] = column == 1.0
    table[:, ATTRIBUTES.index('Blond_Hair')] = ~table[:, ATTRIBUTES.index('Black_Hair')]
    return table


def draw(codes):
    """Returns the faces of codes [n, 15]: uint8 [n, 218, 178, 3]."""
    return np.stack([_draw(code) for code in codes])


def _draw(code):
    # At half the size, because the central 140 x 140 are resized to 64 x 64.
    rows, columns = np.mgrid[1:HEIGHT:2, 1:WIDTH:2].astype(np.float32)
    nose, black, glasses, makeup, male, smile = code[: len(DRAWN)]
    x, y, size, tilt, skin, light, *background = code[len(DRAWN) :] - 0.5

    # The origin is between the eyes, which are at u = -0.5 and u = 0.5; v points down.
    angle, unit = 0.4 * tilt, 40.0 + 6.0 * size
    right, down = (columns - 89.0 - 12.0 * x) / unit, (rows - 108.0 - 12.0 * y) / unit
    u = np.cos(angle) * right + np.sin(angle) * down
    v = np.cos(angle) * down - np.sin(angle) * right
    side = np.abs(u)

    def within(distance):  # to the edge, positive inside; the edge is a pixel wide
        return np.clip(0.5 + 20.0 * distance, 0.0, 1.0)

    def ellipse(u, v, width, height):  # half axes
        radius = np.sqrt((u / width) ** 2 + (v / height) ** 2)
        return within((1.0 - radius) * min(width, height))

    def paint(mask, colour):  # of [3, 1, 1]
        image[...] += mask * (colour - image)

    def mix(weight, a, b):
        return (1.0 - weight) * rgb(*a) + weight * rgb(*b)

    def rgb(*colour):
        return np.float32(colour)[:, None, None]

    tone = mix(skin + 0.5, (0.45, 0.29, 0.2), (0.98, 0.82, 0.7))
    hair = mix(black, (0.9, 0.72, 0.35), (0.08, 0.06, 0.06))
    lips = mix(makeup, (0.62, 0.36, 0.32), (0.8, 0.05, 0.15))
    backdrop = 0.5 + 0.7 * rgb(*background)
    image = backdrop * (1.0 + 0.15 * v)
    top = ellipse(u, v - 0.05, 1.25, 1.4)
    paint(top, hair)
    paint((1.0 - male) * ellipse(u, v - 0.9, 1.35, 1.7), hair)
    paint(ellipse(u, v - 3.0, 2.0, 1.0), 1.0 - backdrop)  # clothes
    paint(within(0.45 - side) * within(v - 1.0) * within(2.3 - v), 0.8 * tone)  # neck
    face = ellipse(u, v - 0.35, 0.95, 1.25)
    paint(face, tone)
    paint(top * within(-0.5 - v + 0.2 * u), hair)
    paint(0.6 * male * face * within(v - 0.7 - 0.6 * np.cos(2.2 * u)), 0.15)  # beard
    paint(0.55 * makeup * ellipse(side - 0.58, v - 0.6, 0.26, 0.2), rgb(0.95, 0.25, 0.4))
    paint(0.7 * makeup * ellipse(side - 0.5, v + 0.08, 0.3, 0.2), rgb(0.4, 0.2, 0.6))
    paint(ellipse(side - 0.5, v, 0.2, 0.1), 0.95)  # eyes
    paint(ellipse(side - 0.5, v, 0.1, 0.1), rgb(0.2, 0.12, 0.08))
    paint(ellipse(side - 0.5, v + 0.3, 0.27, 0.05), 0.3 * tone)
    paint(ellipse(u, v - 0.45, 0.13 + 0.2 * nose, 0.26 + 0.08 * nose), (0.8 - 0.1 * nose) * tone)
    curve = np.abs(v - 1.05 - 0.07 * smile + (0.35 * smile - 0.05) * (u / 0.45) ** 2)
    paint(within(0.42 + 0.08 * smile - side) * within(0.08 + 0.06 * smile - curve), lips)
    paint(smile * within(0.38 - side) * within(0.06 - curve), 0.97)  # teeth
    lens = np.sqrt(((side - 0.5) / 0.4) ** 2 + ((v - 0.02) / 0.33) ** 2)
    bars = within(0.12 - side) + within(side - 0.88) * within(0.98 - side)
    frame = within(0.05 - 0.36 * np.abs(lens - 1.0)) + bars * within(0.04 - np.abs(v))
    paint(0.25 * glasses * (lens < 1.0), 0.1)
    paint(glasses * np.minimum(frame, 1.0), 0.05)
    image = image * (1.0 + 0.25 * light * u)
    small = np.round(255.0 * np.clip(image, 0.0, 1.0)).astype(np.uint8)
    return small.transpose(1, 2, 0).repeat(2, axis=0).repeat(2, axis=1)


def small(codes):
    """Returns faces as a data set with the default crop holds them: uint8 [n, 64, 64, 3]."""
    from flexae_tf.data.decoding import crop_and_resize

    return crop_and_resize(draw(codes), size=SIZE, crop=TrainConfig().celeba_crop).numpy()


def flip(codes, name):
    """Returns codes of the same faces with an attribute in place of its opposite."""
    return np.where(np.arange(codes.shape[1]) == DRAWN.index(name), 1.0 - codes, codes)


def presence(images, codes):
    """Measures the attributes of images that a method made of faces.

    Args:
        images: uint8 [..., n, 64, 64, 3].
        codes: codes of the faces, [n, 15].

    Returns:
        float64 [..., n, 6]: 0 without and 1 with each of `DRAWN`. Least squares fit the change of
        a face by the differences that `flip` makes.
    """
    x, *flipped = (
        np.float64(small(c)).reshape([len(c), -1])
        for c in (codes, *(flip(codes, name) for name in DRAWN))
    )
    steps = np.stack(flipped, axis=1) - x[:, None]  # [n, 6, 64 * 64 * 3]
    change = images.reshape([*images.shape[:-3], -1, 1]) - x[..., None]
    weights = np.linalg.solve(steps @ steps.swapaxes(1, 2), steps @ change)[..., 0]
    before = codes[:, : len(DRAWN)]
    return before + (1.0 - 2.0 * before) * weights


def write_jpeg(path, image):
    """Writes an image [h, w, 3] to a JPEG file that keeps a constant colour exactly."""
    encode = import_tensorflow().io.encode_jpeg
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encode(image, quality=100, chroma_downsampling=False).numpy())


def write_files(folder, images, parts, attributes):
    """Writes the official files: images 000001.jpg, 000002.jpg, ... and both lists.

    Args:
        folder: a folder.
        images: uint8 [218, 178, 3] each.
        parts: part of each image: `TRAIN`, `VALIDATION` or `TEST`.
        attributes: bool [n, 40].
    """
    names = [f'{number:06}.jpg' for number in range(1, len(parts) + 1)]
    for name, image in zip(names, images, strict=True):
        write_jpeg(folder / IMAGES / name, image)
    rows = [' '.join(f'{value:2}' for value in row) for row in np.where(attributes, 1, -1)]
    lines = [str(len(names)), ' '.join(ATTRIBUTES) + ' ']
    lines += [f'{name} {row}' for name, row in zip(names, rows, strict=True)]
    (folder / 'list_attr_celeba.txt').write_text('\n'.join(lines) + '\n')
    lines = [f'{name} {part}\n' for name, part in zip(names, parts, strict=True)]
    (folder / 'list_eval_partition.txt').write_text(''.join(lines))


def write(folder, codes):
    """Writes faces to the official files; the last fifth is held out, a half of it for the test."""
    held_out = len(codes) // 10
    parts = np.repeat([TRAIN, VALIDATION, TEST], [len(codes) - 2 * held_out, held_out, held_out])
    write_files(folder, map(_draw, codes), parts, attributes_of(codes))


def pack(folder):
    """Packs the images into img_align_celeba.zip and removes them."""
    with zipfile.ZipFile(folder / f'{IMAGES}.zip', 'w') as archive:
        archive.mkdir(IMAGES)
        for path in (folder / IMAGES).iterdir():
            archive.write(path, f'{IMAGES}/{path.name}')
    shutil.rmtree(folder / IMAGES)


def main(arguments=None):
    """Runs the command line."""
    parser = argparse.ArgumentParser(
        'python -m tests.data.faces', description='Draws faces into the official files of CelebA.'
    )
    parser.add_argument('folder', type=pathlib.Path, help='folder to make, for --data_dir')
    parser.add_argument('--num', type=int, default=2000, help='number of faces (2000)')
    parser.add_argument('--seed', type=int, default=0, help='seed of the faces (0)')
    parser.add_argument('--zip', action='store_true', help='pack the images')
    options = parser.parse_args(arguments)
    if options.num < 20:
        parser.error(f'--num={options.num}: too few for three parts. Use 20 or more.')
    try:
        options.folder.mkdir(parents=True)
        write(options.folder, sample(options.num, seed=options.seed))
        if options.zip:
            pack(options.folder)
    except OSError as error:
        parser.error(f'{options.folder}: cannot be written ({error.strerror}). Choose a new one.')
    print(f'{options.num} faces with {", ".join(DRAWN)} in {options.folder}')


if __name__ == '__main__':
    main()
