"""Options of the published code of GAGA and EDM, and what they are called here (docs/FROM_THE_PAPER.md)."""

_ALL_COMMANDS = {
    "--no-cuda": "--device cpu",
    "--exp_name": "--name NAME",
    "--test_name": "--dataset NAME",
    "--datadir": "--cache FOLDER",
    "--data_root": "no option: the name or the path of the result",
}
_NOTHING = "not needed"
_OF_COMMAND = {
    "train": {
        "--n_epochs": "--epochs N",
        "--nf": "--hidden N",
        "--n_layers": "--layers N",
        "--inv_sublayers": "--inv-sublayers N",
        "--max_t": "--max-t STEP",
        "--batch_size": "--batch-size N",
        "--ema_decay": "--ema-decay X",
        "--include_charges": "--charges or --no-charges",
        "--include_charge": "--charges or --no-charges",
        "--normalize_factors": "--factors X,Y,Z",
        "--diffusion_steps": "--diffusion-steps T",
        "--diffusion_noise_schedule": "--schedule NAME",
        "--n_stability_samples": "--stability-samples N",
        "--test_epochs": "--validate-every N, in steps",
        "--conditioning": "--condition NAME,NAME",
        "--dp": "torchrun --nproc-per-node=N -m gaga train",
        "--clip_grad": "--clipping adaptive",
        "--no_wandb": f"{_NOTHING}: no run is sent anywhere",
        "--save_model": f"{_NOTHING}: every run is kept in its folder",
        "--start_epoch": "--resume, which knows where it was",
    },
    "sample": {
        "--n_samples": "--n N",
        "--model_path": "--checkpoint PATH",
        "--batch_size": "--batch-size N",
        "--batch_size_gen": "--batch-size N",
        "--n_nodes": "--sizes N",
        "--ga_timestep": "--t-start STEP",
        "--shortcut": "--start published, or scalar with --dataset-var X",
        "--dataset_var": "--dataset-var X",
        "--sampling_step_size": "--stride N",
        "--iteration": "--repeats N",
        "--save_to_xyz": "--out FILE.xyz",
    },
    "evaluate": {
        "--model_path": "gaga sample first, then gaga evaluate FILE",
        "--generators_path": "gaga sample first, then gaga evaluate FILE",
        "--classifiers_path": "--predictor FILE",
    },
    "gaussianity": {"--model_path": "--checkpoint PATH"},
}


def called_here(command: str, flag: str) -> str | None:
    """What a published option is called here, such as "--epochs N" for --n_epochs; None if it is not known."""
    return {**_ALL_COMMANDS, **_OF_COMMAND.get(command, {})}.get(flag.lower())
