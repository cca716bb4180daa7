"""CelebA's path on drawn faces: attributes of a trained run, and memory of the full networks."""

import flexae_tf
from flexae_tf import data
from flexae_tf.checked_files import read_jsonl
from flexae_tf.experiments.image_grids import Gallery
from tests.data import faces
from tests.experiments.test_image_grids import check_directions


def train(program, folder, codes, *flags):
    """Trains FlexAE on faces; returns the workdir."""
    faces.write(folder / 'faces', codes)
    flags = [f'--data_dir={folder}/faces', f'--workdir={folder}/run', '--device=cpu', *flags]
    files = [f'--flagfile=flags/{name}.flags' for name in ('methods/flexae', 'datasets/celeba')]
    done = program('train', *files, *flags, timeout=4 * 3600)
    assert done.returncode == 0, done.stderr
    return folder / 'run'


def test_directions_of_attributes_in_a_trained_run(program, tmp_path):
    # Fig. 4(b): the image in the middle of a row moves along the direction of its attribute.
    codes = faces.sample(2000)
    flags = ['--width_multiplier=0.125', '--latent_dim=32', '--batch_size=32']
    run = train(program, tmp_path, codes, *flags, '--training_steps=900')
    method = flexae_tf.load_run(run)
    gallery = Gallery(method, data.load(method.config))
    # Measured: the others change by 6 % (Big_Nose) to 35 % (Smiling) of the own change.
    measured = check_directions(gallery, codes[-200:], num=40, others=0.5)
    for name, (values, change) in measured.items():
        print(f'SOAK direction of {name}: {values}; others change by at most {change:.2f}')


def test_full_networks_train_within_11_gib_of_memory(program, tmp_path):
    flags = ['--training_steps=2', '--log_every_steps=1', '--save_every_steps=1']
    run = train(program, tmp_path, faces.sample(200), *flags, '--snapshot_every_steps=0')
    # Measured: 5.7 GiB. The second record is written after the first checkpoint.
    peak = read_jsonl(run / 'perf.jsonl')[1]['resources/cpu_mem_gb']  # VmHWM of the process
    print(f'SOAK memory of full FlexAE on CelebA, batch size 128, CPU: {peak:.1f} GiB')
    assert peak < 11.0
