"""What can be known of a repository before Triton starts, in a second instead of after its half a minute."""

from __future__ import annotations

from pathlib import Path

from swinunet.foundation.errors import ServingError
from swinunet.foundation.nearest import did_you_mean
from swinunet.serving.checksums import check_files, served_version_folders
from swinunet.serving.leftovers import is_launchable
from swinunet.serving.plan import check_plans
from swinunet.serving.processor import check_processors
from swinunet.serving.tuned import TUNED, check_tuned


def check_before_start(repository: Path, config_name: str | None) -> list[Path]:
    """Check that the chosen config of each model can be served on this machine, from the files that were exported.

    Returns the version folders without checksums. Raises ServingError, saying what to do.
    """
    _check_repository(repository, config_name)
    check_plans(repository, config_name)
    if config_name == TUNED:
        check_tuned(repository)
    check_processors(repository, config_name)
    return [folder for folder in served_version_folders(repository, config_name) if not check_files(folder)]


def _check_repository(repository: Path, config_name: str | None) -> None:
    if not repository.is_dir():
        raise ServingError(f"{repository} is no folder; expected a Triton model repository (swinunet export makes one)")
    if not any(entry.is_dir() for entry in repository.iterdir()):
        raise ServingError(f"{repository} has no model in it; expected <model>/<version>/ (swinunet export makes them)")
    for model in repository.iterdir():
        if model.is_dir() and not is_launchable(Path(model.name)):
            raise ServingError(
                f"the model folder {model} has a name that Triton cannot start; "
                "use letters, digits, - and _ in the folder and in its configs"
            )
    # Triton would fall back to config.pbtxt without a word, and fail for a reason that has nothing to do with it.
    if config_name and not any(repository.glob(f"*/configs/{config_name}.pbtxt")):
        known = sorted({path.stem for path in repository.glob("*/configs/*.pbtxt")})
        raise ServingError(
            f"no model in {repository} has the config {config_name!r}; there is: "
            f"{', '.join(known) or 'none'}{did_you_mean(config_name, known)}"
        )
